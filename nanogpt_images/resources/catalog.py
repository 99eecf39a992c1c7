"""The model catalogue: both listings, their joined view and the endpoint metadata, cached."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Callable, Collection, Mapping
from typing import Protocol, TypeVar

import attrs

from .._base.logs import get_logger
from .._base.threads import in_thread
from ..errors import Charge, NanoGPTError, NotFoundError, ParameterError, StatusError
from ..types.model import ImageModel, ListedModel, Listing, Model, ModelEndpoints
from ..types.prices import Quote
from ..types.request import ImageRequest
from ..wire import paths
from ..wire.catalog.join import Joined, with_offers
from ..wire.catalog.listings import Records, decode_endpoints, image_models, listed_models
from .cache import FlightCache
from .prices.quoting import PostJson, Quotes

_log = get_logger("nanogpt_images.catalog")

_DETAILED, _BRIEF, _ALL = "detailed", "brief", "all"
_MAX_ENDPOINTS = 512
_NEAR_MATCHES = 3


class FetchJson(Protocol):
    """A GET of the API: retried, the body decoded from JSON; raises the errors of this package."""

    async def __call__(self, path: str, *, params: Mapping[str, str] | None = None) -> object: ...


@attrs.frozen(eq=False)
class _View:
    """The joined models, what became of the two listings that they are made of, and why one of them is missing."""

    legacy: Records[ImageModel] | NanoGPTError
    listed: Records[ListedModel] | NanoGPTError
    models: Joined
    failure: NanoGPTError | None = None


class Catalog:
    """
    Models that the service offers.

    Answers are cached for *ttl_s* seconds, and callers that ask at the same time share one request. When a
    refresh fails, the last known answer is served with `stale=True` and a warning in the log
    (`nanogpt_images.catalog`). A failure is remembered for 30 seconds at the most (for *ttl_s*, where that is
    shorter): until then the service is not asked again, unless with `refresh`. A model is decoded when it is asked for, and a whole listing
    in a thread: one of 10,000 models takes a second.

    Args:
        fetch: Makes the GET requests.
        ttl_s: Seconds for which an answer counts as fresh; 0 switches the cache off.
        clock: Monotonic seconds.
        check_open: Raises ConfigurationError where nothing may be asked any more, cached or not.
        post: Makes the POST requests, for the prices that the service estimates.
    """

    def __init__(
        self,
        fetch: FetchJson,
        *,
        ttl_s: float = 300,
        clock: Callable[[], float] = time.monotonic,
        check_open: Callable[[], None] = lambda: None,
        post: PostJson | None = None,
    ) -> None:
        self._quotes = Quotes(post, ttl_s=ttl_s, clock=clock)
        self._fetch = fetch
        self._check_open = check_open
        self._image_models: FlightCache[Records[ImageModel]] = FlightCache(
            "the listing image-models",
            ttl_s=ttl_s,
            max_items=2,
            mark_stale=_stale_records,
            clock=clock,
            log=_log,
        )
        self._models: FlightCache[Records[ListedModel]] = FlightCache(
            "the listing images/models",
            ttl_s=ttl_s,
            max_items=1,
            mark_stale=_stale_records,
            clock=clock,
            log=_log,
        )
        self._endpoints: FlightCache[ModelEndpoints] = FlightCache(
            "endpoint metadata",
            ttl_s=ttl_s,
            max_items=_MAX_ENDPOINTS,
            mark_stale=_stale_endpoints,
            clock=clock,
            log=_log,
        )
        self._view: _View | None = None
        self._priced: dict[str, tuple[Model, Model]] = {}

    async def image_models(self, *, detailed: bool = True, refresh: bool = False) -> Listing[ImageModel]:
        """
        Fetch `GET /api/v1/image-models`: prices, resolutions, `max_images` and `fixed_image_count`.

        Args:
            detailed: False asks for records that may hold little more than the ID.
            refresh: Ask again even if the cached answer is fresh.

        Raises:
            NanoGPTError: The listing is not available, and no earlier one is cached.

        Source: docs/service.md, "List image models".
        """

        self._check_open()
        records = await self._legacy_records(detailed, refresh)
        return await in_thread(records.listing) if records.decoded is None else records.decoded

    async def models(self, *, refresh: bool = False) -> Listing[ListedModel]:
        """
        Fetch `GET /api/v1/images/models`: descriptors, the range of `n`, and where the endpoint metadata is.

        Args:
            refresh: Ask again even if the cached answer is fresh.

        Raises:
            NanoGPTError: The listing is not available, and no earlier one is cached.

        Source: docs/service.md, "List models of the Image API".
        """

        self._check_open()
        records = await self._listed_records(refresh)
        return await in_thread(records.listing) if records.decoded is None else records.decoded

    async def endpoints(self, model_id: str, *, refresh: bool = False) -> ModelEndpoints:
        """
        Fetch `GET /api/v1/images/models/{model_id}/endpoints`: public prices and limits of one model.

        Args:
            model_id: ID; one that holds slashes is looked up in `models()` for the path to follow.
            refresh: Ask again even if the cached answer is fresh.

        Raises:
            NotFoundError: The service does not know the model.
            ParameterError: *model_id* cannot be part of a path.
            NanoGPTError: The metadata is not available, and no earlier one is cached.

        Source: docs/service.md, "Endpoint metadata".
        """

        self._check_open()

        async def load() -> ModelEndpoints:
            return decode_endpoints(await self._fetch(await self._endpoints_path(model_id)), model_id)

        return await self._endpoints.get(model_id, load, refresh=refresh)

    async def list(self, *, refresh: bool = False) -> tuple[Model, ...]:
        """
        Return all models, both listings joined by ID: a tuple that a notebook shows as a table.

        Where one listing is not available, the other alone is used: its models are marked `partial`, and a warning
        stands in the log.

        Args:
            refresh: Ask again even if the cached answers are fresh.

        Raises:
            NanoGPTError: Neither listing is available.
        """
        models = (await self._joined(refresh)).models
        return await in_thread(models.join_all) if models.all is None else models.all

    async def get(self, model_id: str, *, refresh: bool = False) -> Model:
        """
        Return one model of the joined view.

        Raises:
            NotFoundError: The catalogue does not list it; the text names near matches.
            NanoGPTError: A listing that may contain it is not available.
        """
        if not refresh and (model := self.cached(model_id)) is not None:
            return model
        view = await self._joined(refresh)
        if (model := view.models.find(model_id)) is not None:
            return model
        if view.failure is not None:
            raise view.failure.with_traceback(None)
        raise _not_found(model_id, view.models.ids)

    async def priced(self, model_id: str) -> Model:
        """
        Return the model as `get` returns it, with the prices of its endpoint metadata too; of two prices, the dearer.

        The metadata is asked for once for each state of the catalogue. Where it cannot be fetched,
        the prices are those of the listings and `price_tables.inputs` is None, with a warning in the log.

        Raises:
            NotFoundError: The catalogue does not list it; the text names near matches.
            NanoGPTError: A listing that may contain it is not available.
        """
        model = await self.get(model_id)
        known = self._priced.get(model_id)
        if known is None or known[0] is not model:
            priced, failure = await self._with_offers(model)
            known = self._priced.get(model_id)
            if known is None or known[0] is not model:  # callers at the same time share one failure
                if failure is not None:
                    _log.warning(
                        "the endpoint metadata of %s cannot be read, so the prices of input images are not known, and a "
                        "dearer price that it states would not count: %s",
                        model_id,
                        failure,
                    )
                if len(self._priced) >= _MAX_ENDPOINTS:
                    self._priced.clear()
                known = self._priced[model_id] = (model, priced)
        return known[1]

    async def quote(self, request: ImageRequest) -> Quote:
        """
        Ask what *request* costs by the service itself, beside the catalogue's price. Nothing is paid.

        `POST /api/estimate-image-cost` is asked once for each set of parameters, and the answer is cached as the listings
        are. Neither the prompt nor an image is sent to it. Where it does not answer, or in another currency,
        `service_usd` is None and `problem` says why; the catalogue's price stands then.

        Args:
            request: A `GenerateRequest`, an `OpenAIRequest` or an `EditRequest` that names its model.

        Raises:
            ParameterError: The request names no model.
            NotFoundError: The catalogue does not list the model; the text names near matches.
            NanoGPTError: A listing that may hold it was not available.

        Source: docs/service.md, "Price of a request".
        """
        self._check_open()
        if not request.model:
            raise ParameterError("a quote needs a model; name one.", parameter="model")
        return await self._quotes.of(request, await self.priced(request.model))

    async def filled(self, model: Model, request: ImageRequest) -> Model:
        """
        Complete *model* with the service's price of an image of *request*, where the catalogue states none.

        Args:
            model: A model of the catalogue.
            request: What it is to make; the price is that of these parameters alone.

        Returns:
            The model with a price in USD for each image; as it was where it has one, or the service does not say.

        Raises:
            ParameterError: Some field cannot be sent.

        Source: docs/service.md, "Price of a request".
        """
        return await self._quotes.filled(model, request)

    async def _with_offers(self, model: Model) -> tuple[Model, NanoGPTError | None]:
        try:
            return with_offers(model, await self.endpoints(model.id)), None
        except NotFoundError:
            return model, None
        except NanoGPTError as error:
            return attrs.evolve(model, price_tables=attrs.evolve(model.price_tables, inputs=None)), error

    def cached(self, model_id: str) -> Model | None:
        """Return the model as `get` would return it without I/O; None where that would ask the service."""
        view = self._fresh_view()
        return None if view is None else view.models.find(model_id)

    async def aclose(self) -> None:
        """End the running requests; cached answers stay."""
        await self._quotes.aclose()
        for cache in (self._image_models, self._models, self._endpoints):
            await cache.aclose()

    def _fresh_view(self) -> _View | None:
        self._check_open()
        view = self._view
        if view is None:
            return None
        current = (
            self._image_models.settled(_DETAILED) is view.legacy and self._models.settled(_ALL) is view.listed
        )
        return view if current else None

    async def _joined(self, refresh: bool) -> _View:
        if not refresh and (view := self._fresh_view()) is not None:
            return view
        outcomes = await asyncio.gather(
            self._legacy_records(True, refresh), self._listed_records(refresh), return_exceptions=True
        )
        legacy, listed = _outcome(outcomes[0]), _outcome(outcomes[1])
        view = self._view
        if view is None or view.legacy is not legacy or view.listed is not listed:
            view = self._view = _view_of(legacy, listed)
        return view

    async def _legacy_records(self, detailed: bool, refresh: bool) -> Records[ImageModel]:
        async def load() -> Records[ImageModel]:
            params = {"detailed": "true" if detailed else "false"}
            return await in_thread(image_models, await self._fetch(paths.IMAGE_MODELS, params=params))

        return await self._image_models.get(_DETAILED if detailed else _BRIEF, load, refresh=refresh)

    async def _listed_records(self, refresh: bool) -> Records[ListedModel]:
        async def load() -> Records[ListedModel]:
            return await in_thread(listed_models, await self._fetch(paths.LISTED_MODELS))

        return await self._models.get(_ALL, load, refresh=refresh)

    async def _endpoints_path(self, model_id: str) -> str:
        made_of_id = paths.endpoints_path(model_id, None)
        listed = self._models.known(_ALL)
        if listed is None and "/" in model_id:
            try:
                listed = await self._listed_records(False)
            except NanoGPTError as error:
                _log.warning("no endpoints path of %s is known (%s); one is made of its ID", model_id, error)
        record = listed.find(model_id) if listed is not None else None
        return made_of_id if record is None else paths.endpoints_path(model_id, record.endpoints)


RecordsT = TypeVar("RecordsT", Records[ImageModel], Records[ListedModel])


def _outcome(outcome: RecordsT | BaseException) -> RecordsT | NanoGPTError:
    if isinstance(outcome, BaseException) and not isinstance(outcome, NanoGPTError):
        raise outcome
    return outcome


def _view_of(
    legacy: Records[ImageModel] | NanoGPTError, listed: Records[ListedModel] | NanoGPTError
) -> _View:
    failure = next((half for half in (legacy, listed) if isinstance(half, NanoGPTError)), None)
    if failure is not None:
        failure = _of_the_listing(failure)
        if isinstance(legacy, NanoGPTError) and isinstance(listed, NanoGPTError):
            raise failure.with_traceback(None)
        _log.warning("half of the catalogue is missing (%s); the other listing alone is used", failure)
    joined = Joined(
        None if isinstance(legacy, NanoGPTError) else legacy,
        None if isinstance(listed, NanoGPTError) else listed,
    )
    return _View(legacy, listed, joined, failure)


def _of_the_listing(error: NanoGPTError) -> NanoGPTError:
    """Return *error* as it may be raised to a caller who asked for a model: it is the listing that was not found."""
    if not isinstance(error, NotFoundError):
        return error
    return StatusError(
        f"the catalogue is not available: {error.message}",
        status=error.status,
        charge=error.charge,
        request_id=error.request_id,
        code=error.code,
        type=error.type,
        excerpt=error.excerpt,
        details=error.details,
    )


def _stale_records(records: RecordsT) -> RecordsT:
    return records.as_stale()


def _stale_endpoints(endpoints: ModelEndpoints) -> ModelEndpoints:
    return attrs.evolve(endpoints, stale=True)


def _not_found(model_id: str, known: Collection[str]) -> NotFoundError:
    near = near_matches(model_id, known)
    hint = (
        f"near matches: {', '.join(near)}"
        if near
        else "catalog.list(), or 'nanogpt-images models', gives those it holds"
    )
    return NotFoundError(
        f"model {model_id!r} is not in the catalogue; {hint}.",
        status=404,
        charge=Charge.NOT_SENT,
        says_charge=True,
        code="model_not_found",
        parameter="model",
    )


def near_matches(model_id: str, known: Collection[str]) -> list[str]:
    """Return up to three known IDs that *model_id* may have meant: those that hold it, else those spelt alike."""
    by_folded = {name.casefold(): name for name in known}
    wanted = model_id.strip().casefold()
    holding = [name for folded, name in by_folded.items() if wanted and wanted in folded]
    if holding:
        return sorted(holding, key=len)[:_NEAR_MATCHES]
    return [by_folded[name] for name in difflib.get_close_matches(wanted, by_folded, _NEAR_MATCHES)]
