"""The async client: its options, its lifetime, and the resources that share its connections."""

from __future__ import annotations

import inspect
import os
import ssl as ssl_module
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Literal, NoReturn, ParamSpec, Self
from urllib.parse import urlsplit

from ._base.addresses import is_allowed_host
from ._base.threads import in_thread
from .batch.batch_options import BatchOptions
from .batch.events import BatchEvent, BatchReport
from .batch.journal.journal_books import JournalBooks
from .batch.manifest.tables import Table
from .batch.run.task_source import Rows
from .batch.runner import Batch
from .errors import ConfigurationError, LedgerError
from .events import Observers, OnEvent
from .money.budget import Budget
from .money.budget_gate import BudgetGate
from .money.nano import to_nano
from .references import AllowPrivate, ReferenceLoader
from .resources.account import Account
from .resources.catalog import Catalog
from .resources.download import Downloads
from .resources.images import Images
from .resources.ledger.ledger_books import LedgerBooks
from .resources.ledger.paid_ledger import PaidLedger
from .resources.pipeline import Pipeline
from .resources.prices.moderation_price import ModerationPrice
from .resources.settling import Books
from .resources.spending import Spending
from .transport.door import Door
from .transport.identity import service_at
from .transport.key_ring import KeyRing, Lane, RedactorOfKeys, key_name
from .transport.observed import ObservedTransport
from .transport.options import ClientOptions
from .transport.pacing.limiter import RateLimiter
from .transport.protocol import Transport
from .transport.retry import RetryPolicy
from .transport.secrets import Redactor, not_pickled
from .transport.sender import Sender

if TYPE_CHECKING:
    import aiohttp


P = ParamSpec("P")


def _spending(budget_usd: float, assume_price_usd: float | None, moderation: ModerationPrice) -> Spending:
    if not budget_usd >= 0:
        raise ConfigurationError(f"budget_usd must be 0 or more, not {budget_usd}.")
    return Spending(BudgetGate(Budget(to_nano(budget_usd))), assume_price_usd, moderation)


def _key_ring(options: ClientOptions, requests_per_second: float | None) -> KeyRing:
    return KeyRing(
        [
            Lane(
                number=number,
                name=key_name(key),
                headers={} if key is None else options.key_header(key),
                limiter=RateLimiter(requests_per_second),
                redact=Redactor(key),
            )
            for number, key in enumerate(options.api_keys or [None])
        ]
    )


def _to_the_end(
    method: Callable[Concatenate[AsyncClient, P], Batch],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, BatchReport]]:
    """Return the form of a batch method that runs the batch and returns its numbers; the parameters exist once."""

    async def run(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> BatchReport:
        """Run a batch to its end and return its numbers; see `batch` for the arguments."""
        batch = method(self, *args, **kwargs)
        async with batch:
            await batch.wait()
        return batch.report

    run.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]
    return run


class AsyncClient:
    """
    A client of the NanoGPT image API.

    It may be made anywhere; connections open on first use and close with the context manager. Use one
    client for a whole application: it pools connections, caches the catalogue and paces all requests::

        async with AsyncClient() as client:
            result = await client.images.generate("a red fox", model="gpt-image-2")
            await result.images[0].save("fox")

    Args:
        api_key: Key; by default those of `NANOGPT_API_KEYS`, then `NANOGPT_API_KEY`. The catalogue works without one.
        base_url: Origin, with a path prefix if a gateway needs one; by default `NANOGPT_BASE_URL`, then
            `https://nano-gpt.com`. Other than https is accepted for loopback only.
        timeout_s: Limit for each attempt of a generation, once it has a connection slot. Requests that cost nothing
            have the same limit, within 5 to 60 s.
        connect_timeout_s: Limit for making a connection.
        retry: What is sent again. The default never repeats what may have been charged.
        requests_per_second: At most so many starts in any one second, from 1/86400 (one per day) to 10,000; None
            switches pacing off.
        catalog_ttl_s: How long a listing is served from memory.
        max_connections: Requests in flight at once.
        max_image_bytes: Greatest size of one decoded image.
        session: An aiohttp session to use, which the caller closes.
        transport: A transport instead of aiohttp's, which the caller closes.
        auth: Header that carries the key: `bearer` (`Authorization`) or `x-api-key`.
        headers: Further headers for every request to the API.
        trust_env: Take proxies from the environment (`HTTPS_PROXY` and its like).
        ssl_context: A TLS context instead of the default one.
        budget_usd: Never spend more through this client; the worst case of each request is reserved before
            it is sent.
        assume_price_usd: USD per image for models whose price the catalogue does not state.
        allow_private_references: Let reference URLs that are fetched here, and redirects of signed URLs, point to
            private addresses: True, or the names of the hosts that may (see docs/security.md).
        on_event: Called with each event, as by `observe`.
        api_keys: Several keys instead. Each has a pace of its own, and a request goes out with whichever has a place first.
            A key that is refused, out of balance or over its daily limit drops out, and the others go on. What is free,
            and `account`, uses the first one.
        ledger: A file that remembers calls made with `key=`, and pays for each key once (see docs/paid-once.md). It is
            made on first use, with its images in a folder beside it; any number of processes may share it.

    Raises:
        ConfigurationError: The key, the base URL or another option cannot be used.

    Attributes:
        images: Generation.
        catalog: Models, and what each accepts.
        account: Balance and usage.
    """

    images: Images
    catalog: Catalog
    account: Account

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        timeout_s: float = 300.0,
        connect_timeout_s: float = 15.0,
        retry: RetryPolicy | None = None,
        requests_per_second: float | None = 25,
        catalog_ttl_s: float = 300.0,
        max_connections: int = 100,
        max_image_bytes: int = 256 * 2**20,
        session: aiohttp.ClientSession | None = None,
        transport: Transport | None = None,
        auth: Literal["bearer", "x-api-key"] = "bearer",
        headers: Mapping[str, str] | None = None,
        trust_env: bool = False,
        ssl_context: ssl_module.SSLContext | None = None,
        budget_usd: float | None = None,
        assume_price_usd: float | None = None,
        allow_private_references: AllowPrivate = False,
        on_event: OnEvent | None = None,
        ledger: str | os.PathLike[str] | None = None,
        api_keys: Sequence[str] | None = None,
    ) -> None:
        if session is not None and transport is not None:
            raise ConfigurationError("pass session= or transport=, not both.")
        self._options = ClientOptions.resolve(
            api_key=api_key,
            api_keys=api_keys,
            base_url=base_url,
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            requests_per_second=requests_per_second,
            max_connections=max_connections,
            auth=auth,
            headers=headers or {},
        )
        self._owns_transport = transport is None
        if transport is None:
            from .transport.aiohttp import AiohttpTransport

            transport = AiohttpTransport(
                session, connect_timeout_s=connect_timeout_s, trust_env=trust_env, ssl_context=ssl_context
            )
        self._transport = transport
        self._observers = Observers()
        if on_event is not None:
            self._observers.add(on_event)
        keys = _key_ring(self._options, requests_per_second)
        redact = keys.lanes[0].redact
        if len(keys.lanes) > 1:
            redact = RedactorOfKeys(redact)
        self._watched = watched = ObservedTransport(Door(transport, redact), self._observers, redact)
        self._retry = retry or RetryPolicy()
        moderation = ModerationPrice(self._options.headers)
        self._sender = Sender(
            base_url=self._options.base_url,
            headers=self._options.request_headers(),
            transport=watched,
            retry=self._retry,
            keys=keys,
            max_connections=max_connections,
            redact=redact,
            key=self._options.api_key,
            # A stalled listing must not hold a generation for longer than its caller would wait.
            free_timeout_s=min(60.0, max(5.0, timeout_s)),
            on_answer=moderation.observe,
        )
        self.catalog = Catalog(
            self._sender.get_json,
            ttl_s=catalog_ttl_s,
            check_open=watched.check_open,
            post=self._sender.post_json,
        )
        self.account = Account(self._sender, self._open_books, self.catalog.list)
        self._downloads = Downloads(
            watched,
            retry=self._retry,
            slots=self._sender.slots,
            timeout_s=timeout_s,
            max_bytes=max_image_bytes,
            user_agent=self._options.user_agent,
            may_be_private=lambda url: is_allowed_host(
                urlsplit(url).hostname or "", allow_private_references
            ),
        )
        self._ledger = None if ledger is None else PaidLedger(ledger, self.service)
        self._pipeline = Pipeline(
            self._sender,
            self.catalog,
            ReferenceLoader(allow_private=allow_private_references),
            self._downloads,
            timeout_s=timeout_s,
            max_image_bytes=max_image_bytes,
            has_key=self._options.api_key is not None,
            service=self._options.origin,
            spending=None if budget_usd is None else _spending(budget_usd, assume_price_usd, moderation),
            moderation=moderation,
            observers=self._observers,
            ledger=self._ledger,
        )
        self.images = Images(self._pipeline)

    @property
    def ledger(self) -> PaidLedger:
        """
        What this client has paid for with `key=`.

        Raises:
            ConfigurationError: The client was made without one.
        """
        if self._ledger is None:
            raise ConfigurationError("this client has no ledger: make it with AsyncClient(ledger=FILE).")
        return self._ledger

    def batch(
        self,
        rows: Rows | Table | str | os.PathLike[str],
        *,
        out: str | os.PathLike[str] | None = None,
        concurrency: int | None = None,
        budget_usd: float | None = None,
        assume_price_usd: float | None = None,
        model: str | None = None,
        defaults: Mapping[str, object] | None = None,
        validate: bool = True,
        join: bool = False,
        adopt: bool = False,
        provenance: bool = False,
        images_url: str | None = None,
        keep_going: bool = False,
        progress: bool = False,
        on_event: Callable[[BatchEvent], object] | None = None,
        reuse: str | os.PathLike[str] | None = None,
        key_budget_usd: float | None = None,
    ) -> Batch:
        """
        Make a batch of *rows*; it starts when its `async with` block is entered.

        Args:
            rows: Each a `BatchRow`, a mapping or a prompt, from any iterable; they are read as they are needed, so a
                generator over a million of them is fine. Or the path of a manifest (see `read_manifest`), a data frame, or an
                Arrow table. What a row has beside its fields and parameters is its `metadata`, and is not sent.
            out: Directory for `images/`, `journal.db` and `results.jsonl`. The same directory again
                resumes: finished requests are not paid for twice. Without it images stay in the events.
            concurrency: Requests at once at the most. Without it as many as `requests_per_second` needs at the latency
                that is seen, as far as open files and memory allow, and 64 without pacing. Fewer while the service
                pushes back.
            budget_usd: Never spend more, earlier runs on *out* included. The worst case of a request is
                reserved before it is sent.
            assume_price_usd: USD per image for models whose price the catalogue does not state.
            model: ID for rows that name none.
            defaults: Parameters for rows that lack them, such as `{"resolution": "1024x1024"}`.
            validate: Check each row against the catalogue before it is sent.
            join: Work on *out* together with processes that have it open.
            adopt: Where *out* holds images and `results.jsonl` but no journal of them, begin one with them: they are
                not paid for again. Files whose digest differs are left out. Otherwise such a directory is refused.
            provenance: Write into each file how it was made; see `Images.generate_to`.
            images_url: Where images go instead of `out/images`, such as `s3://bucket/prefix` (also `gs://`, `az://`,
                `file://`); each is counted once its size and digest were read back. Needs the extra `object-storage`.
            keep_going: Go on although the first 20 requests were all refused for their content; by default that
                stops the batch.
            progress: Show a bar while the batch runs: in a notebook's cell, on a terminal (with the extra `cli`), or a line
                every ten seconds in a log (stderr).
            on_event: Called with each event, on the event loop.
            reuse: A ledger, made if missing. What an earlier job or call with the same digest paid for is copied from it
                instead of bought, and what this batch buys is added to it (see docs/paid-once.md).
            key_budget_usd: Never spend more on this job with any one key, earlier runs included.

        Raises:
            ConfigurationError: The client is closed.
            ParameterError: A number is out of range, or *rows* is a single row.
        """
        options = BatchOptions(
            out=None if out is None else Path(out),
            concurrency=concurrency,
            budget_usd=budget_usd,
            assume_price_usd=assume_price_usd,
            model=model,
            defaults=dict(defaults or {}),
            validate=validate,
            join=join,
            adopt=adopt,
            provenance=provenance,
            images_url=images_url,
            keep_going=keep_going,
            progress=progress,
            reuse=None if reuse is None else Path(reuse),
            key_budget_usd=key_budget_usd,
        )
        return self._batch(rows, options, on_event)

    run_batch = _to_the_end(batch)

    def retry_batch(
        self,
        out: str | os.PathLike[str],
        *,
        unknown: bool = False,
        picked: str | os.PathLike[str] | None = None,
        concurrency: int | None = None,
        budget_usd: float | None = None,
        assume_price_usd: float | None = None,
        provenance: bool = False,
        images_url: str | None = None,
        progress: bool = False,
        on_event: Callable[[BatchEvent], object] | None = None,
        key_budget_usd: float | None = None,
    ) -> Batch:
        """
        Make a batch of what the journal in *out* holds open: failed and interrupted requests.

        Rows of its manifest that were never read are read now, if the file is still there and has not changed;
        otherwise `report.unread` counts them.

        Args:
            out: Directory of an earlier batch.
            unknown: Also requests that were, or may have been, charged. They are paid for again.
            picked: Instead, only what this file of a gallery marks with `x`: all of it is made, and paid for, again.
                The images that are there stay.
            concurrency: See `batch`, as for all that follow.
            budget_usd: See `batch`.
            assume_price_usd: See `batch`.
            provenance: See `batch`.
            images_url: See `batch`.
            progress: See `batch`.
            on_event: See `batch`.
            key_budget_usd: See `batch`.
        """
        options = BatchOptions(
            out=Path(out),
            concurrency=concurrency,
            budget_usd=budget_usd,
            assume_price_usd=assume_price_usd,
            provenance=provenance,
            images_url=images_url,
            retry_unknown=unknown,
            picked=None if picked is None else Path(picked),
            progress=progress,
            key_budget_usd=key_budget_usd,
        )
        return self._batch(None, options, on_event)

    def _batch(
        self,
        rows: Rows | Table | str | os.PathLike[str] | None,
        options: BatchOptions,
        on_event: Callable[[BatchEvent], object] | None,
    ) -> Batch:
        self._watched.check_open()
        return Batch(
            rows,
            options,
            images=self._pipeline,
            catalog=self.catalog,
            service=self.service,
            keys=self._sender.keys,
            at_least=self._sender.slots.at_least,
            on_event=on_event,
        )

    async def _open_books(self, path: Path) -> Books:
        if await in_thread(path.is_dir):
            return await JournalBooks.open(path, await self.service())
        if not await in_thread(path.is_file):
            raise LedgerError(f"{path} is neither the directory of a batch nor the file of a ledger.")
        return LedgerBooks(PaidLedger(path, self.service))

    def observe(self, on_event: OnEvent) -> Callable[[], None]:
        """
        Call *on_event* with what happens from now on: attempts, starts and ends of generations.

        It is called on the event loop, in the task that makes the request, so it must not block. What it
        raises is logged and goes no further.

        Args:
            on_event: Takes an `AttemptEnded`, `GenerationStarted` or `GenerationEnded`.

        Returns:
            A function that ends it.
        """
        return self._observers.add(on_event)

    @property
    def base_url(self) -> str:
        """Origin and prefix that requests go to, without a trailing slash."""
        return self._options.base_url

    def __repr__(self) -> str:
        return (
            f"AsyncClient(base_url={self.base_url!r}, api_key={'set' if self._options.api_key else 'none'})"
        )

    def __reduce__(self) -> NoReturn:
        raise not_pickled()

    async def __aenter__(self) -> Self:
        self._watched.check_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def service(self) -> str:
        """
        Return what journals of this client are bound to, so that work of one service is never taken for another's.

        Returns:
            `sandbox`, or `loopback` with the port, for an address of this machine, which is asked; else the base URL.

        Raises:
            ConfigurationError: The client is closed, or in use on another event loop.
        """
        headers = {"User-Agent": self._options.user_agent, "Accept": "application/json"}
        return await service_at(self._options.base_url, self._watched, headers=headers)

    async def aclose(self) -> None:
        """Close what this client opened; a session or transport of the caller's stays open. It sends nothing more."""
        self._watched.closed = True
        try:
            await self.catalog.aclose()
            if self._ledger is not None:
                await self._ledger.aclose()
            if self._owns_transport:
                await self._transport.aclose()
        except ConfigurationError:
            # It belongs to another loop, which is still running and keeps using it.
            self._watched.closed = False
            raise


def pipeline_of(client: AsyncClient) -> Pipeline:
    """Return what the paid requests of *client* go through, for the modules that run several of them."""
    return client._pipeline  # pyright: ignore[reportPrivateUsage]
