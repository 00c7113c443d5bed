"""A cluster of cores on a virtual clock and a fake wire: whole stories of membership and election in milliseconds.

Nothing is sealed, but every message is encoded and decoded again. One seed decides latencies, losses and the cores'
own dice: the same seed tells the same story. What a kernel does for a process is here as well: a killed process
ends its links and refuses connections, a paused one keeps both, and its datagrams wait until it goes on.
"""

import functools
import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from protocol.codec import decode, encode
from protocol.config import LOCAL, ProtocolConfig
from protocol.core import Core, CoreStart
from protocol.effects import (
    ConnectionRefused,
    ContactsFound,
    Effect,
    Event,
    Input,
    KeepLinks,
    LeaveAsked,
    LinkLost,
    MemberState,
    Persist,
    Promise,
    Received,
    Report,
    Send,
    TryConnection,
    Woken,
)
from protocol.identity import CachingVerifier
from protocol.ids import ANY_RECEIVER, PeerId, ShortId, short_id_of
from protocol.messages import Message
from protocol.statements import Address, Descriptor
from tests.protocol import samples

WALL_MS = 1_800_000_000_000
TIMER_MIN_S = 0.0005
"""As ``node.driver``: a deadline in the past is served this much later."""

RELINK_PAUSES_S = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""As ``node.links``: pauses before a link is opened again; the last repeats."""

BACKLOG_MAX = 512
"""Inputs that wait for a paused process; the kernel drops the rest."""


@functools.cache
def peer_id(number: int) -> PeerId:
    """Return the id of test peer ``number``."""
    return samples.identity(number).peer_id


@dataclass(slots=True)
class Link:
    """A liveness link that a process wants to hold."""

    peer: Descriptor
    attempts: int = 0
    is_up: bool = False


@dataclass(slots=True)
class Process:
    """One run of one peer."""

    number: int
    descriptor: Descriptor
    core: Core
    is_alive: bool = True
    is_paused: bool = False
    timer: int = 0
    """Number of the armed timer; older ones are void."""

    links: dict[PeerId, Link] = field(default_factory=dict)
    backlog: list[Input] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Told:
    """What a process reported, and when."""

    at: float
    number: int
    event: Event


class Cluster:
    """N cores, by number from 1; peer ``n`` is ``samples.identity(n)`` at port 7400 + n."""

    def __init__(
        self, *, seed: int = 0, latency_s: float = 0.001, loss: float = 0.0, config: ProtocolConfig = LOCAL
    ) -> None:
        self.now = 1000.0
        self.loss = loss
        self.processes: dict[int, Process] = {}
        self.told: list[Told] = []
        self.sent: Counter[str] = Counter()
        """Datagrams by the name of their message."""

        self.sent_by: Counter[int] = Counter()
        self.promises: dict[int, Promise] = {}
        self._seed = seed
        self._random = random.Random(seed)
        self._latency_s = latency_s
        self._config = config
        self._verifier = CachingVerifier(entries_max=100_000)
        self._cuts: set[tuple[int, int]] = set()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._boots: Counter[int] = Counter()
        self._by_port: dict[int, int] = {}

    # What people do to peers

    def start(self, number: int, *, contacts: Iterable[int] = (), remembered: Sequence[Descriptor] = ()) -> Process:
        """Start peer ``number`` in a new boot that asks ``contacts``."""
        assert number not in self.running, "a peer runs once"
        self._boots[number] += 1
        descriptor = samples.descriptor(number, boot=self._boots[number])
        core = Core(
            CoreStart(
                identity=samples.identity(number),
                network=samples.NETWORK,
                descriptor=descriptor,
                config=self._config,
                verifier=self._verifier,
                random=random.Random(f"{self._seed}/{number}/{self._boots[number]}"),
                promise=self.promises.get(number),
                may_vote=True,
                remembered=tuple(remembered),
                wall_ms=WALL_MS + round(self.now * 1000),
                now=self.now,
            )
        )
        process = self.processes[number] = Process(number=number, descriptor=descriptor, core=core)
        self._by_port[descriptor.address.port] = number
        self._handle(process, ContactsFound(tuple(samples.descriptor(contact).address for contact in contacts)))
        return process

    def start_many(self, count: int, *, within_s: float = 0.0, contacts: Sequence[int] = (1,)) -> None:
        """Start peers 1 to ``count``, spread evenly at random; each asks ``contacts``."""
        for number in range(1, count + 1):
            others = [contact for contact in contacts if contact != number]
            self.after(
                within_s * self._random.random() if number not in contacts else 0.0,
                lambda number=number, others=others: self.start(number, contacts=others),
            )

    def kill(self, *numbers: int) -> None:
        """Kill -9: the kernel ends the links and refuses connections from now on."""
        for number in numbers:
            process = self.processes[number]
            process.is_alive = process.is_paused = False
            process.links.clear()
            for holder in self.processes.values():
                self._end_link(holder, process)

    def stop(self, number: int) -> None:
        """Let a peer say goodbye and end."""
        self._handle(self.processes[number], LeaveAsked())
        self.kill(number)

    def pause(self, number: int) -> None:
        """SIGSTOP."""
        self.processes[number].is_paused = True

    def resume(self, number: int) -> None:
        """SIGCONT: what waited in the socket is read first, as by asyncio."""
        process = self.processes[number]
        process.is_paused = False
        backlog, process.backlog = process.backlog, []
        for event in [*backlog, Woken()]:
            self._handle(process, event)

    def cut(self, senders: Iterable[int], receivers: Iterable[int], *, one_way: bool = False) -> None:
        """Lose everything between two groups, or only from the first to the second."""
        receivers = list(receivers)
        for sender in senders:
            for receiver in receivers:
                self._cuts.add((sender, receiver))
                if not one_way:
                    self._cuts.add((receiver, sender))

    def heal(self) -> None:
        """End all cuts."""
        self._cuts.clear()

    # Time

    def after(self, delay_s: float, action: Callable[[], object]) -> None:
        """Do something later."""
        self._order += 1
        heapq.heappush(self._queue, (self.now + delay_s, self._order, lambda: (action(), None)[1]))

    def run(self, duration_s: float) -> None:
        """Let time pass."""
        self.run_until(lambda: False, within_s=duration_s)

    def run_until(self, condition: Callable[[], bool], *, within_s: float, step_s: float = 0.005) -> float | None:
        """Let time pass until ``condition`` holds; return how long it took, None when it never did."""
        started_at, ends_at = self.now, self.now + within_s
        while not condition():
            if self.now >= ends_at:
                return None
            step_ends_at = min(ends_at, self.now + step_s)
            while self._queue and self._queue[0][0] <= step_ends_at:
                self.now, _, action = heapq.heappop(self._queue)
                action()
            self.now = step_ends_at
        for process in self.processes.values():
            process.core.check_invariants()
        return self.now - started_at

    # What can be seen

    @property
    def running(self) -> list[int]:
        """Numbers of the peers that live, paused ones included, ascending."""
        return sorted(number for number, process in self.processes.items() if process.is_alive)

    def state(self, viewer: int, number: int) -> MemberState | None:
        """Return how ``viewer`` sees ``number``."""
        member = self.processes[viewer].core.membership.table.find(peer_id(number))
        return None if member is None else member.state

    def sees(self, viewer: int, numbers: Iterable[int]) -> bool:
        """Return whether ``viewer`` holds exactly ``numbers`` for alive."""
        electorate = self.processes[viewer].core.membership.electorate
        return not electorate.suspects and electorate.living == tuple(sorted(map(peer_id, numbers)))

    def is_complete(self) -> bool:
        """Return whether everybody that runs sees exactly those that run."""
        running = self.running
        expected = tuple(sorted(map(peer_id, running)))
        views = [self.processes[viewer].core.membership.electorate for viewer in running]
        return all(view.living == expected and not view.suspects for view in views)

    def leaders(self) -> list[int | None]:
        """Return whom the running peers follow, each once."""
        numbers = {peer_id(number): number for number in self.processes}
        followed = [self.processes[number].core.election.leader for number in self.running]
        return list(dict.fromkeys(None if leader is None else numbers[leader] for leader in followed))

    def agrees(self) -> bool:
        """Return whether all tables are complete and all follow one living leader, which knows that it leads."""
        leaders = self.leaders()
        if not self.is_complete() or len(leaders) != 1 or leaders[0] not in self.running:
            return False
        return self.processes[leaders[0]].core.election.role == "leader"

    # The wire and the kernels

    def _handle(self, process: Process, event: Input) -> None:
        if not process.is_alive:
            return
        if process.is_paused:
            if len(process.backlog) < BACKLOG_MAX and not isinstance(event, Woken):
                process.backlog.append(event)
            return
        for effect in process.core.handle(event, self.now):
            self._carry_out(process, effect)
        self._arm(process)

    def _arm(self, process: Process) -> None:
        deadline = process.core.next_deadline()
        process.timer += 1
        timer = process.timer
        if deadline < float("inf"):
            self.after(max(TIMER_MIN_S, deadline - self.now), lambda: self._wake(process, timer))

    def _wake(self, process: Process, timer: int) -> None:
        if process.timer == timer:
            self._handle(process, Woken())

    def _carry_out(self, process: Process, effect: Effect) -> None:
        match effect:
            case Send(message, address, receiver):
                self._send(process, message, address, receiver)
            case Report(event):
                self.told.append(Told(self.now, process.number, event))
            case Persist(promise):
                self.promises[process.number] = promise
            case KeepLinks(peers):
                self._keep_links(process, peers)
            case TryConnection(peer):
                self._connect(process, peer, lambda: None)

    def _send(self, process: Process, message: Message, address: Address, receiver: ShortId) -> None:
        self.sent[type(message).__name__] += 1
        self.sent_by[process.number] += 1
        data = encode(message)
        if self._random.random() < self.loss:
            return
        sender = process.descriptor
        target = self._by_port.get(address.port)
        if target is None or (process.number, target) in self._cuts:
            return

        def deliver() -> None:
            host = self.processes[target]
            if receiver in (ANY_RECEIVER, short_id_of(host.descriptor.peer_id)):
                received = Received(decode(data), sender.address, short_id_of(sender.peer_id), sender.boot)
                self._handle(host, received)

        self.after(self._delay_s(), deliver)

    def _delay_s(self) -> float:
        return self._latency_s * (0.5 + self._random.random())

    def _connect(self, process: Process, peer: Descriptor, connected: Callable[[], None]) -> None:
        """Try a TCP connection: it is made, refused, or lost in a cut."""
        target = self._by_port.get(peer.address.port)

        def answer() -> None:
            if target is None or self._is_cut(process.number, target):
                return
            if self.processes[target].is_alive:
                connected()
            else:
                self._handle(process, ConnectionRefused(peer.peer_id, peer.boot))

        self.after(2 * self._delay_s(), answer)

    def _is_cut(self, left: int, right: int) -> bool:
        return (left, right) in self._cuts or (right, left) in self._cuts

    def _keep_links(self, process: Process, peers: Sequence[Descriptor]) -> None:
        links = {}
        for peer in peers:
            link = process.links.get(peer.peer_id)
            is_same = link is not None and (link.peer.address, link.peer.boot) == (peer.address, peer.boot)
            links[peer.peer_id] = link if link is not None and is_same else Link(peer)
        fresh = [link for peer_id, link in links.items() if link is not process.links.get(peer_id)]
        process.links = links
        for link in fresh:
            self._open_link(process, link)

    def _open_link(self, process: Process, link: Link) -> None:
        if process.links.get(link.peer.peer_id) is not link or link.is_up:
            return

        def connected() -> None:
            link.is_up = True

        self._connect(process, link.peer, connected)
        link.attempts = min(link.attempts + 1, len(RELINK_PAUSES_S) - 1)
        self.after(RELINK_PAUSES_S[link.attempts], lambda: self._open_link(process, link))

    def _end_link(self, holder: Process, target: Process) -> None:
        link = holder.links.get(target.descriptor.peer_id)
        if link is None or not link.is_up or self._is_cut(holder.number, target.number):
            return
        link.is_up = False
        link.attempts = 0
        self.after(self._delay_s(), lambda: self._lose_link(holder, link))

    def _lose_link(self, holder: Process, link: Link) -> None:
        if holder.links.get(link.peer.peer_id) is link:
            self._handle(holder, LinkLost(link.peer.peer_id))
            self._open_link(holder, link)
