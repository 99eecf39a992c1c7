"""The seam between the client and HTTP: what a transport gets, gives and promises."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import attrs

from .._base.display import shown_url


def _nothing() -> None:
    """Default hook: do nothing."""


class StreamedBody(Protocol):
    """A request body that is too large to be held in memory, and that can be read again for the next attempt."""

    @property
    def content_type(self) -> str:
        """Its `Content-Type`."""
        ...

    @property
    def size(self) -> int:
        """Length in bytes."""
        ...

    def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the body from its beginning. It raises where that is no longer what it was; then it must not be completed."""
        ...


@attrs.define(kw_only=True, eq=False)
class HttpRequest:
    """
    One request on its way.

    Attributes:
        url: Absolute URL. Redirects are never followed by a transport.
        headers: All headers to send but those that follow from the body's length and the host. They may
            hold the key, so they are left out of the repr.
        body: The whole body, which is JSON, or one that is streamed.
        paid: Whether success costs money; it decides the `charge` of a lost answer.
        timeout_s: Seconds for the whole attempt, from here to the last byte of the answer.
        model: ID of the model, for a paid request.
        attempt: Number of the attempt, from 1.
        on_body: Told when the first byte of the body is about to leave.
        body_begun: Whether it was.
        public_only: Connect to addresses of the public internet alone, checked at the moment of connecting: the URL is
            the word of a stranger. Proxies are not used then, because behind one the address cannot be checked.
        withheld: Whether it is certain that the body never left. A transport that is broken off (cancelled)
            before the body's first byte says so; where it does not, the request counts as sent.
    """

    method: str
    url: str = attrs.field(repr=lambda url: repr(shown_url(url)))
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    body: bytes | StreamedBody | None = attrs.field(default=None, repr=False)
    paid: bool = False
    timeout_s: float = 60.0
    model: str | None = None
    attempt: int = 1
    public_only: bool = False
    on_body: Callable[[], None] = attrs.field(default=_nothing, repr=False)
    body_begun: bool = False
    withheld: bool = False

    def begin_body(self) -> None:
        """Record that the body is about to leave; a transport calls this just before it writes the first byte."""
        self.body_begun = True
        self.on_body()


class HttpResponse(Protocol):
    """The head of an answer, and its body as it arrives."""

    @property
    def status(self) -> int:
        """HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers; look-up ignores case."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the body in pieces of any size, at most about 256 KiB, without joining them."""
        ...


class Transport(Protocol):
    """
    Sends one request once: it neither retries, nor follows redirects, nor paces.

    Within `send` and while the body is read it raises `ConnectError` (nothing of the body was written),
    `RequestTimeoutError` or `OutcomeUnknownError`, with the charge that `HttpRequest.paid` and
    `HttpRequest.body_begun` imply, and no other error of its own.
    """

    def send(self, request: HttpRequest) -> AbstractAsyncContextManager[HttpResponse]:
        """Send *request*; leaving the context gives the connection back, or closes it when unread."""
        ...

    async def aclose(self) -> None:
        """Close what this transport owns."""
        ...
