"""``join``: from nothing to a ready peer, or to a machine that reads, by an invite."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from bootstrap.files import make_private_folder, read_file
from bootstrap.home import NetworkFolder, pair_home
from bootstrap.keys import keep_key
from bootstrap.reader import ReaderFile, read_reader, save_reader
from node.cli.default_name import name_of
from node.cli.failures import CommandFailed, wrong_use
from node.cli.join_failures import failure_of, refused_invite
from node.cli.options import Options, PairCommand, pass_options
from node.cli.output import print_json, print_line, print_note
from node.cli.start import begin_peer, check_reach
from node.cli.start_options import Wishes, peer_options, start_options, wishes_in
from node.cli.waiting import waiting
from protocol.errors import InviteError
from protocol.invites import TEXT_SIZE_MAX, Invite, decode_invite

if TYPE_CHECKING:
    from node.knocking import Admission
    from protocol.identity import Identity

_CLOCKS_APART_S: Final = 30.0
"""Clocks that differ by more are worth a word: invites expire by the issuer's."""

_SEEDS_MAX: Final = 5
"""Peers asked first: some may be gone, and whoever answers introduces the others."""


@click.command(cls=PairCommand)
@click.argument("invite", metavar="INVITE")
@peer_options
@start_options
@pass_options
def join(options: Options, /, invite: str, name: str | None, detach: bool, **given: Any) -> None:
    """Join a network by an invite (pair://…; - reads it from standard input, @FILE from a file), and run a peer.

    Without --bind the peer listens on the address that this machine has on the way to the inviting peer; --profile and
    --k are those of that peer unless given.
    """
    from protocol.identity import SEED_SIZE_BYTES, Identity

    wishes = wishes_in(given)
    invited = _read(invite)
    network = _folder(options, invited)
    named = network.peer(name) if name is not None else None
    if invited.role == "reader" and any([name, detach, *given.values()]):
        raise wrong_use("this invite makes a reader, which runs no peer", next_step="leave the options out")
    if wishes.open or wishes.voters is not None:
        raise wrong_use("--open and --voters are for whoever founds a network", next_step="leave them out")
    check_reach(given["bind"], given["api_bind"], is_open=False, wishes=wishes)
    newcomer = Identity(os.urandom(SEED_SIZE_BYTES))
    began = time.monotonic()
    with waiting("knocking"), _folder_made(network):
        admission = _admitted(invited, newcomer, timeout_s=options.deadline_s)
    _compare_clocks(admission)
    if invited.role == "reader":
        _become_reader(options, network, invited, admission)
        return
    folder = named if named is not None else network.peer(name_of(newcomer.peer_id))
    _become_member(network, invited, admission)
    make_private_folder(folder.path)
    keep_key(folder.key_path, newcomer)
    print_note(f"joined the network {network.name!r} in {time.monotonic() - began:.1f} s; starting {folder.name}")
    given["bind"] = given["bind"] or admission.own_host
    given["seeds"] = (*given["seeds"], *_seeds(admission))
    begin_peer(options, network, folder, _as_the_issuer(wishes, admission), given, detach=detach)


def _read(text: str) -> Invite:
    """Return the invite that an argument stands for.

    Raises:
        CommandFailed: It is none, or none that is whole (exit 2).
    """
    if text == "-":
        text = sys.stdin.read(TEXT_SIZE_MAX * 2)
    elif text.startswith("@"):
        content = read_file(Path(text[1:]))
        if content is None:
            raise wrong_use(f"there is no file {text[1:]}", next_step="put the invite itself, or @FILE")
        text = content.decode(errors="replace")
    try:
        return decode_invite(text)
    except InviteError as error:
        raise wrong_use(error.cause, next_step=error.next_step) from error


def _folder(options: Options, invite: Invite) -> NetworkFolder:
    """Return where the network will be, which must be new to this machine: the invite is not wasted on what is here.

    Raises:
        CommandFailed: It is not new, or another network has its name here (exit 5); ``--network`` is another (exit 2).
        ConfigError, StoreError: What is here cannot be read.
    """
    name = invite.network_name
    if options.network not in (None, name):
        raise wrong_use(f"the invite is for the network {name!r}", next_step="leave --network out")
    network = NetworkFolder(pair_home() / name)
    reader = read_reader(network)
    is_read = reader is not None and reader.id.startswith(invite.network_prefix.hex())
    if not network.exists() and (reader is None or (is_read and invite.role == "member")):
        return network
    is_same = network.exists() and invite.is_for(network.load().network_id)
    if is_same or is_read:
        raise refused_invite(
            "already-here",
            f"this machine is in the network {name!r} already; the invite was not used",
            next_step=f"pair start --network {name} starts a peer" if is_same else f"pair get --network {name} KEY",
        )
    raise refused_invite(
        "wrong-network",
        f"this machine has another network called {name!r}; the invite was not used",
        next_step="choose another folder: PAIR_HOME=FOLDER pair join …",
    )


@contextmanager
def _folder_made(network: NetworkFolder) -> Iterator[None]:
    """Make the folder for what the block will bring: one that cannot be written is told before an invite is spent."""
    make_private_folder(network.path)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            network.path.rmdir()  # only an empty one goes
        raise


def _admitted(invite: Invite, newcomer: "Identity", *, timeout_s: float) -> "Admission":
    from node.knocking import KnockError, use_invite

    try:
        return use_invite(invite, newcomer, timeout_s=timeout_s)
    except KnockError as error:
        raise failure_of(error, invite, now_s=time.time()) from error


def _compare_clocks(admission: "Admission") -> None:
    apart_s = time.time() - admission.wall_ms / 1000
    if abs(apart_s) > _CLOCKS_APART_S:
        ahead = "ahead of" if apart_s > 0 else "behind"
        print_note(f"this machine's clock is {abs(apart_s):.0f} s {ahead} the inviting peer's: one of them is wrong")


def _become_member(network: NetworkFolder, invite: Invite, admission: "Admission") -> None:
    from protocol.doorway import Welcome

    welcome = admission.answer
    assert isinstance(welcome, Welcome), "who asks as a member is answered so"
    if not invite.is_for(welcome.network.network_id):
        raise _other_network()
    network.adopt(welcome.network)


def _become_reader(options: Options, network: NetworkFolder, invite: Invite, admission: "Admission") -> None:
    from protocol.doorway import Guest

    guest = admission.answer
    assert isinstance(guest, Guest), "who asks as a reader is answered so"
    if not guest.network_id.startswith(invite.network_prefix):
        raise _other_network()
    save_reader(network, ReaderFile(name=network.name, id=guest.network_id.hex(), token=guest.token, apis=guest.apis))
    if options.as_json:
        print_json({"network": network.name, "id": guest.network_id.hex(), "role": "reader", "apis": list(guest.apis)})
        return
    print_line(f"this machine can read the network {network.name!r} through {', '.join(guest.apis)}")
    print_note(f"  pair get --network {network.name} KEY reads a value; pair keys lists what there is")


def _other_network() -> CommandFailed:
    return refused_invite(
        "wrong-network",
        "the inviting peer answered for another network than the invite names: nothing was kept",
        next_step="ask for a new invite, and tell whoever runs that peer",
    )


def _as_the_issuer(wishes: Wishes, admission: "Admission") -> Wishes:
    """Return ``wishes`` with what was not asked for as the inviting peer runs."""
    from protocol.doorway import Welcome

    welcome = admission.answer
    assert isinstance(welcome, Welcome), "who asks as a member is answered so"
    return replace(wishes, profile=wishes.profile or welcome.profile, k=wishes.k or welcome.k)


def _seeds(admission: "Admission") -> Sequence[str]:
    """Return whom the new peer asks first: the inviting one, and others that can be reached as it can."""
    from protocol.doorway import Welcome

    issuer_at, welcome = admission.issuer_at, admission.answer
    contacts = welcome.contacts if isinstance(welcome, Welcome) else ()
    is_local = issuer_at.host.startswith("127.") or issuer_at.host == "::1"
    others = [contact for contact in contacts if is_local or not contact.host.startswith("127.")]
    return [str(address) for address in dict.fromkeys([issuer_at, *others])][:_SEEDS_MAX]
