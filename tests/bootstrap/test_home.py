"""The folder of a network is founded once, is private, and is never silently replaced."""

import multiprocessing
import os
import subprocess
import sys
from multiprocessing.pool import Pool
from pathlib import Path

import msgspec
import pytest

from bootstrap.home import TOKEN_PREFIX, NetworkFolder, list_networks, load_key_file, pair_home
from bootstrap.locks import FolderInUse
from protocol.errors import ConfigError, StoreError
from protocol.network import open_network_key


def found_one(path: str) -> tuple[bytes, str]:
    network = NetworkFolder(Path(path)).found("local")
    return network.network_id, NetworkFolder(Path(path)).tokens().admin


def test_founded_network_is_loaded_again(tmp_path: Path) -> None:
    """``network.key`` is all that a machine needs to be a member."""
    folder = NetworkFolder(tmp_path / "local")

    network = folder.found("local", mode="quorum")

    assert (network.name, network.mode, network.open) == ("local", "quorum", False)
    assert folder.found("local") == folder.load() == load_key_file(folder.key_path) == network
    assert folder.admin().public_key == network.admin_public_key


def test_two_networks_of_one_name_differ(tmp_path: Path) -> None:
    """Keys come from entropy."""
    first, second = (NetworkFolder(tmp_path / name / "local").found("local") for name in ("a", "b"))

    assert first.network_id != second.network_id


def test_open_network_follows_from_its_name(tmp_path: Path) -> None:
    """An open network has no secret: machines that found it apart are in the same one."""
    folders = [NetworkFolder(tmp_path / name / "garden") for name in ("a", "b")]
    first, second = (folder.found("garden", open=True) for folder in folders)

    assert first == second
    assert first.key == open_network_key("garden")
    assert folders[0].admin().public_key == first.admin_public_key
    assert folders[0].tokens() != folders[1].tokens()


def test_everything_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """All 0600 in a 0700 directory, never a window with wider permissions."""
    before = os.umask(0)
    try:
        folder = NetworkFolder(tmp_path / "home" / "local")
        folder.found("local")
    finally:
        os.umask(before)

    assert sorted(path.name for path in folder.path.iterdir()) == ["admin.key", "network.key", "tokens.json"]
    assert {path.stat().st_mode & 0o777 for path in folder.path.iterdir()} == {0o600}
    assert folder.path.stat().st_mode & 0o777 == folder.path.parent.stat().st_mode & 0o777 == 0o700


def test_racing_founders_end_with_one_network(tmp_path: Path) -> None:
    """Two ``found`` at once: one wins, the others load."""
    context = multiprocessing.get_context("spawn")
    with Pool(4, context=context) as pool:
        results = [pool.map(found_one, [str(tmp_path / f"local-{i}")] * 4, chunksize=1) for i in range(5)]
        pool.close()
        pool.join()

    assert [len(set(result)) for result in results] == [1] * 5


def test_interrupted_founding_is_continued(tmp_path: Path) -> None:
    """A crash between two files leaves nothing that the next founder cannot finish."""
    folder = NetworkFolder(tmp_path / "local")
    folder.found("local")
    folder.key_path.unlink()
    (folder.path / "tokens.json").unlink()

    network = folder.found("local")

    assert network.admin_public_key == folder.admin().public_key
    assert folder.tokens()


def test_lost_network_key_is_not_replaced_while_peers_need_it(tmp_path: Path) -> None:
    """A new key would cut the peers off from their network."""
    folder = NetworkFolder(tmp_path / "local")
    folder.found("local")
    folder.peer("peer-1").create()
    folder.key_path.unlink()

    with pytest.raises(StoreError, match="missing"):
        folder.found("local")


def test_tokens_have_a_prefix_and_stay(tmp_path: Path) -> None:
    """Scanners and log filters recognise a token."""
    folder = NetworkFolder(tmp_path / "local")
    folder.found("local")

    tokens = msgspec.structs.astuple(folder.tokens())

    assert all(token.startswith(TOKEN_PREFIX) and len(token) == len(TOKEN_PREFIX) + 43 for token in tokens)
    assert len(set(tokens)) == 3
    assert folder.tokens() == folder.tokens()


def test_tokens_from_elsewhere_take_the_place_of_drawn_ones(tmp_path: Path) -> None:
    """Several machines accept the same tokens when each is given them; before or after its network was founded."""
    given = NetworkFolder(tmp_path / "given" / "local")
    given.found("local")
    source = given.path / "tokens.json"
    fresh, old = NetworkFolder(tmp_path / "fresh" / "local"), NetworkFolder(tmp_path / "old" / "local")
    old.found("local")

    assert fresh.adopt_tokens(source) == old.adopt_tokens(source) == given.tokens()
    fresh.found("local")

    assert fresh.tokens() == old.tokens() == given.tokens()
    assert (old.path / "tokens.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError) as caught:
        fresh.adopt_tokens(tmp_path / "none")
    assert "there are no tokens" in caught.value.cause


def test_tokens_of_no_network_are_not_drawn(tmp_path: Path) -> None:
    """Looking at a folder creates nothing."""
    with pytest.raises(ConfigError) as caught:
        NetworkFolder(tmp_path / "local").tokens()
    assert "pair up" in caught.value.next_step
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("position", range(0, 300, 7))
def test_damaged_network_key_is_refused_and_kept(tmp_path: Path, position: int) -> None:
    """Any flipped byte: either the same network still, or a clear error; never another network, never a new key."""
    folder = NetworkFolder(tmp_path / "local")
    network = folder.found("local")
    damaged = bytearray(folder.key_path.read_bytes())
    damaged[position % len(damaged)] ^= 0x04
    folder.key_path.write_bytes(damaged)

    try:
        loaded = folder.found("local")
    except StoreError as error:
        assert "damaged" in error.cause
        assert error.next_step
    else:
        assert loaded.network_id == network.network_id
    assert folder.key_path.read_bytes() == damaged


def test_cut_files_are_damaged_ones(tmp_path: Path) -> None:
    """An empty or half file is not a missing one."""
    folder = NetworkFolder(tmp_path / "local")
    folder.found("local")
    for name in ("network.key", "tokens.json", "admin.key"):
        path = folder.path / name
        whole = path.read_bytes()
        for part in (b"", whole[: len(whole) // 2], b"null\n"):
            path.write_bytes(part)
            with pytest.raises(StoreError, match="damaged"):
                folder.found("local")
                folder.admin()
            assert path.read_bytes() == part
        path.write_bytes(whole)


def test_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """The start of a peer says how to close the hole."""
    folder = NetworkFolder(tmp_path / "local")
    folder.found("local")
    folder.key_path.chmod(0o644)

    with pytest.raises(ConfigError) as caught:
        folder.load()
    assert "chmod 600" in caught.value.next_step


def test_missing_key_file_says_where_to_get_one(tmp_path: Path) -> None:
    """``--key-file`` with a wrong path is a wrong option, not a damaged disk."""
    with pytest.raises(ConfigError) as caught:
        load_key_file(tmp_path / "none")
    assert caught.value.next_step


def test_key_from_elsewhere_is_adopted_once(tmp_path: Path) -> None:
    """``--key-file``: the folder then belongs to that network and to no other."""
    network = NetworkFolder(tmp_path / "a" / "local").found("local")
    other = NetworkFolder(tmp_path / "b" / "local").found("local")
    folder = NetworkFolder(tmp_path / "c" / "local")

    assert folder.adopt(network) == folder.adopt(network) == folder.load() == network
    assert folder.tokens()
    with pytest.raises(ConfigError, match="another network"):
        folder.adopt(other)
    with pytest.raises(StoreError):
        folder.admin()


@pytest.mark.parametrize("name", ["", "Local", "a/b", "..", "a" * 64, "a b", "ä", "a\n"])
def test_odd_names_are_refused(tmp_path: Path, name: str) -> None:
    """Names become folders: ``[a-z0-9-]{1,63}``."""
    folder = NetworkFolder(tmp_path / "local")
    with pytest.raises(ConfigError):
        folder.found(name)
    with pytest.raises(ConfigError):
        folder.peer(name)
    assert list(tmp_path.iterdir()) == []


def test_peers_are_listed_in_natural_order(tmp_path: Path) -> None:
    """peer-2 before peer-10; what is no peer is left out."""
    folder = NetworkFolder(tmp_path / "local")
    folder.found("local")
    for name in ("peer-10", "peer-2", "peer-1", "alpha", "10", "9"):
        folder.peer(name).create()
    (folder.path / "empty").mkdir()
    (folder.path / "Strange").mkdir()

    assert [peer.name for peer in folder.peers()] == ["alpha", "peer-1", "peer-2", "peer-10", "9", "10"]


def test_networks_are_listed(tmp_path: Path) -> None:
    """Only folders with a key, or with peers that need one, are networks; a home that does not exist has none."""
    NetworkFolder(tmp_path / "b").found("b")
    NetworkFolder(tmp_path / "a").found("a")
    (tmp_path / "c").mkdir()
    lost = NetworkFolder(tmp_path / "lost")
    lost.found("lost")
    lost.peer("peer-1").create()
    lost.key_path.unlink()

    assert [network.name for network in list_networks(tmp_path)] == ["a", "b", "lost"]
    assert list_networks(tmp_path / "none") == []


def test_one_command_at_a_time_starts_peers(tmp_path: Path) -> None:
    """Another ``up`` of the same network at work is an error of its own kind, with its pid."""
    folder = NetworkFolder(tmp_path / "local")
    with folder.lock():
        with pytest.raises(FolderInUse) as caught:
            folder.lock()
        assert caught.value.pid == os.getpid()
    folder.lock().release()


def test_purge_leaves_nothing(tmp_path: Path) -> None:
    """``down --purge``; also of a network that is not there."""
    folder = NetworkFolder(tmp_path / "local")
    folder.found("local")
    folder.peer("peer-1").create()

    folder.purge()
    folder.purge()

    assert list(tmp_path.iterdir()) == []


def test_file_in_the_place_of_the_home_is_a_clear_error(tmp_path: Path) -> None:
    """No traceback of the operating system leaves this module."""
    (tmp_path / "home").write_bytes(b"")
    folder = NetworkFolder(tmp_path / "home" / "local")

    assert not folder.exists()
    for attempt in (lambda: folder.found("local"), folder.peers, folder.lock, lambda: list_networks(tmp_path / "home")):
        with pytest.raises(StoreError):
            attempt()


def test_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``PAIR_HOME``, else the platform's data folder."""
    monkeypatch.setenv("PAIR_HOME", str(tmp_path))
    assert pair_home() == tmp_path

    monkeypatch.setenv("PAIR_HOME", "")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert pair_home() == tmp_path / "data" / "pair"

    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert pair_home() == Path.home() / ".local/share/pair"

    monkeypatch.setattr(sys, "platform", "darwin")
    assert pair_home() == Path.home() / "Library/Application Support/pair"


def test_folders_are_light_to_import() -> None:
    """``pair ps`` must not pay for what only a peer needs."""
    heavy = "{'aiohttp', 'tinydb', 'cryptography', 'sqlite3', 'asyncio', 'kademlia', 'zeroconf'}"
    code = f"import sys, bootstrap.home; found = {heavy} & set(sys.modules); assert not found, found"

    subprocess.run([sys.executable, "-c", code], check=True)
