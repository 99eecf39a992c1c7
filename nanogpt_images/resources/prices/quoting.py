"""What the service itself says that a request costs, asked once for each set of parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from ..._base.display import shown
from ..._base.logs import get_logger
from ...errors import NanoGPTError, ParameterError, StatusError
from ...money.nano import to_usd
from ...types.model import Model
from ...types.prices import Cost, Quote
from ...types.request import ImageRequest
from ...wire.quotes import ESTIMATE_PATH, decode_quote, quote_body
from ..cache import FlightCache
from .pricing import image_counts, price_of, with_flat_price

_log = get_logger("nanogpt_images.catalog")

_MAX_QUOTES: Final = 4096
_NOT_OFFERED: Final = frozenset({404, 405, 501})
_NONE: Final = Cost(0.0, "none")


class PostJson(Protocol):
    """A POST that costs nothing; raises the errors of this package."""

    async def __call__(self, path: str, body: bytes | None, *, key_header: str | None = None) -> object: ...


class Quotes:
    """
    Prices that the service estimates.

    Args:
        post: Makes the requests; None where there is no service to ask.
        ttl_s: Seconds for which an answer counts.
        clock: Monotonic seconds.
    """

    def __init__(self, post: PostJson | None, *, ttl_s: float, clock: Callable[[], float]) -> None:
        self._post = post
        self._missing: str | None = None
        self._answers: FlightCache[Cost] = FlightCache(
            "price estimates",
            ttl_s=ttl_s,
            max_items=_MAX_QUOTES,
            mark_stale=lambda cost: cost,
            clock=clock,
            log=_log,
        )

    async def of(self, request: ImageRequest, model: Model) -> Quote:
        """
        Ask for the price of *request*, made by *model*, whose prices of input images are known.

        Where the service gives none, `problem` says why, and the catalogue's price stands.

        Raises:
            ParameterError: Some field cannot be sent.
        """
        images, _ = image_counts(model, request)
        catalogue = price_of(model, request)
        each, problem = await self._each(request, model)
        priced = None if each is None else price_of(with_flat_price(model, each), request, images=images)
        if each is not None and priced is None:
            problem = "the price of the input images is not known"
        return Quote(
            model=model.id,
            images=images,
            service_usd=None if priced is None else to_usd(priced.expected_nano),
            image_usd=None if priced is None else each,
            catalog_usd=None if catalogue is None else to_usd(catalogue.expected_nano),
            problem=problem,
        )

    async def filled(self, model: Model, request: ImageRequest) -> Model:
        """Complete *model* with the service's price of an image of *request*, where the catalogue states none."""
        if price_of(model, request) is not None:
            return model
        each, problem = await self._each(request, model)
        if each is None:
            _log.debug("%s has no price: %s", model.id, problem)
            return model
        return with_flat_price(model, each)

    async def _each(self, request: ImageRequest, model: Model) -> tuple[float | None, str | None]:
        """Ask for the USD of one image, or say why that is not known."""
        if self._missing is not None:
            return None, self._missing
        try:
            cost = await self._answers.get(quote_body(request).decode(), lambda: self._ask(request))
        except ParameterError:
            raise
        except NanoGPTError as error:
            problem = f"the service does not estimate it ({error.message.rstrip('.')})"
            if isinstance(error, StatusError) and error.status in _NOT_OFFERED and error.code is None:
                self._missing = problem
            return None, problem
        if cost is _NONE:
            return None, "the service's estimate names no amount"
        if cost.usd is None:
            return None, f"the service estimates it in {shown(cost.currency)}, not in USD"
        # Asked without a count: the amount is that of what the model makes by default.
        return cost.usd / model.count_rule.images(None), None

    async def _ask(self, request: ImageRequest) -> Cost:
        if self._post is None:
            return _NONE
        answer = await self._post(ESTIMATE_PATH, quote_body(request), key_header="x-api-key")
        return decode_quote(answer) or _NONE

    async def aclose(self) -> None:
        """End the requests in flight."""
        await self._answers.aclose()
