"""Listing: every member is asked which keys it has, page by page, and the newest version of each key counts."""

import asyncio
from typing import Final

from node.dht.serving import Serving
from node.dht.surroundings import Surroundings
from node.dht.tasks import take_turn
from node.errors import OperationError
from node.ports import PeerUnreachable
from node.shapes import KeyEntry, KeyListing, text_of_time
from protocol import limits
from protocol.dht_messages import KeysListed, ListKeys
from protocol.errors import StoreError
from protocol.ids import PeerId
from protocol.records import Head

LISTINGS_AT_ONCE: Final = 4
_ASKED_AT_ONCE: Final = 16
_PAGE_TIMEOUT_S: Final = 5.0
_KEYS_MAX: Final = 1_000_000
"""Keys in one listing; beyond it the listing is not complete."""

_VERSIONS_PER_KEY_MAX: Final = 8
_VERIFIED_AT_ONCE: Final = 16


class Lister:
    """Owns the listings of this peer's users."""

    def __init__(self, surroundings: Surroundings, serving: Serving) -> None:
        self._around = surroundings
        self._serving = serving
        self._slots = asyncio.Semaphore(LISTINGS_AT_ONCE)

    async def keys(self, prefix: str, *, timeout_s: float) -> KeyListing:
        """Return the live keys that start with ``prefix``; see ``node.service.PeerService``."""
        try:
            size = len(prefix.encode())
        except UnicodeEncodeError as error:
            raise OperationError("key-invalid", "the prefix is not UTF-8") from error
        if size > limits.KEY_SIZE_MAX_BYTES:
            raise OperationError("key-invalid", f"a prefix has at most {limits.KEY_SIZE_MAX_BYTES} bytes")
        deadline = asyncio.get_running_loop().time() + timeout_s
        await take_turn(self._slots, deadline)
        try:
            found: dict[str, dict[str, Head]] = {}
            turns = asyncio.Semaphore(_ASKED_AT_ONCE)
            peers = self._around.holders.placement.peer_ids
            answers = await asyncio.gather(
                *(self._ask(peer_id, prefix, found, turns, deadline) for peer_id in peers)
            )
            return KeyListing(keys=await self._entries(found), complete=all(answers))
        finally:
            self._slots.release()

    async def _ask(
        self,
        peer_id: PeerId,
        prefix: str,
        found: dict[str, dict[str, Head]],
        turns: asyncio.Semaphore,
        deadline: float,
    ) -> bool:
        """Collect all pages of one peer; return whether it answered to the end."""
        async with turns:
            after = ""
            while True:
                heads = await self._page(peer_id, ListKeys(prefix=prefix, after=after), deadline)
                if heads is None:
                    return peer_id != self._around.local and not self._around.holders.is_living(peer_id)
                if not heads:
                    return True
                if not _ascends(heads, prefix, after) or len(found) >= _KEYS_MAX:
                    return False
                for head in heads:
                    versions = found.setdefault(head.key, {})
                    if len(versions) < _VERSIONS_PER_KEY_MAX:
                        versions[head.version] = head
                after = heads[-1].key

    async def _page(self, peer_id: PeerId, request: ListKeys, deadline: float) -> tuple[Head, ...] | None:
        if peer_id == self._around.local:
            try:
                return (await self._serving.list_keys(request)).heads
            except StoreError:
                return None
        loop = asyncio.get_running_loop()
        while (left_s := deadline - loop.time()) > 0 and self._around.holders.is_living(peer_id):
            try:
                reply = await self._around.requester.request(
                    peer_id, request, timeout_s=min(left_s, _PAGE_TIMEOUT_S)
                )
            except PeerUnreachable:
                await asyncio.sleep(min(left_s, 0.05))
                continue
            return reply.heads if isinstance(reply, KeysListed) else None
        return None

    async def _entries(self, found: dict[str, dict[str, Head]]) -> list[KeyEntry]:
        entries = []
        now_ms = self._around.time.now_ms()
        for index, key in enumerate(sorted(found), start=1):
            head = self._newest_genuine(list(found[key].values()))
            if head is not None and head.is_live(now_ms):
                expires = text_of_time(head.expires_ms) if head.expires_ms else None
                entries.append(KeyEntry(key=key, version=head.version, size=head.value_size, expires=expires))
            if index % _VERIFIED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return entries

    def _newest_genuine(self, heads: list[Head]) -> Head | None:
        """Return the newest version whose signature holds: only the winner's is checked, as a rule."""
        for head in sorted(heads, key=lambda head: head.order, reverse=True):
            if self._around.is_genuine(head, self._around.place_of(head.key)):
                return head
        return None


def _ascends(heads: tuple[Head, ...], prefix: str, after: str) -> bool:
    """Return whether a page is what was asked for: a peer that repeats itself would be asked for ever."""
    keys = [after, *(head.key for head in heads)]
    return all(keys[i] < keys[i + 1] for i in range(len(keys) - 1)) and all(key.startswith(prefix) for key in keys[1:])
