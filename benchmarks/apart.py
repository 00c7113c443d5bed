"""Measurements that have a process of their own, whose processor time and memory count."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from simulations.sweep import Engine, local_engine

_Result = TypeVar("_Result")


async def apart(measure: Callable[..., _Result], *arguments: Any) -> _Result:
    """Return what ``measure`` returns in a process of its own."""
    with local_engine(1) as engine:
        return await given(engine, measure, *arguments)


def given(engine: Engine, measure: Callable[..., _Result], *arguments: Any) -> "asyncio.Future[_Result]":
    """Have ``measure`` called in one of the engine's processes."""
    return asyncio.get_running_loop().run_in_executor(engine.executor, measure, *arguments)
