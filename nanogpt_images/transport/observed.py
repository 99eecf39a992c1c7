"""A transport that reports each attempt: a line in the log at DEBUG, and an event to the observers."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from .._base.display import shown_url
from .._base.logs import get_logger
from ..errors import Charge, ConfigurationError, NanoGPTError
from ..events import AttemptEnded, Observers
from .protocol import HttpRequest, HttpResponse, Transport
from .secrets import Redactor

_log = get_logger()


class ObservedTransport:
    """
    Watches *transport*.

    What the reader of an answer raises passes through here as well, so that an attempt is reported with its
    outcome for the caller, and not with the bare status.

    Attributes:
        closed: Nothing more is sent.
    """

    def __init__(self, transport: Transport, observers: Observers, redact: Redactor) -> None:
        self._transport = transport
        self._observers = observers
        self._redact = redact
        self.closed = False

    def check_open(self) -> None:
        """Raise ConfigurationError where the client is closed."""
        if self.closed:
            raise ConfigurationError("this client is closed; make a new one.", says_charge=True)

    def send(self, request: HttpRequest) -> AbstractAsyncContextManager[HttpResponse]:
        """Send *request* once; see `Transport.send`. Raises ConfigurationError where the client is closed."""
        self.check_open()
        if self._observers or _log.isEnabledFor(logging.DEBUG):
            return self._watched(request)
        return self._transport.send(request)

    async def aclose(self) -> None:
        """Close the transport underneath."""
        await self._transport.aclose()

    @asynccontextmanager
    async def _watched(self, request: HttpRequest) -> AsyncGenerator[HttpResponse]:
        started = time.monotonic()
        response: HttpResponse | None = None
        failure: BaseException | None = None
        try:
            async with self._transport.send(request) as response:
                yield response
        except BaseException as error:
            self._redact.error(error)
            failure = error
            raise
        finally:
            self._tell(_event(request, response, failure, time.monotonic() - started))

    def _tell(self, event: AttemptEnded) -> None:
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug(
                "%s %s%s, attempt %d: %s in %.3f s, request %s%s",
                event.method,
                event.url,
                "" if event.model is None else f" ({event.model})",
                event.attempt,
                event.status or "no answer",
                event.duration_s,
                event.request_id,
                "" if event.charge is None else f", {type(event.error).__name__}, {event.charge.value}",
            )
        self._observers.tell(event)


def _event(
    request: HttpRequest, response: HttpResponse | None, failure: BaseException | None, duration_s: float
) -> AttemptEnded:
    header = None if response is None else response.headers.get("X-Request-ID")
    return AttemptEnded(
        method=request.method,
        url=shown_url(request.url),
        model=request.model,
        attempt=request.attempt,
        paid=request.paid,
        status=None if response is None else response.status,
        request_id=(failure.request_id if isinstance(failure, NanoGPTError) else None) or header,
        duration_s=duration_s,
        error=failure,
        charge=_charge(request, failure),
    )


def _charge(request: HttpRequest, failure: BaseException | None) -> Charge | None:
    if failure is None:
        return None
    if isinstance(failure, NanoGPTError):
        return failure.charge
    return Charge.UNKNOWN if request.paid and request.body_begun else Charge.NOT_SENT
