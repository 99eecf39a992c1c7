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
    from ._version import __version__ as __version__
    from .batch.events import BatchEvent as BatchEvent
    from .batch.events import BatchFailure as BatchFailure
    from .batch.events import BatchReport as BatchReport
    from .batch.manifest.reader import read_manifest as read_manifest
    from .batch.planning.estimate import Estimate as Estimate
    from .batch.planning.estimate import estimate as estimate
    from .batch.planning.totals import ModelEstimate as ModelEstimate
    from .batch.planning.totals import Problem as Problem
    from .batch.rows import BatchRow as BatchRow
    from .batch.runner import Batch as Batch
    from .batch.states import BatchState as BatchState
    from .batch.sweeps import sweep as sweep
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
    from .errors import LedgerError as LedgerError
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
    from .events import OnEvent as OnEvent
    from .export import ExportReport as ExportReport
    from .export import export_batch as export_batch
    from .export import export_failed as export_failed
    from .gallery import write_gallery as write_gallery
    from .provenance.reading import read_provenance as read_provenance
    from .provenance.record import Provenance as Provenance
    from .references import ReferenceInput as ReferenceInput
    from .resources.account import Account as Account
    from .resources.catalog import Catalog as Catalog
    from .resources.images import Images as Images
    from .resources.ledger.fingerprint import AUTO as AUTO
    from .resources.ledger.paid_entries import LedgerEntry as LedgerEntry
    from .resources.ledger.paid_ledger import PaidLedger as PaidLedger
    from .resources.ledger.upkeep import LedgerCheck as LedgerCheck
    from .resources.ledger.upkeep import Pruned as Pruned
    from .resources.settling import SettledGroup as SettledGroup
    from .resources.settling import SettledOutcomes as SettledOutcomes
    from .sync.client import BlockingBatch as BlockingBatch
    from .sync.client import BlockingImage as BlockingImage
    from .sync.client import BlockingResult as BlockingResult
    from .sync.client import Client as Client
    from .transport.aiohttp import AiohttpTransport as AiohttpTransport
    from .transport.protocol import HttpRequest as HttpRequest
    from .transport.protocol import HttpResponse as HttpResponse
    from .transport.protocol import Transport as Transport
    from .transport.retry import RetryPolicy as RetryPolicy
    from .types.account import Balance as Balance
    from .types.account import ModelUsage as ModelUsage
    from .types.account import Usage as Usage
    from .types.model import Endpoint as Endpoint
    from .types.model import ImageModel as ImageModel
    from .types.model import ListedModel as ListedModel
    from .types.model import Listing as Listing
    from .types.model import Model as Model
    from .types.model import ModelEndpoints as ModelEndpoints
    from .types.model import PriceLine as PriceLine
    from .types.model import PromptLimit as PromptLimit
    from .types.model import ReferenceLimits as ReferenceLimits
    from .types.parameters import BooleanSpec as BooleanSpec
    from .types.parameters import CountRule as CountRule
    from .types.parameters import EnumSpec as EnumSpec
    from .types.parameters import ParameterSpec as ParameterSpec
    from .types.parameters import RangeSpec as RangeSpec
    from .types.parameters import UnknownSpec as UnknownSpec
    from .types.parameters import split_count as split_count
    from .types.prices import Cost as Cost
    from .types.prices import PriceTable as PriceTable
    from .types.prices import PriceTables as PriceTables
    from .types.prices import Quote as Quote
    from .types.request import EditRequest as EditRequest
    from .types.request import GenerateRequest as GenerateRequest
    from .types.request import OpenAIRequest as OpenAIRequest
    from .types.result import GenerationResult as GenerationResult
    from .types.result import Image as Image

_NAMES_BY_MODULE = {
    "transport.aiohttp": "AiohttpTransport",
    "provenance.reading": "read_provenance",
    "provenance.record": "Provenance",
    "transport.retry": "RetryPolicy",
    "_version": "__version__",
    "resources.account": "Account",
    "types.account": "Balance ModelUsage Usage",
    "batch.events": "BatchEvent BatchFailure BatchReport",
    "batch.manifest.reader": "read_manifest",
    "batch.planning.estimate": "Estimate estimate",
    "batch.planning.totals": "ModelEstimate Problem",
    "batch.rows": "BatchRow",
    "batch.states": "BatchState",
    "batch.runner": "Batch",
    "batch.sweeps": "sweep",
    "resources.catalog": "Catalog",
    "client": "AsyncClient",
    "errors": """AuthenticationError BadRequestError BatchError BudgetExceededError Charge ConfigurationError
        ConnectError ContentPolicyError DailyLimitError DownloadError InsufficientBalanceError JournalError
        LedgerError
        ManifestError NanoGPTError NotFoundError OutcomeUnknownError OutputError ParameterError
        PayloadTooLargeError PermissionDeniedError RateLimitError ReferenceImageError RequestTimeoutError
        ResponseDecodeError ServerError StatusError TaskPendingError TransportError""",
    "events": "AttemptEnded ClientEvent GenerationEnded GenerationStarted OnEvent",
    "export": "ExportReport export_batch export_failed",
    "gallery": "write_gallery",
    "resources.images": "Images",
    "resources.ledger.paid_entries": "LedgerEntry",
    "resources.ledger.fingerprint": "AUTO",
    "resources.ledger.paid_ledger": "PaidLedger",
    "resources.ledger.upkeep": "LedgerCheck Pruned",
    "resources.settling": "SettledGroup SettledOutcomes",
    "types.model": """Endpoint ImageModel ListedModel Listing Model ModelEndpoints PriceLine PromptLimit
        ReferenceLimits""",
    "types.parameters": "BooleanSpec CountRule EnumSpec ParameterSpec RangeSpec UnknownSpec split_count",
    "types.prices": "Cost PriceTable PriceTables Quote",
    "references": "ReferenceInput",
    "types.request": "EditRequest GenerateRequest OpenAIRequest",
    "types.result": "GenerationResult Image",
    "sync.client": "BlockingBatch BlockingImage BlockingResult Client",
    "transport.protocol": "HttpRequest HttpResponse Transport",
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
