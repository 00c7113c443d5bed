"""Runs a lookup: asks whom the machine names, and ends with it, with a value, or with its time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from node.dht.kademlia.lookup import ContactT, Lookup

_log = logging.getLogger("pair.kademlia")


@dataclass(frozen=True, slots=True)
class Answer(Generic[ContactT]):
    """What one contact said: other contacts, or the value that was looked for."""

    contacts: Sequence[ContactT] = ()
    value: bytes | None = None


async def crawl(
    lookup: Lookup[ContactT],
    ask: Callable[[ContactT], Awaitable[Answer[ContactT] | None]],
    *,
    patience_s: Callable[[ContactT], float],
    timeout_s: float,
) -> bytes | None:
    """Drive ``lookup`` until it is finished or its time is over; its ``result`` tells who answered.

    Args:
        ask: Asks one contact; None means that it failed.
        patience_s: How long a contact may take before the next is asked beside it.

    Returns:
        The first value that somebody answered with, or None.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    answers: asyncio.Queue[tuple[ContactT, Answer[ContactT] | None]] = asyncio.Queue()
    tasks: list[asyncio.Task[None]] = []
    slow_at: dict[ContactT, float] = {}
    try:
        while not lookup.is_finished:
            while (contact := lookup.next_to_ask()) is not None:
                tasks.append(loop.create_task(_ask_one(contact, ask, answers)))
                slow_at[contact] = loop.time() + patience_s(contact)
            wake_at = min([deadline, *slow_at.values()])
            try:
                async with asyncio.timeout_at(wake_at):
                    contact, answer = await answers.get()
            except TimeoutError:
                if wake_at >= deadline:
                    return None
                for contact in [each for each, at in slow_at.items() if at <= wake_at]:
                    del slow_at[contact]
                    lookup.slow(contact)
                continue
            slow_at.pop(contact, None)
            if answer is None:
                lookup.failed(contact)
            elif answer.value is not None:
                return answer.value
            else:
                lookup.answered(contact, answer.contacts)
        return None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ask_one(
    contact: ContactT,
    ask: Callable[[ContactT], Awaitable[Answer[ContactT] | None]],
    answers: "asyncio.Queue[tuple[ContactT, Answer[ContactT] | None]]",
) -> None:
    try:
        answer = await ask(contact)
    except Exception as error:  # the top of this task: one odd contact must not end the lookup
        _log.error("asking %s failed: %r", contact, error, exc_info=error)
        answer = None
    answers.put_nowait((contact, answer))
