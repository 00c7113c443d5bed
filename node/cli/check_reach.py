"""Checks of the ways to others: each seed, each member of other machines, and the own peers at their addresses.

What the peers here see is compared with what this command hears itself (``node.cli.sounding``): a member that answers
the command and that a peer here cannot hear does not reach that peer.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any, Final, TypeAlias

from bootstrap.home import NetworkFolder
from bootstrap.own_address import is_own, is_unspecified
from bootstrap.seeds import parse_seed, resolve_seeds
from node import __version__
from node.api_client import ApiClient, ApiError
from node.cli.findings import Finding, broken_by
from node.cli.launching import settings_of
from node.cli.peers import LocalPeer
from node.cli.sounding import Sounding, sound
from protocol.errors import ConfigError, EnvironmentFault
from protocol.statements import Address

MEMBERS_MAX: Final = 16
"""Members of other machines that are sounded out, those in doubt first."""

_ANSWER_TIMEOUT_S: Final = 2.0
_IN_DOUBT: Final = ("failed", "suspect")

Row: TypeAlias = Mapping[str, Any]
"""One row of ``members``."""


def reach_findings(network: NetworkFolder, peers: Sequence[LocalPeer]) -> list[Finding]:
    """Return what is found of the ways from this machine to others, and back."""
    try:
        identity = network.load()
    except EnvironmentFault:
        return []  # told with the keys
    seeds, findings = _seeds(network, peers)
    own = {peer.name: _address(peer.address) for peer in peers if peer.state == "running" and peer.address}
    viewer, rows = _members_elsewhere(network, peers)
    members = {address: row for row in rows if (address := _address(row.get("address"))) is not None}
    asked = [address for address in (*own.values(), *seeds.values(), *members) if address is not None]
    heard = sound(identity, network.path, asked)
    findings += [seed_finding(network, text, heard[address]) for text, address in seeds.items() if address in heard]
    for peer in peers:
        address = own.get(peer.name)
        if address is not None and address in heard:
            findings += _own(network, peer, address, heard[address])
    findings += [member_finding(network, row, heard[address]) for address, row in members.items() if address in heard]
    unheard = [row for address, row in members.items() if address in heard and _is_deaf(row, heard[address])]
    if viewer is not None and unheard:
        findings.append(_unreached(network, viewer, unheard))
    return findings


def _address(text: object) -> Address | None:
    """Return the address that a peer says it has; None when that is none."""
    try:
        seed = parse_seed(str(text))
    except ConfigError:
        return None
    return Address(seed.host, seed.port)


# Seeds


def _seeds(network: NetworkFolder, peers: Iterable[LocalPeer]) -> tuple[dict[str, Address], list[Finding]]:
    """Return the first address of each configured seed, and what is wrong with those that have none."""
    texts: dict[str, None] = {}
    for peer in peers:
        try:
            settings = settings_of(peer)
        except EnvironmentFault:
            continue  # told with the peer
        texts.update(dict.fromkeys(settings.seeds if settings is not None else ()))
    found, findings = {}, []
    for text in texts:
        try:
            found[text] = asyncio.run(resolve_seeds([text]))[0]
        except ConfigError as fault:
            findings.append(broken_by(f"{network.name}: seed {text}", fault))
    return found, findings


def seed_finding(network: NetworkFolder, text: str, heard: Sounding) -> Finding:
    """Return what follows from what was heard of the seed ``text``."""
    name = f"{network.name}: seed {text}"
    if heard.udp is not None:
        return _answers(name, heard, whose=heard.udp.name)
    match heard.tcp:
        case "another network":
            detail = "a peer answers there that has another network key"
            step = (
                "to join it, make an invite there with pair invite, give up the network here (pair down --purge) or"
                " choose another PAIR_HOME, and pair join INVITE"
            )
            return Finding(name, "broken", detail, step)
        case "this network":
            return _udp_filtered(name)
        case "refused":
            return Finding(name, "warning", "nobody listens there", "start the peer there, or name another seed")
        case "no peer":
            detail = "another program answers there"
            return Finding(name, "broken", detail, "correct the port in --seed, or name another seed")
        case _:
            return Finding(
                name,
                "broken",
                "no answer by UDP or TCP: the machine is off, the address is wrong, or the port is filtered on the way",
                f"let UDP and TCP port {text.rpartition(':')[2]} in through the firewall there, or name another seed",
            )


# Members


def _members_elsewhere(network: NetworkFolder, peers: Iterable[LocalPeer]) -> tuple[LocalPeer | None, list[Row]]:
    """Return the first peer here that answers, and the members of other machines as it sees them."""
    here = {peer.id for peer in peers}
    for peer in peers:
        if peer.state != "running":
            continue
        try:
            with closing(ApiClient(str(peer.api), token=network.tokens().read)) as client:
                rows = client.request("GET", "/v1/members", timeout_s=_ANSWER_TIMEOUT_S).document()
        except (ApiError, EnvironmentFault):
            continue
        elsewhere = [row for row in rows if row.get("id") not in here and row.get("state") != "left"]
        return peer, sorted(elsewhere, key=lambda row: row.get("state") not in _IN_DOUBT)[:MEMBERS_MAX]
    return None, []


def member_finding(network: NetworkFolder, row: Row, heard: Sounding) -> Finding:
    """Return what follows from what was heard at the address of a member, and from how a peer here sees it."""
    name, address, state = f"{network.name}: member {row['name']}", row["address"], row["state"]
    if heard.udp is not None and heard.udp.peer_id.hex() != row["id"]:
        detail = f"{heard.udp.name} answers at {address}, which {row['name']} advertises"
        return Finding(name, "broken", detail, f"start {row['name']} with an address of its own: --advertise, --port")
    if heard.udp is not None:
        return _answers(name, heard, whose=str(row["name"]))
    match heard.tcp:
        case "this network":
            return _udp_filtered(name)
        case "another network" | "no peer":
            detail = f"somebody else answers at {address}: its machine moved, or serves another network"
            return Finding(name, "warning", detail, f"start {row['name']} again where it is now")
        case "refused":
            detail = f"nobody listens at {address}: its process ended"
            return Finding(name, "warning", detail, f"start it again on its machine: pair restart {row['name']}")
    if state == "alive":
        detail = f"it lives, but {address} takes no new connection: UDP and TCP are filtered there"
        port = str(address).rpartition(":")[2]
        return Finding(name, "broken", detail, f"let UDP and TCP port {port} in through the firewall of that machine")
    detail = f"no answer from {address} by UDP or TCP: the machine is off, unreachable, or advertises a wrong address"
    return Finding(name, "warning", detail, "run pair doctor there")


def _answers(name: str, heard: Sounding, *, whose: str) -> Finding:
    """Return the finding for somebody whose datagrams arrive."""
    assert heard.udp is not None
    port = heard.udp.address.port
    if heard.tcp != "this network":
        detail = f"answers by UDP, but TCP port {port} is {'closed' if heard.tcp == 'refused' else 'filtered'}"
        step = f"let TCP port {port} in through the firewall there: larger values and quick verdicts need it"
        return Finding(name, "broken", detail, step)
    if heard.udp.version != __version__:
        detail = f"runs version {heard.udp.version}; here {__version__} is installed"
        return Finding(name, "warning", detail, "install the same version on both machines and restart the peers")
    return Finding(name, "ok", f"{whose} answers by UDP and TCP")


def _udp_filtered(name: str) -> Finding:
    return Finding(
        name,
        "broken",
        "answers by TCP, but not by UDP: datagrams are filtered, or another version of the protocol is spoken there",
        "let the peer port in through the firewall there for UDP too; compare pair --version on both machines",
    )


# Back to the peers here


def _own(network: NetworkFolder, peer: LocalPeer, address: Address, heard: Sounding) -> list[Finding]:
    """Look whether a peer that runs is where it says."""
    name = f"{network.name}: {peer.name} address"
    if heard.udp is not None and heard.udp.peer_id.hex() == peer.id and heard.tcp == "this network":
        return [Finding(name, "ok", f"it answers at {address} by UDP and TCP")]
    settings = settings_of(peer)
    if settings is not None and not is_unspecified(settings.bind) and not is_own(settings.bind):
        detail = f"it is bound to {settings.bind}, which this machine has no more"
        return [Finding(name, "broken", detail, f"{_again(peer)} --bind 0.0.0.0, which follows the machine's address")]
    if not is_own(address.host):
        detail = f"it advertises {address}, which is no address of this machine and does not lead back to it"
        return [Finding(name, "broken", detail, f"{_again(peer)} --advertise ADDR, with an address that others reach")]
    how = "UDP" if heard.udp is None else "TCP"
    detail = f"nothing reaches it at {address} by {how}, not even from this machine: the port is filtered here"
    step = f"let UDP and TCP port {address.port} in through the firewall of this machine"
    return [Finding(name, "broken", detail, step)]


def _is_deaf(row: Row, heard: Sounding) -> bool:
    """Return whether a member that answers this command is not heard by the peer here: its answers go elsewhere."""
    return row["state"] in _IN_DOUBT and heard.udp is not None and heard.udp.peer_id.hex() == row["id"]


def _unreached(network: NetworkFolder, peer: LocalPeer, unheard: Sequence[Row]) -> Finding:
    names = ", ".join(str(row["name"]) for row in unheard)
    detail = f"this command hears {names}, and {peer.name} does not: what is sent to {peer.address} does not arrive"
    step = f"let its port in through the firewall here for UDP and TCP, or {_again(peer)} --advertise ADDR"
    return Finding(f"{network.name}: {peer.name} reached", "broken", detail, step)


def _again(peer: LocalPeer) -> str:
    return f"pair stop {peer.name} && pair start --detach --name {peer.name}"
