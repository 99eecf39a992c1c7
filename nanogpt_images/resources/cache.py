"""A cache of what is fetched: expiry, one flight for concurrent callers, the last known answer in an outage."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import anyio
import attrs
from cachetools import LRUCache, TTLCache

from ..errors import NanoGPTError, TransportError

T = TypeVar("T")
Load = Callable[[], Awaitable[T]]

FAILURE_TTL_S: Final = 30.0
"""Greatest time for which a failed load is remembered: until then no caller makes the cache load again."""


@attrs.define(eq=False)
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    waiters: int = 0


class FlightCache(Generic[T]):
    """
    Answers by key, each loaded once however many callers wait for it.

    A load runs in a task of its own, which lives as long as anyone waits for it: cancelling one caller
    does not disturb the others, and when the last one is cancelled the load is cancelled with it. Nothing
    is bound to an event loop before the first call, so one cache serves loops one after another.

    Args:
        name: What the cache holds, for the log and for errors.
        ttl_s: Seconds for which an answer counts as fresh; 0 keeps none (concurrent callers still share). What a
            failed load came to is kept for as long, and for `FAILURE_TTL_S` at the most.
        max_items: Answers kept; the least recently used goes first.
        mark_stale: Gives the marked copy of an answer that could not be refreshed.
        clock: Monotonic seconds.
        log: Where failed refreshes are reported.
    """

    def __init__(
        self,
        name: str,
        *,
        ttl_s: float,
        max_items: int,
        mark_stale: Callable[[T], T],
        clock: Callable[[], float],
        log: logging.Logger,
    ) -> None:
        self._name = name
        self._mark_stale = mark_stale
        self._log = log
        self._fresh: TTLCache[str, T] = TTLCache(max_items, max(ttl_s, 0), timer=clock)
        self._known: LRUCache[str, T] = LRUCache(max_items)
        # Of a failed load: the last known answer, marked as stale, or the error.
        self._failed: TTLCache[str, T | NanoGPTError] = TTLCache(
            max_items, min(max(ttl_s, 0), FAILURE_TTL_S), timer=clock
        )
        self._flights: dict[str, _Flight[T]] = {}

    def fresh(self, key: str) -> T | None:
        """Return the answer for *key* if it has not expired; no I/O."""
        try:
            return self._fresh[key]  # `get` would look twice, and this is on the way of each call
        except KeyError:
            return None

    def settled(self, key: str) -> T | NanoGPTError | None:
        """Return what `get` would return or raise without loading; None where it would load. No I/O."""
        value = self.fresh(key)
        return self._failed.get(key) if value is None else value

    def known(self, key: str) -> T | None:
        """Return the last answer for *key*, expired or not; no I/O."""
        return self._known.get(key)

    async def get(self, key: str, load: Load[T], *, refresh: bool = False) -> T:
        """
        Return the answer for *key*, loaded with *load* where none is fresh.

        When the load fails and an older answer is known, that one is returned, marked as stale. What a failed load
        came to serves all calls for a while, so an outage is not asked about by each of them.

        Args:
            key: What is asked for.
            load: Fetches and decodes the answer.
            refresh: Load even if an answer is fresh, or a failure remembered. A load that is already running serves this
                caller too.

        Raises:
            NanoGPTError: As *load* raised it, to every caller that waited or comes while it is remembered.
        """
        if not refresh and (value := self.settled(key)) is not None:
            if isinstance(value, NanoGPTError):
                # The same error is raised many times, and would gather a traceback of them all.
                raise value.with_traceback(None)
            return value
        flight = self._join(key, load)
        flight.waiters += 1
        try:
            await asyncio.wait([flight.task])
        finally:
            flight.waiters -= 1
            if flight.waiters == 0 and not flight.task.done():
                await self._abandon(key, flight)
        if flight.task.cancelled():
            raise TransportError(f"the client was closed while {self._name} was being fetched.")
        return flight.task.result()

    async def aclose(self) -> None:
        """End the running loads; their callers get a `TransportError`."""
        for key, flight in list(self._flights.items()):
            await self._abandon(key, flight)

    def _join(self, key: str, load: Load[T]) -> _Flight[T]:
        flight = self._flights.get(key)
        if flight is not None and not flight.task.done() and _is_of_this_loop(flight.task):
            return flight
        task = asyncio.get_running_loop().create_task(
            self._fly(key, load), name=f"nanogpt_images: {self._name}"
        )
        task.add_done_callback(_retrieve)
        flight = self._flights[key] = _Flight(task)
        return flight

    async def _fly(self, key: str, load: Load[T]) -> T:
        try:
            value = await load()
        except NanoGPTError as error:
            self._fresh.pop(key, None)
            if (older := self._known.get(key)) is None:
                self._failed[key] = error
                raise
            self._log.warning(
                "%s could not be refreshed (%s); the last known state is used", self._name, error.message
            )
            self._failed[key] = stale = self._mark_stale(older)
            return stale
        else:
            self._failed.pop(key, None)
            self._fresh[key] = self._known[key] = value
            return value
        finally:
            flight = self._flights.get(key)
            if flight is not None and flight.task is asyncio.current_task():
                del self._flights[key]

    async def _abandon(self, key: str, flight: _Flight[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not _is_of_this_loop(flight.task):
            return  # Its loop has ended, and the task with it.
        flight.task.cancel()
        # The caller is being cancelled itself; the load still gets to close its connection.
        with anyio.CancelScope(shield=True):
            await asyncio.wait([flight.task])


def _is_of_this_loop(task: asyncio.Task[T]) -> bool:
    return task.get_loop() is asyncio.get_running_loop()


def _retrieve(task: asyncio.Task[T]) -> None:
    # Callers may all have gone by the time the load fails; asyncio would report the error as lost.
    if not task.cancelled():
        task.exception()
