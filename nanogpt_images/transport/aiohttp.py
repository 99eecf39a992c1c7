"""The only HTTP client of this package: one pooled aiohttp session."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import attrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from .._base.addresses import Guard
from ..errors import (
    Charge,
    ConfigurationError,
    ConnectError,
    NanoGPTError,
    OutcomeUnknownError,
    RequestTimeoutError,
)
from .protocol import HttpRequest, HttpResponse, StreamedBody

# Bodies of images are read as the socket delivers them; a larger buffer gains nothing (see benchmarks/README.md).
_READ_BUFFER_BYTES: Final = 2**16
_WRITE_BYTES: Final = 2**16
# Below the 60 s of common gateways: a pooled connection is dropped before the other side drops it.
_KEEPALIVE_S: Final = 15.0


class AiohttpTransport:
    """
    A `Transport` over aiohttp.

    Args:
        session: A session of the caller's, who then closes it; None opens one on first use.
        connect_timeout_s: Limit for name resolution, TCP and TLS together.
        trust_env: Take proxies from `HTTPS_PROXY` and its like.
        ssl_context: A TLS context instead of the default one.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession | None = None,
        *,
        connect_timeout_s: float = 15.0,
        trust_env: bool = False,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._given = session
        self._own: _OwnSession | None = None
        self._trust_env = trust_env
        self._ssl_context = ssl_context
        self._connect_timeout_s = connect_timeout_s
        # The total is bounded in send(), where it cannot begin to run while waiting for a slot.
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout_s)

    def _session(self) -> aiohttp.ClientSession:
        if self._given is not None:
            return self._given
        own = self._own
        if own is not None and own.gone:
            own.drop()
            own = None
        if own is not None and own.loop is not asyncio.get_running_loop():
            raise _of_another_loop("Make one client per loop, or close it there first.")
        if own is None or own.session.closed:
            self._own = own = self._opened()
        return own.session

    def _opened(self) -> _OwnSession:
        # Concurrency is bounded by the sender's slots; a second bound here would eat into timeouts.
        connector = _Connector(limit=0, keepalive_timeout=_KEEPALIVE_S, ssl=self._ssl_context or True)
        session = aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            trust_env=self._trust_env,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_BUFFER_BYTES,
            skip_auto_headers=("User-Agent",),
        )
        return _OwnSession(session, connector, asyncio.get_running_loop(), os.getpid())

    @asynccontextmanager
    async def send(self, request: HttpRequest) -> AsyncGenerator[HttpResponse]:
        """Send *request* once."""
        if request.public_only:
            async with self._sent_in_public(request) as response:
                yield response
            return
        async with self._sent(self._session(), request) as response:
            yield response

    @asynccontextmanager
    async def _sent_in_public(self, request: HttpRequest) -> AsyncGenerator[HttpResponse]:
        guard = Guard(allowed=False)
        # A session for each request: no connection outlives the check that it passed.
        connector = aiohttp.TCPConnector(
            socket_factory=guard.open_socket, force_close=True, ssl=self._ssl_context or True
        )
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_BUFFER_BYTES,
            skip_auto_headers=("User-Agent",),
        ) as session:
            try:
                async with self._sent(session, request) as response:
                    yield response
            except ConnectError as error:
                if not guard.refused:
                    raise
                raise ConfigurationError(
                    f"{_place(request)} is at {', '.join(dict.fromkeys(guard.refused))}, which is not a public address.",
                    advice="Name the host in allow_private_references if it is yours.",
                    says_charge=True,
                ) from error

    @asynccontextmanager
    async def _sent(
        self, session: aiohttp.ClientSession, request: HttpRequest
    ) -> AsyncGenerator[HttpResponse]:
        body = None if request.body is None else _Body(request, request.body)
        deadline = asyncio.get_running_loop().time() + request.timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                response = await session.request(
                    request.method,
                    request.url,
                    headers=request.headers,
                    data=body,
                    # aiohttp names the type of a body that is not there.
                    skip_auto_headers=("Content-Type",) if body is None else (),
                    allow_redirects=False,
                    raise_for_status=False,
                    timeout=self._timeout,
                )
        except aiohttp.ConnectionTimeoutError as error:
            raise _connect_timed_out(request, self._connect_timeout_s) from error
        except TimeoutError as error:
            raise _timed_out(request) from error
        except (aiohttp.ClientError, RuntimeError, ValueError) as error:
            if body is not None and body.failure is not None:
                raise body.failure from error
            # A RuntimeError: the session was closed meanwhile, or the interpreter is exiting and resolves no more names.
            raise _broken(request, error) from error
        except BaseException:
            # The connection is closed and the writing of the body called off: nothing follows.
            request.withheld = not request.body_begun
            raise
        async with response:
            yield _AiohttpResponse(response, request, deadline)

    async def aclose(self) -> None:
        """
        Close the session that this transport opened.

        Raises:
            ConfigurationError: It is in use on another event loop.
        """
        own = self._own
        if own is None:
            return
        if own.gone:
            own.drop()
        elif own.loop is not asyncio.get_running_loop():
            raise _of_another_loop("Close it there.")
        else:
            await own.session.close()
        self._own = None

    def __del__(self) -> None:
        own = getattr(self, "_own", None)
        if own is None or own.session.closed:
            return
        own.drop()
        if own.pid == os.getpid():
            warnings.warn(
                "a nanogpt_images.AsyncClient was not closed;"
                " use `async with AsyncClient() as client:` or await aclose().",
                ResourceWarning,
                stacklevel=2,
            )


class _Connector(aiohttp.TCPConnector):
    """A connector that says nothing when it is collected open: its transport does, once and in terms of this package."""

    def __del__(self, _warnings: object = None) -> None:
        """Its connections are collected with it."""

    def close_soon(self) -> None:
        """Begin to close, on the loop, without waiting for the end."""
        self._closing = asyncio.ensure_future(self.close())


# Connections that a forked child found: they are the parent's, and even closing them would take them off its selector.
_inherited: list[_Connector] = []


@attrs.frozen
class _OwnSession:
    """A session with what it is bound to: a loop and a process."""

    session: aiohttp.ClientSession
    connector: _Connector
    loop: asyncio.AbstractEventLoop
    pid: int

    @property
    def gone(self) -> bool:
        """Whether its loop has ended, or is the parent process's."""
        return self.loop.is_closed() or self.pid != os.getpid()

    def drop(self) -> None:
        """Release the session, on whatever loop or thread this is called."""
        self.session.detach()
        if self.pid != os.getpid():
            _inherited.append(self.connector)
            return
        with contextlib.suppress(RuntimeError):
            if _running_loop() is self.loop:
                # At once: at the end of asyncio.run() what is only about to become a task does not run any more.
                self.connector.close_soon()
            else:
                self.loop.call_soon_threadsafe(self.connector.close_soon)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _of_another_loop(advice: str) -> ConfigurationError:
    return ConfigurationError(f"this client is in use on another event loop. {advice}")


class _Body(Payload):
    """
    A request body that tells when it is about to leave: the fact on which `charge` rests.

    It is written in slices, because aiohttp's own payload warns of bodies above 1 MiB and writes them at once.

    Attributes:
        failure: Why a streamed body was not completed.
    """

    _autoclose = True
    failure: NanoGPTError | None = None

    def __init__(self, request: HttpRequest, body: bytes | StreamedBody) -> None:
        content_type = "application/json" if isinstance(body, bytes) else body.content_type
        super().__init__(body, content_type=content_type)
        self._body = body
        self._size = len(body) if isinstance(body, bytes) else body.size
        self._request = request

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._body.decode(encoding, errors) if isinstance(self._body, bytes) else ""

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        if isinstance(self._body, bytes):
            self._begin(writer)
            await _write(writer, self._body[:content_length])
            return
        try:
            # Closed at once where writing fails: the body has a file open.
            async with contextlib.aclosing(self._body.chunks()) as chunks:
                async for chunk in chunks:
                    if not self._request.body_begun:
                        self._begin(writer)
                    await _write(writer, chunk)
        except NanoGPTError as error:
            # aiohttp names it in words alone.
            self.failure = error
            raise

    def _begin(self, writer: AbstractStreamWriter) -> None:
        transport = getattr(writer, "transport", None)
        if transport is not None and not transport.is_closing():
            self._request.begin_body()
        # On a connection that is gone already nothing is written: aiohttp raises, and nothing was sent.


async def _write(writer: AbstractStreamWriter, data: bytes) -> None:
    view = memoryview(data)
    for start in range(0, len(view), _WRITE_BYTES):
        await writer.write(view[start : start + _WRITE_BYTES])


class _AiohttpResponse:
    """An aiohttp response, as far as the client needs it."""

    __slots__ = ("_deadline", "_request", "_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse, request: HttpRequest, deadline: float) -> None:
        self._response = response
        self._request = request
        self._deadline = deadline
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        content = self._response.content
        # The limit is on the wait for the peer, so it ends that and not the reader of a chunk. One timer for
        # the whole body: one for each chunk costs an answer of 1 KiB 6 % more (benchmarks/README.md).
        timer = asyncio.get_running_loop().call_at(self._deadline, _expire, content)
        try:
            while True:
                chunk, _ = await content.readchunk()
                if chunk:
                    yield chunk
                elif content.at_eof():
                    return
        except TimeoutError as error:
            raise _timed_out(self._request, status=self.status) from error
        except aiohttp.ClientError as error:
            raise _broken(self._request, error, status=self.status) from error
        finally:
            timer.cancel()


def _expire(content: aiohttp.StreamReader) -> None:
    # A body that is here already, and only has to be read, has made it in time.
    if not content.is_eof():
        content.set_exception(TimeoutError())


def _charge(request: HttpRequest) -> Charge:
    return Charge.UNKNOWN if request.paid and request.body_begun else Charge.NOT_SENT


def _timed_out(request: HttpRequest, *, status: int | None = None) -> RequestTimeoutError:
    return RequestTimeoutError(
        f"no complete answer from {_place(request)} within {request.timeout_s:g} s.",
        charge=_charge(request),
        says_charge=request.paid,
        status=status,
    )


def _connect_timed_out(request: HttpRequest, seconds: float) -> ConnectError:
    return ConnectError(f"no connection to {_place(request)} within {seconds:g} s.")


def _broken(request: HttpRequest, error: Exception, *, status: int | None = None) -> NanoGPTError:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return ConnectError(
            f"the certificate of {_place(request)} does not verify: {_certificate_fault(error)}.",
            advice="Where it is a server or a proxy of your own, pass a context that knows its authority as ssl_context.",
        )
    reason = _reason(error)
    # aiohttp takes credentials from netrc where it takes proxies from the environment, and says so in words alone.
    if "AUTHORIZATION" in reason and not request.body_begun:
        return ConfigurationError(
            f"netrc has an entry for {urlsplit(request.url).hostname}, and trust_env uses it in place of the key.",
            advice="Remove the entry, point NETRC to another file, or leave trust_env out.",
            says_charge=True,
        )
    # aiohttp's InvalidURL is one, and what it lets pass of a host name that IDNA cannot encode another.
    if isinstance(error, ValueError) and not request.body_begun:
        return ConfigurationError(f"{_place(request)} is not a usable URL.", says_charge=True)
    if isinstance(error, RuntimeError) and not request.body_begun:
        return ConfigurationError(f"cannot send to {_place(request)}: {error}.", says_charge=True)
    sent = request.body_begun or (
        request.body is None and not isinstance(error, aiohttp.ClientConnectorError)
    )
    if not sent:
        return ConnectError(f"cannot reach {_place(request)}: {reason}.")
    when = "before an answer came" if status is None else f"within the answer (status {status})"
    return OutcomeUnknownError(
        f"the connection to {_place(request)} broke {when}: {reason}.",
        charge=_charge(request),
        says_charge=request.paid,
        status=status,
    )


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        # "Connection refused" says more than the name of the call that failed; look-ups have texts of their own.
        number = error.os_error.errno or 0
        return (os.strerror(number) if number > 0 else error.os_error.strerror or str(error)).lower()
    return str(error) or type(error).__name__


def _certificate_fault(error: aiohttp.ClientConnectorCertificateError) -> str:
    fault = error.certificate_error
    return str(getattr(fault, "verify_message", "") or fault).rstrip(".")


def _place(request: HttpRequest) -> str:
    # Query strings of signed URLs are secrets.
    return request.url.partition("?")[0]
