"""How a peer was started is kept in its folder, and damage is said rather than guessed around."""

from pathlib import Path

import pytest

from bootstrap.peer_folder import PeerFolder
from bootstrap.settings import StartSettings, load_settings, save_settings
from protocol.errors import StoreError


def test_settings_are_kept(tmp_path: Path) -> None:
    """All of them, word for word; private like everything in the folder."""
    folder = PeerFolder(tmp_path)
    settings = StartSettings(port=7401, api_port=8401, seeds=("a.example:7400",), api_hosts=("b",), k=3, zeroconf=False)

    assert load_settings(folder) is None
    save_settings(folder, settings)

    assert load_settings(folder) == settings
    assert (tmp_path / "start.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"port": "x", "api_port": 1}', b'{"port": 1, "api_port": 2, "new": 3}']
)
def test_damage_is_an_error_with_a_way_out(content: bytes, tmp_path: Path) -> None:
    """The next step says what is lost by deleting it."""
    (tmp_path / "start.json").write_bytes(content)

    with pytest.raises(StoreError, match=r"start\.json is damaged") as failure:
        load_settings(PeerFolder(tmp_path))

    assert "keeps its data" in failure.value.next_step
