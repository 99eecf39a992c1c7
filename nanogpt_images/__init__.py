"""
Async-first SDK for the NanoGPT image API.

    import nanogpt_images as ngi

    async with ngi.AsyncClient() as client:
        result = await client.images.generate("a red fox", model="gpt-image-2")
        await result.images[0].save("fox")

Every public name is importable from here. Modules load when a name of theirs is first used, so that
importing the package costs almost nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._aiohttp import AiohttpTransport as AiohttpTransport
    from ._provenance.reading import read_provenance as read_provenance
    from ._provenance.record import Provenance as Provenance
    from ._retry import RetryPolicy as RetryPolicy
    from ._version import __version__ as __version__
    from .account import Balance as Balance
    from .account import Usage as Usage
    from .batch.events import BatchEvent as BatchEvent
    from .batch.events import BatchFailure as BatchFailure
    from .batch.events import BatchReport as BatchReport
    from .batch.manifest import read_manifest as read_manifest
    from .batch.plan import Estimate as Estimate
    from .batch.plan import estimate as estimate
    from .batch.rows import BatchRow as BatchRow
    from .batch.runner import Batch as Batch
    from .catalog import Catalog as Catalog
    from .client import AsyncClient as AsyncClient
    from .errors import AuthenticationError as AuthenticationError
    from .errors import BadRequestError as BadRequestError
    from .errors import BatchError as BatchError
    from .errors import BudgetExceededError as BudgetExceededError
    from .errors import Charge as Charge
    from .errors import ConfigurationError as ConfigurationError
    from .errors import ConnectError as ConnectError
    from .errors import ContentPolicyError as ContentPolicyError
    from .errors import DailyLimitError as DailyLimitError
    from .errors import DownloadError as DownloadError
    from .errors import InsufficientBalanceError as InsufficientBalanceError
    from .errors import JournalError as JournalError
    from .errors import ManifestError as ManifestError
    from .errors import NanoGPTError as NanoGPTError
    from .errors import NotFoundError as NotFoundError
    from .errors import OutcomeUnknownError as OutcomeUnknownError
    from .errors import OutputError as OutputError
    from .errors import ParameterError as ParameterError
    from .errors import PayloadTooLargeError as PayloadTooLargeError
    from .errors import PermissionDeniedError as PermissionDeniedError
    from .errors import RateLimitError as RateLimitError
    from .errors import ReferenceImageError as ReferenceImageError
    from .errors import RequestTimeoutError as RequestTimeoutError
    from .errors import ResponseDecodeError as ResponseDecodeError
    from .errors import ServerError as ServerError
    from .errors import StatusError as StatusError
    from .errors import TaskPendingError as TaskPendingError
    from .errors import TransportError as TransportError
    from .events import AttemptEnded as AttemptEnded
    from .events import ClientEvent as ClientEvent
    from .events import GenerationEnded as GenerationEnded
    from .events import GenerationStarted as GenerationStarted
    from .export import ExportReport as ExportReport
    from .export import export_batch as export_batch
    from .images import Images as Images
    from .models import Endpoint as Endpoint
    from .models import ImageModel as ImageModel
    from .models import ListedModel as ListedModel
    from .models import Listing as Listing
    from .models import Model as Model
    from .models import ModelEndpoints as ModelEndpoints
    from .models import PriceLine as PriceLine
    from .models import PromptLimit as PromptLimit
    from .models import ReferenceLimits as ReferenceLimits
    from .parameters import BooleanSpec as BooleanSpec
    from .parameters import CountRule as CountRule
    from .parameters import EnumSpec as EnumSpec
    from .parameters import ParameterSpec as ParameterSpec
    from .parameters import RangeSpec as RangeSpec
    from .parameters import UnknownSpec as UnknownSpec
    from .parameters import split_count as split_count
    from .prices import Cost as Cost
    from .prices import PriceTable as PriceTable
    from .prices import PriceTables as PriceTables
    from .references import ReferenceInput as ReferenceInput
    from .request import GenerateRequest as GenerateRequest
    from .request import OpenAIRequest as OpenAIRequest
    from .results import GenerationResult as GenerationResult
    from .results import Image as Image
    from .sync import BlockingBatch as BlockingBatch
    from .sync import BlockingImage as BlockingImage
    from .sync import BlockingResult as BlockingResult
    from .sync import Client as Client
    from .transport import HttpRequest as HttpRequest
    from .transport import HttpResponse as HttpResponse
    from .transport import Transport as Transport

_NAMES_BY_MODULE = {
    "_aiohttp": "AiohttpTransport",
    "_provenance.reading": "read_provenance",
    "_provenance.record": "Provenance",
    "_retry": "RetryPolicy",
    "_version": "__version__",
    "account": "Balance Usage",
    "batch.events": "BatchEvent BatchFailure BatchReport",
    "batch.manifest": "read_manifest",
    "batch.plan": "Estimate estimate",
    "batch.rows": "BatchRow",
    "batch.runner": "Batch",
    "catalog": "Catalog",
    "client": "AsyncClient",
    "errors": """AuthenticationError BadRequestError BatchError BudgetExceededError Charge ConfigurationError
        ConnectError ContentPolicyError DailyLimitError DownloadError InsufficientBalanceError JournalError
        ManifestError NanoGPTError NotFoundError OutcomeUnknownError OutputError ParameterError
        PayloadTooLargeError PermissionDeniedError RateLimitError ReferenceImageError RequestTimeoutError
        ResponseDecodeError ServerError StatusError TaskPendingError TransportError""",
    "events": "AttemptEnded ClientEvent GenerationEnded GenerationStarted",
    "export": "ExportReport export_batch",
    "images": "Images",
    "models": """Endpoint ImageModel ListedModel Listing Model ModelEndpoints PriceLine PromptLimit
        ReferenceLimits""",
    "parameters": "BooleanSpec CountRule EnumSpec ParameterSpec RangeSpec UnknownSpec split_count",
    "prices": "Cost PriceTable PriceTables",
    "references": "ReferenceInput",
    "request": "GenerateRequest OpenAIRequest",
    "results": "GenerationResult Image",
    "sync": "BlockingBatch BlockingImage BlockingResult Client",
    "transport": "HttpRequest HttpResponse Transport",
}
_MODULE_OF = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names.split()}

__all__ = [*sorted(_MODULE_OF)]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll] - test_public_api compares


def __getattr__(name: str) -> object:
    try:
        module = _MODULE_OF[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
