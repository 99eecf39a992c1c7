"""The way of one request: slot → pace → send → status → retry. Every request of a client goes through here."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, NoReturn, TypeVar
from urllib.parse import urlencode

import attrs

from .._base.logs import get_logger
from ..errors import (
    AuthenticationError,
    Charge,
    DailyLimitError,
    InsufficientBalanceError,
    NanoGPTError,
    RateLimitError,
    ResponseDecodeError,
    TransportError,
)
from ..wire.failures import CUT_OFF, decode_failure
from .door import MAX_FAILURE_BYTES
from .key_ring import KeyOut, KeyRing, Lane, current_key, key_name
from .pacing.limiter import RateLimiter, StartSlot
from .protocol import HttpRequest, HttpResponse, StreamedBody, Transport
from .retry import RetryPolicy
from .secrets import NO_SECRET, Redactor, Secret, not_pickled

_log = get_logger()

T = TypeVar("T")
Reader = Callable[[HttpResponse], Awaitable[T]]

_OF_ONE_KEY: Final = (AuthenticationError, DailyLimitError, InsufficientBalanceError)
_CAP_AGAIN_S: Final = 5.0
_MAX_JSON_BYTES: Final = 64 * 2**20


class AttemptHooks:
    """What is done around the attempts of a paid request. A batch and a client's budget override what they need."""

    async def before(self, key: int) -> None:
        """
        Run after pacing and before each attempt with the *key* of that number; what it raises keeps the attempt from being
        made, and `KeyOut` leaves it to another key. Default: do nothing.
        """

    async def refused(self, error: NanoGPTError) -> None:
        """Run when an attempt failed and another will follow. Default: do nothing."""

    def started(self) -> None:
        """Run when an attempt's body leaves, or is known not to; perhaps more than once. Default: do nothing."""

    def paused(self, seconds: float, key: int) -> None:
        """Run when the service's limit keeps everybody with this key from starting for so long. Default: do nothing."""

    def withheld(self) -> None:
        """Run when an attempt was broken off and certainly never left. Default: do nothing."""


NO_HOOKS: Final = AttemptHooks()


class Sender:
    """
    Sends requests to one origin.

    Args:
        base_url: Origin and path prefix, without a trailing slash.
        headers: Sent with every request to that origin; they hold the key.
        redact: Replaces the key in what an answer of success holds, and in errors.
        transport: Sends each attempt; its headers and bodies of failure are without the key.
        retry: Decides what is sent again. No other layer repeats anything.
        max_connections: Requests in flight at once; waiting for a place does not count against a timeout.
        free_timeout_s: Seconds for each attempt of a request that costs nothing.
        sleep: Waits that many seconds.
        on_answer: Told the headers of each answer.
        limiter: Paces the starts of a single key.
        keys: The keys, where there are several: paid requests go out with any of them, and at its pace.
    """

    def __init__(
        self,
        *,
        base_url: str,
        headers: Mapping[str, str],
        transport: Transport,
        retry: RetryPolicy,
        max_connections: int,
        redact: Redactor = NO_SECRET,
        key: str | None = None,
        free_timeout_s: float = 60.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        on_answer: Callable[[Mapping[str, str]], object] = lambda _: None,
        limiter: RateLimiter | None = None,
        keys: KeyRing | None = None,
    ) -> None:
        self._on_answer = on_answer
        self._base_url = base_url
        self._free_timeout_s = free_timeout_s
        self.redact = redact
        self._key = None if key is None else Secret(key)
        self._headers = dict(headers)
        self._transport = transport
        self._retry = retry
        self._sleep = sleep
        self.keys = keys or KeyRing([Lane(0, key_name(key), {}, limiter or RateLimiter(None), redact)])
        self.slots = Slots(max_connections)

    def __reduce__(self) -> NoReturn:
        raise not_pickled()

    async def get_json(self, path: str, *, params: Mapping[str, str] | None = None) -> object:
        """GET *path* and decode its JSON. Free, so it is repeated on every passing fault."""
        query = f"?{urlencode(params)}" if params else ""
        request = self._free("GET", f"{path}{query}")
        return await self._send(request, self._read_json(path), target=path)

    async def post_json(self, path: str, body: bytes | None, *, key_header: str | None = None) -> object:
        """
        POST *body*, free of charge, and decode the JSON answer.

        Args:
            path: Path of the route.
            body: JSON; None sends none.
            key_header: The header that the route takes the key in, where it takes but one.
        """
        request = self._free("POST", path, body, self._with_key_in(key_header))
        return await self._send(request, self._read_json(path), target=path)

    def _with_key_in(self, header: str | None) -> dict[str, str]:
        """Return the headers of a request, the key in *header* instead of where it stands in them."""
        if header is None or self._key is None:
            return self._headers
        own = (self._key, f"Bearer {self._key}")
        headers = {name: value for name, value in self._headers.items() if value not in own}
        return {
            **{name: value for name, value in headers.items() if name.lower() != header},
            header: self._key,
        }

    def _free(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpRequest:
        return HttpRequest(
            method=method,
            url=f"{self._base_url}{path}",
            headers=self._headers if headers is None else headers,
            body=body,
            timeout_s=self._free_timeout_s,
        )

    async def post_paid(
        self,
        path: str,
        body: bytes | StreamedBody,
        read: Reader[T],
        *,
        target: str,
        timeout_s: float,
        hooks: AttemptHooks = NO_HOOKS,
    ) -> T:
        """
        POST *body*, which costs money when it succeeds.

        Args:
            path: Path of the route.
            body: JSON, or a form that is streamed for each attempt.
            read: Reads the answer of success, within the attempt's time.
            target: The model's ID, for the text of errors.
            timeout_s: Seconds for each attempt.
            hooks: What to do around the attempts.

        Raises:
            NanoGPTError: With the charge that its facts imply.
        """
        # gzip on base64 makes the client four times as expensive and saves little (benchmarks/README.md).
        headers = {**self._headers, "Accept-Encoding": "identity"}
        request = HttpRequest(
            method="POST",
            url=f"{self._base_url}{path}",
            headers=headers,
            body=body,
            paid=True,
            timeout_s=timeout_s,
            model=target,
        )
        return await self._send(request, read, target=target, hooks=hooks)

    async def _send(
        self, request: HttpRequest, read: Reader[T], *, target: str, hooks: AttemptHooks = NO_HOOKS
    ) -> T:
        moves = 0
        for attempt in itertools.count(1):
            try:
                async with self.slots.one():
                    if attempt > 1:
                        request = attrs.evolve(request, body_begun=False, withheld=False, attempt=attempt)
                    return await self._attempt(request, read, target=target, hooks=hooks)
            except _Moved as moved:
                moves += 1
                if moved.error is not None:
                    await hooks.refused(moved.error)
            except NanoGPTError as error:
                self.redact.error(error)
                delay_s = self._retry.delay_s(error, attempt - moves, paid=request.paid)
                if delay_s is None:
                    raise
                await hooks.refused(error)
                again_may_cost = request.paid and error.charge is Charge.UNKNOWN
                _log.log(
                    logging.WARNING if again_may_cost else logging.INFO,
                    "attempt %d failed, the next one follows in %.1f s: %s",
                    attempt,
                    delay_s,
                    error,
                )
                await self._sleep(delay_s)
        raise AssertionError("unreachable: itertools.count does not end")

    async def _attempt(self, request: HttpRequest, read: Reader[T], *, target: str, hooks: AttemptHooks) -> T:
        if request.paid:
            lane, slot = await self.keys.acquire()
        else:
            lane = self.keys.lanes[0]
            slot = await lane.limiter.acquire()
        if lane.number:
            request = attrs.evolve(request, headers={**request.headers, **lane.headers})
        current_key.set(lane.redact)

        def started() -> None:
            slot.started()
            hooks.started()

        request.on_body = started
        try:
            await hooks.before(lane.number)
            async with self._transport.send(request) as response:
                # From here the request counts as started, also where a transport does not report its body.
                started()
                self._on_answer(response.headers)
                if response.status >= 300:
                    body = await read_failure(response)
                    raise decode_failure(
                        response.status,
                        response.headers,
                        body,
                        target=target,
                        paid=request.paid,
                        url=request.url,
                    )
                return await read(response)
        except KeyOut as out:
            # What the key has set aside for requests in flight may come back.
            if not self.keys.drop(lane, out.reason, for_s=_CAP_AGAIN_S):
                raise out.reason from None
            raise _Moved from None
        except _OF_ONE_KEY as error:
            if request.paid and self._drop(lane, error):
                raise _Moved(error) from error
            raise
        except RateLimitError as error:
            self._pause(error, slot, hooks, lane)
            raise
        finally:
            started()
            if request.withheld:
                hooks.withheld()

    def _drop(self, lane: Lane, error: NanoGPTError) -> bool:
        """Send nothing more with a key that is refused, out of balance or over its day; False where no other one goes on."""
        free = error.charge in (Charge.NOT_SENT, Charge.REJECTED)
        retry_after_s = error.retry_after_s if isinstance(error, DailyLimitError) else None
        return free and self.keys.drop(
            lane, error, for_s=math.inf if retry_after_s is None else retry_after_s
        )

    def _pause(self, error: RateLimitError, slot: StartSlot, hooks: AttemptHooks, lane: Lane) -> None:
        """Make all requests of a key wait: the limit is the key's, not this request's. Only the request's own delay grows."""
        asked_s = self._retry.initial_delay_s if error.retry_after_s is None else error.retry_after_s
        pause_s = min(asked_s, self._retry.max_retry_after_s)
        if lane.limiter.pause(pause_s, left_at=slot.at):
            hooks.paused(pause_s, lane.number)

    def _read_json(self, path: str) -> Reader[object]:
        async def read(response: HttpResponse) -> object:
            body = bytearray()
            async for chunk in response.chunks():
                body += chunk
                if len(body) > _MAX_JSON_BYTES:
                    raise _not_json(path, response, "is larger than 64 MiB", self._clean_start(body))
            clean = self.redact.body(body)
            try:
                return json.loads(clean)
            except (ValueError, RecursionError) as error:
                raise _not_json(path, response, "is not JSON", clean) from error

        return read

    def _clean_start(self, body: bytearray) -> bytes:
        return self.redact.excerpt(body[:1000].decode("utf-8", "replace")).encode()


class _Moved(Exception):  # noqa: N818 - control flow
    """The request goes to another key; *error* is what the service refused it with, None where it was not sent."""

    def __init__(self, error: NanoGPTError | None = None) -> None:
        super().__init__(error)
        self.error = error


class Slots:
    """A bound on the requests in flight that can be raised, and that is not tied to one event loop."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._semaphore: asyncio.Semaphore | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def at_least(self, count: int) -> None:
        """Raise the bound to *count* if it is lower."""
        if self._semaphore is not None:
            for _ in range(self._count, count):
                self._semaphore.release()
        self._count = max(self._count, count)

    def one(self) -> AbstractAsyncContextManager[None]:
        """Wait for a place and hold it."""
        loop = asyncio.get_running_loop()
        if self._semaphore is None or self._loop is not loop:
            self._semaphore, self._loop = asyncio.Semaphore(self._count), loop
        return self._semaphore


async def read_failure(response: HttpResponse) -> bytes:
    """Return the beginning of a body of failure, marked where it was cut off; one that breaks off still has its status."""
    body = bytearray()
    try:
        async for chunk in response.chunks():
            body += chunk
            if len(body) >= MAX_FAILURE_BYTES:
                break
        else:
            return bytes(body)
    except TransportError:
        pass
    return bytes(body[:MAX_FAILURE_BYTES]) + CUT_OFF


def _not_json(path: str, response: HttpResponse, fault: str, body: bytes) -> ResponseDecodeError:
    excerpt = body[:200].decode("utf-8", "replace")
    return ResponseDecodeError(
        f"{path}: the answer {fault} (it begins with {excerpt[:60]!r}). Is base_url the NanoGPT API?",
        charge=Charge.NOT_SENT,
        request_id=response.headers.get("X-Request-ID"),
        status=response.status,
        excerpt=excerpt,
    )
