"""Files of invites and of readers: private, whole, and told when damaged."""

import stat
from pathlib import Path

import pytest

from bootstrap.home import NetworkFolder
from bootstrap.invites import load_invites, save_invites
from bootstrap.keys import keep_key, load_key
from bootstrap.reader import ReaderFile, networks_read, read_reader, save_reader
from protocol.errors import ConfigError, StoreError
from protocol.identity import Identity
from protocol.invite_book import IssuedInvite
from tests.protocol.test_invite_book import issued

READER = ReaderFile(name="local", id="ab" * 32, token="pairt_x", apis=("http://192.0.2.1:8400",))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_invites_are_kept_for_their_owner_only_and_read_back(tmp_path: Path) -> None:
    """``invites.json`` holds the secrets of open invites."""
    used = IssuedInvite(invite_id=b"x" * 6, role="reader", uses=2, expires_ms=7, secret=None, state="used")
    invites = (issued(), used)
    assert load_invites(tmp_path) == ((), None)

    save_invites(tmp_path, invites)

    assert load_invites(tmp_path) == (invites, None)
    assert mode(tmp_path / "invites.json") == 0o600
    save_invites(tmp_path, ())
    assert load_invites(tmp_path) == ((), None)


def test_a_damaged_file_of_invites_is_set_aside_and_said_so(tmp_path: Path) -> None:
    """Its invites let nobody in: nothing of them is guessed."""
    (tmp_path / "invites.json").write_bytes(b"[{")
    (tmp_path / "invites.json").chmod(0o600)

    invites, kept_as = load_invites(tmp_path)

    assert invites == () and kept_as is not None and kept_as.read_bytes() == b"[{"
    assert load_invites(tmp_path) == ((), None)


def test_invites_that_others_may_read_are_refused(tmp_path: Path) -> None:
    """Secrets are private, or the peer does not start."""
    save_invites(tmp_path, (issued(),))
    (tmp_path / "invites.json").chmod(0o644)

    with pytest.raises(ConfigError, match="holds a secret"):
        load_invites(tmp_path)


def test_a_reader_is_one_once(tmp_path: Path) -> None:
    """``reader.json`` stands in the place of ``network.key`` and is private."""
    network = NetworkFolder(tmp_path / "local")
    assert read_reader(network) is None and networks_read(tmp_path) == []

    save_reader(network, READER)

    assert read_reader(network) == READER
    assert [found.name for found in networks_read(tmp_path)] == ["local"]
    assert mode(network.path / "reader.json") == 0o600 and mode(network.path) == 0o700
    assert not network.exists()
    with pytest.raises(ConfigError, match="already reads"):
        save_reader(network, READER)
    with pytest.raises(ConfigError, match="others founded"):
        network.found("local")
    assert not network.exists()


def test_a_damaged_readers_file_says_what_to_do(tmp_path: Path) -> None:
    """Another invite mends it."""
    network = NetworkFolder(tmp_path / "local")
    save_reader(network, READER)
    (network.path / "reader.json").write_bytes(b"{}")

    with pytest.raises(StoreError, match="damaged") as failure:
        read_reader(network)
    assert "pair invite" in failure.value.next_step


def test_a_key_that_was_drawn_before_its_folder_is_kept_once(tmp_path: Path) -> None:
    """A newcomer proves its key before it has a folder; an existing key is never replaced."""
    newcomer, path = Identity(b"n" * 32), tmp_path / "node.key"

    keep_key(path, newcomer)

    assert load_key(path).peer_id == newcomer.peer_id and mode(path) == 0o600
    with pytest.raises(StoreError, match="exists already"):
        keep_key(path, Identity(b"m" * 32))
