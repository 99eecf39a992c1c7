"""`Sandbox`: the stand-in service on a real socket, while its context manager is open."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

import aiohttp
from aiohttp import web

from .billing.quotas import label_of
from .catalog.definitions import SandboxModel
from .drawing.draw import require_pillow
from .faults.rules import Fault
from .http.exchange import HttpExchange
from .http.files import serve_file
from .http.routes import serve
from .http.urls import Visit
from .http.visitors import foreign
from .ledger import Entry, Ledger
from .service import Service
from .settings import SandboxKeywords, SandboxOptions

if TYPE_CHECKING:
    from .threaded import BlockingSandbox

DEFAULT_KEY = "sk-nano-00000000-0000-4000-8000-000000000000"
_SHUTDOWN_S = 2.0


class Sandbox:
    """
    A stand-in for the service, listening on loopback.

    Args:
        options: The fields of `SandboxOptions`, as keywords.

    Raises:
        ValueError: The host is not a loopback address.
    """

    def __init__(self, **options: Unpack[SandboxKeywords]) -> None:
        self.options = SandboxOptions(**options)
        self._service = Service(self.options)
        instance = uuid.uuid4().hex[:8]
        self._request_ids = (f"req-{instance}-{number}" for number in itertools.count(1))
        self._runners: list[web.ServerRunner] = []
        self._closing = asyncio.Event()
        self._port = 0

    @staticmethod
    def in_thread(**options: Unpack[SandboxKeywords]) -> BlockingSandbox:
        """Return a sandbox for blocking code: a context manager that runs it in a thread with its own loop."""
        from .threaded import BlockingSandbox

        return BlockingSandbox(Sandbox(**options))

    @property
    def url(self) -> str:
        """The base URL, with the prefix if there is one."""
        return f"{self._origin(self._port)}{self.options.prefix}"

    @property
    def files_url(self) -> str:
        """The second origin, which serves signed URLs."""
        return self._service.urls.origin

    @property
    def api_key(self) -> str:
        """A key that the sandbox accepts."""
        return self.options.key or DEFAULT_KEY

    @property
    def ledger(self) -> Ledger:
        """What was billed, and when requests arrived."""
        return self._service.ledger

    @property
    def visits(self) -> list[Visit]:
        """The requests that reached the second origin, with their headers."""
        return self._service.urls.visits

    @property
    def models(self) -> list[SandboxModel]:
        """The models offered now."""
        return list(self._service.models.values())

    def set_models(self, models: Sequence[SandboxModel]) -> None:
        """Offer other models from now on, as when the service changes its catalogue."""
        self._service.set_models(models)

    def set_faults(self, *faults: Fault) -> None:
        """Replace the fault rules."""
        self._service.set_faults(faults)

    def balance_usd(self, key: str | None = None) -> float:
        """Return the USD that *key* (default: `api_key`) can still spend."""
        return self._service.account.balance_usd(label_of(key or self.api_key))

    def refund(self, entry: Entry) -> None:
        """Refund an entry of the ledger in full, as the service does for some failures."""
        self._service.account.refund(entry)

    def reset(self) -> None:
        """Clear the ledger, counters and balances, as `POST /_sandbox/reset` does."""
        self._service.reset()

    async def __aenter__(self) -> Self:
        """Start listening; the ledger of an earlier run is kept."""
        require_pillow()
        self._closing = asyncio.Event()
        try:
            self._port = await self._listen(self.options.port, serve, self._request_ids)
            files_port = await self._listen(0, serve_file, itertools.repeat(""))
        except BaseException:
            await self._stop()
            raise
        self._service.urls.origin = self._origin(files_port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening, end stalls, and give open answers two seconds to finish."""
        await self._stop()

    def _origin(self, port: int) -> str:
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"http://{host}:{port}"

    async def _stop(self) -> None:
        self._closing.set()
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        self._service.drawing_pool.close()

    async def _listen(
        self,
        port: int,
        serve_one: Callable[[Service, HttpExchange], Awaitable[web.StreamResponse]],
        request_ids: Iterator[str],
    ) -> int:
        """Listen on *port* and return the port in use."""

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            exchange = HttpExchange(request=request, request_id=next(request_ids), pause=self._pause)
            try:
                stranger = foreign(request.headers)
                if stranger is not None:
                    return await exchange.send(stranger)
                return await serve_one(self._service, exchange)
            except (ConnectionError, aiohttp.ClientPayloadError, web.RequestPayloadError):
                # The client disconnected before its request or its answer was complete, or the sandbox is closing.
                return exchange.close()

        runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=_SHUTDOWN_S)
        self._runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, self.options.host, port, backlog=1024)
        await site.start()
        return int(runner.addresses[0][1])

    async def _pause(self, seconds: float) -> None:
        """Sleep *seconds*; raise ConnectionResetError if the sandbox closes first."""
        try:
            async with asyncio.timeout(seconds if seconds > 0 else None):
                await (self._closing.wait() if seconds > 0 else asyncio.sleep(0))
        except TimeoutError:
            return
        if self._closing.is_set():
            raise ConnectionResetError("The sandbox is closing.")
