"""Asking a peer: which one, with which token, and what happens when it does not answer.

Without ``--peer`` the first local peer by name that answers is asked. What only reads goes on to the next peer
when one breaks off; what writes does not, since it may have taken effect.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Literal, TypeAlias

from bootstrap.files import read_file
from bootstrap.home import NetworkFolder
from bootstrap.reader import read_reader
from node.api_client import Answer, ApiClient, NoAnswer, NoConnection, ProblemAnswer, ServerEvent, host_and_port
from node.cli.failures import CommandFailed, failed, no_peer, not_found, of_api, refused, wrong_use
from node.cli.options import Options
from node.cli.peers import (
    READERS_NEXT_STEP,
    LocalPeer,
    ambiguous,
    find_local,
    is_id_prefix,
    local_peers,
    network_of,
    networks_here,
    nobody_runs,
)

Level: TypeAlias = Literal["read", "member", "admin"]

TIMEOUT_HEADER_MAX_S: Final = 60.0
"""The longest time that a peer lets an operation take."""

GRACE_S: Final = 1.0
"""How much longer than the peer the client waits, so that the peer's own words about a time-out arrive."""

PROBE_TIMEOUT_S: Final = 1.0
"""How long a local peer may take to show that it lives, before the next one is asked."""

SILENCE_MAX_S: Final = 40.0
"""Longest silence of an event stream: peers send a comment at least every 15 s."""


@dataclass(frozen=True, slots=True)
class _Target:
    url: str
    token: str | None
    if_silent: str = "pair ps shows what runs here"
    """What to do when nobody answers there."""


class Session:
    """Asks the chosen peer, or the first that answers, and keeps to it."""

    def __init__(self, options: Options, level: Level) -> None:
        """Decide whom to ask; only a name that no local peer has needs a question to find out.

        Raises:
            CommandFailed: Nobody can be asked: unknown, ambiguous or out of reach.
        """
        self._options = options
        self._deadline = time.monotonic() + options.deadline_s
        self._targets = _targets(options, level)
        self._client: ApiClient | None = None

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | IO[bytes] | None = None,
    ) -> Answer:
        """Return the answer of the first peer that gives one.

        Raises:
            CommandFailed: Nobody answered, or the answer is a problem.
        """
        reading = method == "GET"
        all_headers = {"Pair-Timeout": f"{min(self._left_s(), TIMEOUT_HEADER_MAX_S):.3f}", **(headers or {})}
        if self._options.explain:
            all_headers["Pair-Explain"] = "1"
        lost: NoAnswer | NoConnection | None = None
        for client in self._clients():
            try:
                return client.request(
                    method, path, headers=all_headers, body=body, timeout_s=self._left_s() + GRACE_S
                )
            except NoConnection as error:
                lost = error
            except NoAnswer as error:
                if not reading or error.timed_out:
                    raise of_api(error, writing=not reading) from error
                lost = error
            except ProblemAnswer as error:
                raise of_api(error, writing=not reading) from error
        assert lost is not None
        raise no_peer(str(lost), next_step=self._targets[0].if_silent) from lost

    def events(self, path: str, *, since: str | None = None) -> Iterator[ServerEvent]:
        """Yield events, and resume at whichever peer answers when one breaks off.

        Raises:
            CommandFailed: Nobody answers any more, or the answer is a problem.
        """
        while True:
            headers = {"Last-Event-ID": since} if since else {}
            try:
                for event in next(self._clients()).events(path, headers=headers, silence_max_s=SILENCE_MAX_S):
                    since = event.id or since
                    # The time-out is for finding a peer: it starts again whenever one speaks.
                    self._deadline = time.monotonic() + self._options.deadline_s
                    yield event
            except ProblemAnswer as error:
                raise of_api(error, writing=False) from error
            except (NoConnection, NoAnswer) as error:
                # One of several may have ended since it said that it lives: whether anybody does is asked anew.
                if isinstance(error, NoConnection) and len(self._targets) == 1:
                    raise no_peer(str(error), next_step="pair ps shows what runs here") from error
                self._client = None
                time.sleep(min(0.1, self._left_s()))

    def close(self) -> None:
        """End the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _clients(self) -> Iterator[ApiClient]:
        """Yield whom to ask, most wanted first: at least one, unless this raises.

        Peers that say "not ready" come last. The one that was asked before comes first.
        """
        if self._client is not None:
            yield self._client
        if len(self._targets) == 1:
            yield self._use(self._targets[0])
            return
        waiting = []
        found = False
        for target in self._targets:
            client = self._use(target)
            try:
                client.request("GET", "/v1/health", timeout_s=min(PROBE_TIMEOUT_S, self._left_s()))
            except ProblemAnswer:
                waiting.append(target)
            except (NoConnection, NoAnswer):
                continue
            else:
                found = True
                yield client
        for target in waiting:
            found = True
            yield self._use(target)
        if not found:
            raise nobody_runs(network_of(self._options.network))

    def _use(self, target: _Target) -> ApiClient:
        self.close()
        self._client = ApiClient(target.url, token=target.token, timeout_s=self._options.deadline_s)
        return self._client

    def _left_s(self) -> float:
        return max(0.05, self._deadline - time.monotonic())


def token_for(options: Options, network: NetworkFolder, level: Level) -> str | None:
    """Return the token to send: from ``--token-file``, else the network's own; None when there is none.

    Raises:
        CommandFailed: The file cannot be used.
    """
    if options.token_file is not None:
        return _token_in(Path(options.token_file), level)
    if not network.exists():
        return _readers_token(network, level)
    token: str = getattr(network.tokens(), level)
    return token


def _readers_token(network: NetworkFolder, level: Level) -> str | None:
    reader = read_reader(network)
    if reader is None or level == "read":
        return reader.token if reader is not None else None
    raise refused(
        f"this machine was invited to read the network {network.name!r}, and this needs the {level} level",
        next_step="ask for an invite that makes a member (pair invite), or name a token: --token-file F",
        type="level-too-low",
        status=403,
    )


def _token_in(path: Path, level: Level) -> str:
    content = read_file(path)
    if content is None:
        raise wrong_use(f"there is no token file {path}", next_step="pair token --level member > FILE makes one")
    text = content.decode(errors="replace").strip()
    if text.startswith("{"):
        try:
            text = str(json.loads(text).get(level, ""))
        except ValueError:
            text = ""
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise wrong_use(f"{path} holds no token", next_step="it holds one token, or is a copy of tokens.json")
    return text


def _targets(options: Options, level: Level) -> list[_Target]:
    wanted = options.peer
    if wanted is not None and "://" in wanted:
        return [_target_of_url(options, wanted, level)]
    network = network_of(options.network)
    peers = local_peers(network)
    if wanted is not None:
        peer = find_local(peers, wanted)
        if peer is not None and not (is_id_prefix(wanted) and peer.name != wanted and len(wanted) < 64):
            return [_target_of_peer(options, network, peer, level)]
    targets = [
        _Target(peer.api, token_for(options, network, level))
        for peer in peers
        if peer.state == "running" and peer.api is not None
    ]
    if not targets and not network.exists() and (reader := read_reader(network)) is not None:
        token = token_for(options, network, level)
        targets = [_Target(api, token, if_silent=READERS_NEXT_STEP) for api in reader.apis]
    if wanted is not None:
        return [_target_elsewhere(options, network, peers, wanted, level)]
    if not targets:
        raise nobody_runs(network)
    return targets


def _target_of_url(options: Options, url: str, level: Level) -> _Target:
    try:
        host_and_port(url)
    except ValueError as error:
        raise wrong_use(f"{url!r}: {error}", next_step="--peer http://127.0.0.1:8401") from error
    plain = url.rstrip("/")
    owners = [] if options.network is not None else [
        network for network in networks_here() if any(peer.api == plain for peer in local_peers(network))
    ]  # fmt: skip
    network = owners[0] if owners else _network_or_default(options)
    return _Target(plain, token_for(options, network, level))


def _network_or_default(options: Options) -> NetworkFolder:
    """Return whose tokens to send to an address that no local peer has."""
    try:
        return network_of(options.network)
    except CommandFailed as failure:
        next_step = "say whose token to use: --network NAME or --token-file FILE"
        raise wrong_use(failure.detail, next_step=next_step) from failure


def _target_of_peer(options: Options, network: NetworkFolder, peer: LocalPeer, level: Level) -> _Target:
    if peer.state != "running" or peer.api is None:
        step = "resume" if peer.state == "paused" else "restart"
        raise no_peer(f"{peer.name} is {peer.state}", next_step=f"pair {step} {peer.name}")
    return _Target(peer.api, token_for(options, network, level))


def _target_elsewhere(
    options: Options, network: NetworkFolder, peers: list[LocalPeer], wanted: str, level: Level
) -> _Target:
    """Look a name, or the start of an id, up in the member table of a local peer."""
    from dataclasses import replace

    here = {peer.id: peer for peer in peers if peer.id is not None and _matches(wanted, peer.name, peer.id)}
    try:
        session = Session(replace(options, peer=None), "read")
        table = session.request("GET", "/v1/members").document()
        session.close()
    except CommandFailed:
        # Without a member table the local folders decide, if they can.
        if len(here) != 1:
            raise
        table = []
    found: dict[str, Mapping[str, Any]] = {}
    for row in table if isinstance(table, list) else []:
        if _matches(wanted, str(row.get("name")), str(row.get("id"))):
            found[str(row["id"])] = row
    names = {**{id: str(row["name"]) for id, row in found.items()}, **{id: peer.name for id, peer in here.items()}}
    if len(names) > 1:
        raise ambiguous(wanted, [f"{name} ({id})" for id, name in names.items()])
    if not names:
        raise not_found(f"there is no peer {wanted!r}", next_step="pair members lists the peers of the network")
    (id,) = names
    if id in here:
        return _target_of_peer(options, network, here[id], level)
    api = str(found[id].get("api") or "")
    if not api:
        raise failed(f"{names[id]} offers no API", next_step="ask another peer")
    return _Target(api, token_for(options, network, level))


def _matches(wanted: str, name: str, id: str) -> bool:
    return name == wanted or (is_id_prefix(wanted) and id.startswith(wanted.lower()))
