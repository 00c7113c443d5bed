"""How word gets around: introductions, and news that falls silent."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.codec import encode
from protocol.config import LOCAL
from protocol.members.anti_entropy import FIRST_PAUSE_S
from protocol.members.membership import SETTLED_S
from protocol.members.news import VERDICT_ROUNDS, News
from protocol.members.pings import UPDATES_BUDGET_BYTES, pages_of
from protocol.members.spreading import COMPANY_SHARE, SOON_S
from protocol.messages import Gossip, Ping
from protocol.statements import Evidence
from tests.examples import examples
from tests.protocol.members.subject import (
    ME,
    START,
    accusation,
    answered,
    descriptor,
    evidence_in,
    gossip,
    leave,
    membership,
    messages,
    peer_id,
    receivers,
    run_until,
    tell,
)


def taken(news: News, *, receiver: int = 50, members: int = 40, budget: int = UPDATES_BUDGET_BYTES) -> int:
    return len(news.take(receiver=peer_id(receiver), members=members, budget_bytes=budget))


def test_newcomers_are_introduced_to_everybody_in_shared_datagrams() -> None:
    """Peers that join together are told of together; themselves they are about to ask for the whole table."""
    subject = membership(*range(2, 10))
    for newcomer in (20, 21, 22):
        subject.learn(descriptor(newcomer), now=START)
        subject.introduce(peer_id(newcomer), now=START)
        subject.introduce(peer_id(newcomer), now=START)

    effects = run_until(subject, START + 0.015)

    for number in range(2, 10):
        told = [message for message in messages(effects, to=number) if isinstance(message, Gossip)]
        assert [evidence_in(message) for message in told] == [[descriptor(20), descriptor(21), descriptor(22)]]
    for number in (20, 21, 22):
        assert not any(isinstance(message, Gossip) for message in messages(effects, to=number))


def test_newcomer_is_told_of_those_that_come_after_it_asked_for_the_table() -> None:
    """Its contact did not know them then."""
    subject = membership(2)
    subject.learn(descriptor(20), now=START)
    subject.introduce(peer_id(20), now=START)
    effects = run_until(subject, START + FIRST_PAUSE_S)
    subject.learn(descriptor(21), now=START + FIRST_PAUSE_S)
    subject.introduce(peer_id(21), now=START + FIRST_PAUSE_S)

    effects += run_until(subject, START + 2 * LOCAL.gossip_interval_s, now=START + FIRST_PAUSE_S)

    told = [evidence_in(message) for message in messages(effects, to=20) if isinstance(message, Gossip)]
    assert told == [[descriptor(21)]]


def test_each_boot_is_introduced_once() -> None:
    """Several contacts forward the same newcomer."""
    subject = membership(2, 3)
    subject.learn(descriptor(20), now=START)
    subject.introduce(peer_id(20), now=START)
    run_until(subject, START + 0.015)

    subject.introduce(peer_id(20), now=START + 0.1)
    assert not receivers(run_until(subject, START + 0.3, now=START + 0.1), Gossip)

    subject.learn(descriptor(20, boot=2), now=START + 1)
    subject.introduce(peer_id(20), now=START + 1)
    assert peer_id(2) in receivers(run_until(subject, START + 1.2, now=START + 1), Gossip)


def test_lowest_id_that_is_surely_alive_introduces_where_nobody_leads() -> None:
    """All contacts of one newcomer choose alike; neither suspects nor the newcomer itself will do."""
    numbers = sorted(range(1, 8), key=peer_id)
    subject = membership(*(number for number in numbers if number != ME))
    lowest = [number for number in numbers if number != ME]
    newcomer, suspect = lowest[0], lowest[1]
    tell(subject, accusation(lowest[2], suspect), sender=lowest[2])

    expected = next(number for number in numbers if number not in (newcomer, suspect))
    assert subject.introducer(peer_id(newcomer), now=START) == peer_id(expected)


def test_whoever_was_asked_introduces_where_all_have_only_just_come() -> None:
    """None of those who start together knows the others, or is known to them."""
    first, second, *_ = sorted(range(2, 8), key=peer_id)
    subject = membership()
    subject.learn(descriptor(first), now=START)

    assert subject.introducer(peer_id(second), now=START) == peer_id(ME)
    assert subject.introducer(peer_id(second), now=START + SETTLED_S) == min(peer_id(first), peer_id(ME))


def test_news_is_sent_a_bounded_number_of_times() -> None:
    """SWIM 2002, section 4.1: lambda log n."""
    news = News(LOCAL)
    news.add(accusation(2, 9))

    sends = sum(taken(news) for _ in range(100))

    assert sends == LOCAL.retransmit_factor * 2
    assert not news.is_urgent and len(news) == 0


def test_news_makes_one_round_and_then_rides_along() -> None:
    """A round by each who hears it reaches nearly all; the rest hear it with the next probes."""
    news = News(LOCAL)
    news.add(accusation(2, 9))

    for _ in range(LOCAL.gossip_fanout):
        assert news.is_urgent and taken(news) == 1

    assert not news.is_urgent and taken(news) == 1
    news.check_invariants()


COMPANY_S = COMPANY_SHARE * LOCAL.suspicion_min_s


@pytest.mark.parametrize(
    ("before", "word", "pause_s"),
    [
        pytest.param([], accusation(2, 9), COMPANY_S, id="silence"),
        pytest.param([accusation(2, 9)], descriptor(9, incarnation=1), COMPANY_S, id="refuted"),
        pytest.param([], accusation(2, 9, kind="refused"), SOON_S, id="refused"),
        pytest.param([accusation(2, 9, kind="refused")], accusation(3, 9, kind="refused"), SOON_S, id="crashed"),
        pytest.param([], leave(9), SOON_S, id="left"),
        pytest.param([leave(9)], descriptor(9, incarnation=1), SOON_S, id="back"),
    ],
)
def test_word_waits_for_company_unless_somebody_falls_or_rises_by_it(
    before: list[Evidence], word: Evidence, pause_s: float
) -> None:
    """Where links are bad there is always a suspect: a round for each word of it would be a round all the time."""
    subject = membership(*range(2, 40))
    tell(subject, *before, sender=2)
    heard_at = START + 3 * COMPANY_S
    told_at: list[float] = []

    def go_on(*, until: float) -> None:
        while not told_at and subject.next_deadline() <= until:
            now = subject.next_deadline()
            effects = subject.wake(now=now, late_by=0.0)
            if any(isinstance(said, Gossip) and word in evidence_in(said) for said in messages(effects)):
                told_at.append(now)
            answered(subject, effects, now=now)

    go_on(until=heard_at)
    tell(subject, word, sender=2, now=heard_at)
    go_on(until=heard_at + 2 * COMPANY_S)

    assert told_at == [pytest.approx(heard_at + pause_s, abs=1e-6)]


def test_word_heard_again_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of what gossip brings is on its way already and is known by its bytes; it counts as sent."""
    subject = membership(2, 3, 9)
    tell(subject, accusation(2, 9), sender=2)
    monkeypatch.setattr("protocol.members.membership.decode_evidence", lambda data: pytest.fail("it was decoded"))

    for _ in range(LOCAL.gossip_fanout):
        tell(subject, accusation(2, 9), sender=3)

    assert receivers(run_until(subject, START + 0.1), Gossip) == [], "it needs no round any more"


def test_echoes_count_as_sends() -> None:
    """What everybody tells us needs no telling (Demers et al. 1987)."""
    news = News(LOCAL)
    news.add(accusation(2, 9))

    for _ in range(LOCAL.retransmit_factor * 2):
        news.echoed(subject=peer_id(9), author=peer_id(2), members=40)

    assert taken(news) == 0


def test_verdict_makes_two_rounds_whatever_others_tell() -> None:
    """Echoes alone would silence it before all have heard it: those who tell each other tell nobody new."""
    news = News(LOCAL)
    news.add(accusation(2, 9, kind="refused"))
    for _ in range(100):
        news.echoed(subject=peer_id(9), author=peer_id(2), members=40)

    own_sends = VERDICT_ROUNDS * LOCAL.gossip_fanout
    assert [taken(news) for _ in range(own_sends)] == [1] * own_sends

    news.echoed(subject=peer_id(9), author=peer_id(2), members=40)
    news.echoed(subject=peer_id(9), author=peer_id(2), members=40)
    assert taken(news) == 0


def test_newcomer_rides_along_but_starts_no_rounds() -> None:
    """Its introducer tells everybody: the word only fills room on pings."""
    news = News(LOCAL)
    news.add(descriptor(9), is_urgent=False)

    assert not news.is_urgent
    assert sum(taken(news) for _ in range(100)) == LOCAL.gossip_fanout


def test_least_sent_news_goes_first_and_urgent_before_all() -> None:
    """What fewest peers know is worth most."""
    news = News(LOCAL)
    news.add(descriptor(7), is_urgent=False)
    news.add(accusation(2, 9))
    assert taken(news, budget=220) == 1
    news.add(accusation(3, 9))

    (first, *_) = evidence_in(gossip_of(news))

    assert first == accusation(3, 9)


def test_nobody_is_told_its_own_words() -> None:
    """A descriptor is no news to its author."""
    news = News(LOCAL)
    news.add(descriptor(9))

    assert taken(news, receiver=9) == 0
    assert taken(news, receiver=8) == 1


def test_newer_word_of_one_author_replaces_the_older() -> None:
    """A goodbye after a descriptor, a refusal after a silence."""
    news = News(LOCAL)
    news.add(accusation(2, 9))
    news.add(accusation(2, 9, kind="refused"))
    news.add(descriptor(9))
    news.add(leave(9))

    assert len(news) == 2
    news.check_invariants()


def test_refuted_accusations_are_not_spread() -> None:
    """They would only be refuted again."""
    subject = membership(2, 3, 9)
    tell(subject, accusation(2, 9), sender=2)
    tell(subject, descriptor(9, incarnation=1), sender=9)

    told = [
        piece
        for message in messages(run_until(subject, START + 1))
        if isinstance(message, Gossip)
        for piece in evidence_in(message)
    ]

    assert descriptor(9, incarnation=1) in told
    assert accusation(2, 9) not in told


PIECES: list[Evidence] = [
    *(descriptor(number) for number in range(1, 30)),
    *(accusation(number, 40) for number in range(1, 30)),
]


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_pages_lose_nothing_keep_order_and_fit(pieces: list[Evidence]) -> None:
    """A page is a datagram."""
    pages = pages_of(gossip(*pieces[:24]).updates)

    assert [piece for page in pages for piece in evidence_in(page)] == pieces[:24]
    for page in pages:
        encode(page)


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=80))
def test_ping_with_any_news_fits_a_datagram(pieces: list[Evidence]) -> None:
    """The byte budget holds whatever is new."""
    subject = membership(*range(2, 30), 40)
    tell(subject, *pieces[:24], sender=2)

    effects = subject.link_lost(peer_id(3), now=START) or subject.link_lost(peer_id(4), now=START)

    for message in messages(effects):
        assert isinstance(message, Ping)
        encode(message)


def test_news_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes first."""
    monkeypatch.setattr("protocol.members.news.NEWS_MAX", 5)
    news = News(LOCAL)
    for number in range(10):
        news.add(accusation(2, 10 + number))

    news.check_invariants()
    assert evidence_in(gossip_of(news)) == [accusation(2, 10 + number) for number in (9, 8, 7, 6, 5)]


def gossip_of(news: News) -> Gossip:
    return Gossip(updates=news.take(receiver=peer_id(50), members=40, budget_bytes=UPDATES_BUDGET_BYTES))
