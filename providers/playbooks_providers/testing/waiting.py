"""Waiting for what a test is about, by name and with a deadline; never sleeping and hoping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

_PAUSE_S = 0.01


@overload
async def eventually(condition: Callable[[], Awaitable[T]], within_s: float, what: str) -> T: ...
@overload
async def eventually(condition: Callable[[], T], within_s: float, what: str) -> T: ...
async def eventually(condition: Callable[[], Any], within_s: float, what: str) -> Any:
    """The first true answer of *condition* (a function or a coroutine function). `AssertionError` naming *what*."""
    deadline = time.monotonic() + within_s
    while True:
        answer = condition()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within_s} s (last answer: {value!r})")
        await asyncio.sleep(_PAUSE_S)


def eventually_blocking(condition: Callable[[], T], within_s: float, what: str) -> T:
    """The same where no event loop runs."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within_s} s (last answer: {value!r})")
        time.sleep(_PAUSE_S)
