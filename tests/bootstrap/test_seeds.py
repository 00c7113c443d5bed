"""Seeds: what a person may write, and what becomes of it."""

import asyncio

import pytest

from bootstrap.seeds import ADDRESSES_PER_SEED_MAX, SEEDS_MAX, Seed, parse_seed, resolve_seeds
from protocol.errors import ConfigError
from protocol.statements import Address


@pytest.mark.parametrize(
    ("text", "seed"),
    [
        ("192.0.2.7:7400", Seed("192.0.2.7", 7400)),
        (" 192.0.2.7:7400\n", Seed("192.0.2.7", 7400)),
        ("[2001:db8::7]:1", Seed("2001:db8::7", 1)),
        ("[fe80::1%eth0]:7400", Seed("fe80::1%eth0", 7400)),
        ("peer-1:65535", Seed("peer-1", 65535)),
        ("peer_1.example.org.:7400", Seed("peer_1.example.org.", 7400)),
    ],
)
def test_a_seed_is_an_address_or_a_name_with_a_port(text: str, seed: Seed) -> None:
    """IPv4, IPv6 in brackets and names are accepted."""
    assert parse_seed(text) == seed


@pytest.mark.parametrize(
    "text",
    [
        "", ":", ":7400", "peer-1", "peer-1:", "peer-1:0", "peer-1:65536", "peer-1:-1", "peer-1:7400x", "peer-1:٧٤٠٠",
        "2001:db8::7:7400", "[2001:db8::7]", "[192.0.2.7]:7400", "[peer-1]:7400", "[]:7400", "192.0.2:7400",
        "300.0.2.7:7400", "-peer:7400", "a..b:7400", "pe er:7400", "peer\x1b[2J:7400", "http://peer-1:7400", "é:7400",
        "x" * 64 + ":7400", "x." * 150 + ":7400",
    ],
)  # fmt: skip
def test_a_bad_seed_is_quoted_with_the_next_step(text: str) -> None:
    """An error names the cause and the next step."""
    with pytest.raises(ConfigError) as caught:
        parse_seed(text)

    assert repr(text) in caught.value.cause
    assert "HOST:PORT" in caught.value.next_step


async def test_addresses_resolve_without_a_resolver_and_repeats_vanish() -> None:
    """IP addresses stay as they are, in the order given."""
    found = await resolve_seeds(["192.0.2.9:7400", "[2001:db8::7]:7401", "192.0.2.9:7400"])

    assert found == (Address("192.0.2.9", 7400), Address("2001:db8::7", 7401))


async def test_a_name_resolves_through_the_loop() -> None:
    """Names become IP addresses before the core sees them."""
    found = await resolve_seeds(["localhost:7400"])

    assert Address("127.0.0.1", 7400) in found or Address("::1", 7400) in found


async def test_a_name_that_does_not_exist_is_an_error_that_names_it() -> None:
    """The reserved top-level name ``invalid`` never resolves (RFC 6761)."""
    with pytest.raises(ConfigError, match=r"no-such-peer\.invalid:7400") as caught:
        await resolve_seeds(["192.0.2.9:7400", "no-such-peer.invalid:7400"])

    assert caught.value.next_step


async def test_a_resolver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wait has a deadline."""

    async def never(*_: object, **__: object) -> list[object]:
        return await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)

    with pytest.raises(ConfigError, match="did not resolve within"):
        await resolve_seeds(["slow.example:7400"], timeout_s=0.01)


async def test_the_number_of_seeds_and_of_their_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a thousand addresses gives a few; a thousand seeds are refused."""

    async def many(*_: object, **__: object) -> list[object]:
        return [(0, 0, 0, "", (f"192.0.2.{last}", 7400)) for last in range(200)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", many)

    assert len(await resolve_seeds(["crowd.example:7400"])) == ADDRESSES_PER_SEED_MAX
    with pytest.raises(ConfigError, match="65 seeds"):
        await resolve_seeds(["192.0.2.9:7400"] * (SEEDS_MAX + 1))
