"""
Every error this package raises::

    NanoGPTError
    ├─ ConfigurationError
    ├─ ParameterError (also a ValueError)
    ├─ ReferenceImageError
    ├─ OutputError
    ├─ TransportError
    │   ├─ ConnectError
    │   ├─ RequestTimeoutError
    │   └─ OutcomeUnknownError
    ├─ ResponseDecodeError ─ TaskPendingError
    ├─ DownloadError
    ├─ LedgerError
    ├─ StatusError
    │   ├─ BadRequestError ─ ContentPolicyError
    │   ├─ AuthenticationError
    │   ├─ InsufficientBalanceError
    │   ├─ PermissionDeniedError
    │   ├─ NotFoundError
    │   ├─ PayloadTooLargeError
    │   ├─ RateLimitError ─ DailyLimitError
    │   └─ ServerError
    └─ BatchError
        ├─ BudgetExceededError
        ├─ JournalError
        └─ ManifestError

Each carries `charge`: what is known about the money of the request that failed.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Charge(enum.Enum):
    """What a failed request cost, decided from facts; it rules what may be sent again."""

    NOT_SENT = "not_sent"
    """No paid request left this process (or the request is one of the free ones)."""
    REJECTED = "rejected"
    """The service refused the request, or says that it was not charged."""
    CHARGED = "charged"
    """The service did the work, or says that it has billed it; the answer was not usable."""
    UNKNOWN = "unknown"
    """The request was sent and no answer tells what became of it. Sending it again may pay twice."""

    @property
    def sentence(self) -> str:
        """What to tell a person about the money."""
        return _CHARGE_SENTENCES[self]


_CHARGE_SENTENCES = {
    Charge.NOT_SENT: "Nothing was sent.",
    Charge.REJECTED: "Nothing was charged.",
    Charge.CHARGED: "It was charged.",
    Charge.UNKNOWN: "It may have been charged.",
}


def _rebuild(cls: type[NanoGPTError], args: tuple[object, ...], state: dict[str, object]) -> NanoGPTError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class NanoGPTError(Exception):
    """The root: `except NanoGPTError` catches whatever this package raises."""

    charge: Charge
    request_id: str | None

    def __init__(
        self, message: str, *, charge: Charge = Charge.NOT_SENT, request_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.charge = charge
        self.request_id = request_id

    @property
    def message(self) -> str:
        """The text, as `str(error)` gives it."""
        return str(self)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments defeat the default pickling; results cross process borders all the same.
        # A partial result can hold open resources, so it stays behind.
        state = {name: None if name == "partial" else value for name, value in self.__dict__.items()}
        return _rebuild, (type(self), self.args, state)


class ConfigurationError(NanoGPTError):
    """The client is set up wrongly: no key, a bad base URL, an extra that is not installed."""


class ParameterError(NanoGPTError, ValueError):
    """
    A request that the model does not accept, found before it was sent.

    Attributes:
        model: ID of the model, where one is involved.
        parameter: Name of the offending parameter, where it is one.
    """

    model: str | None
    parameter: str | None

    def __init__(self, message: str, *, model: str | None = None, parameter: str | None = None) -> None:
        super().__init__(message)
        self.model = model
        self.parameter = parameter


class ReferenceImageError(NanoGPTError):
    """An input image that cannot be read, fetched or sent."""


class OutputError(NanoGPTError):
    """
    An image that cannot be written: a full disk, a read-only directory, a file that exists.

    Attributes:
        partial: What was received all the same (a `GenerationResult`), when an image was already paid for.
    """

    partial: object | None

    def __init__(
        self,
        message: str,
        *,
        charge: Charge = Charge.NOT_SENT,
        request_id: str | None = None,
        partial: object | None = None,
    ) -> None:
        super().__init__(message, charge=charge, request_id=request_id)
        self.partial = partial


class TransportError(NanoGPTError):
    """
    No complete answer arrived.

    Attributes:
        status: HTTP status, when at least the head of the answer arrived.
        partial: Images that did arrive whole (a `GenerationResult`), or None.
    """

    status: int | None
    partial: object | None

    def __init__(
        self,
        message: str,
        *,
        charge: Charge = Charge.NOT_SENT,
        request_id: str | None = None,
        status: int | None = None,
        partial: object | None = None,
    ) -> None:
        super().__init__(message, charge=charge, request_id=request_id)
        self.status = status
        self.partial = partial


class ConnectError(TransportError):
    """No connection could be made, or it was lost before the request body was sent."""


class RequestTimeoutError(TransportError):
    """A limit of time passed; `charge` says whether the request had been sent by then."""


class OutcomeUnknownError(TransportError):
    """The request was sent, and the connection broke before the answer was complete."""


class ResponseDecodeError(NanoGPTError):
    """
    An answer of success that holds no usable image, or is not what the documents describe.

    Attributes:
        status: HTTP status of the answer.
        json_path: Where in the body the fault is, such as `$.data[1].b64_json`.
        excerpt: The beginning of the body, shortened, for a report to support.
        partial: Images that could be used (a `GenerationResult`), or None.
    """

    status: int | None
    json_path: str | None
    excerpt: str
    partial: object | None

    def __init__(
        self,
        message: str,
        *,
        charge: Charge = Charge.CHARGED,
        request_id: str | None = None,
        status: int | None = None,
        json_path: str | None = None,
        excerpt: str = "",
        partial: object | None = None,
    ) -> None:
        super().__init__(message, charge=charge, request_id=request_id)
        self.status = status
        self.json_path = json_path
        self.excerpt = excerpt
        self.partial = partial


class TaskPendingError(ResponseDecodeError):
    """
    An answer of success that holds the ID of a task instead of images, as models with a queue of their own give.

    This package does not poll. The service has the order, and no document says when it bills one: `charge` is
    `UNKNOWN`, so that nothing repeats it, and `CHARGED` where the answer states a cost.

    Attributes:
        task_id: What the service calls the task; ask the service for its images by this ID.
    """

    task_id: str

    def __init__(
        self,
        message: str,
        *,
        task_id: str = "",
        charge: Charge = Charge.UNKNOWN,
        request_id: str | None = None,
        status: int | None = None,
        excerpt: str = "",
    ) -> None:
        super().__init__(message, charge=charge, request_id=request_id, status=status, excerpt=excerpt)
        self.task_id = task_id


class DownloadError(NanoGPTError):
    """
    A signed URL that could not be downloaded. Its image has been charged; downloading again is free.

    Attributes:
        expired: The URL is refused and its life is over: the image is lost. While False, downloading again is free.
        partial: The result, with its URLs, so that the download can be repeated without paying.
    """

    expired: bool
    partial: object | None

    def __init__(
        self,
        message: str,
        *,
        charge: Charge = Charge.CHARGED,
        request_id: str | None = None,
        expired: bool = False,
        partial: object | None = None,
    ) -> None:
        super().__init__(message, charge=charge, request_id=request_id)
        self.expired = expired
        self.partial = partial


class LedgerError(NanoGPTError):
    """A ledger of paid calls that is damaged, of another service or of a newer version, or whose image has changed."""


class StatusError(NanoGPTError):
    """
    An answer with a status other than success.

    Attributes:
        status: HTTP status.
        code: The service's code, such as `model_not_found`, as text; None where it gave none.
        type: The service's type of error, such as `invalid_request_error`.
        parameter: The field that the service names.
        retry_after_s: Seconds after which the service asks to be called again.
        excerpt: The beginning of the body, shortened.
        details: Further documented facts, such as `requiredBalance` or a `payment` quote.
        cost_usd: What an inline moderation cost that refused the request; None where nothing is known of one.
    """

    status: int
    code: str | None
    type: str | None
    parameter: str | None
    retry_after_s: float | None
    excerpt: str
    details: Mapping[str, object]
    cost_usd: float | None

    def __init__(
        self,
        message: str,
        *,
        status: int,
        charge: Charge = Charge.REJECTED,
        request_id: str | None = None,
        code: str | None = None,
        type: str | None = None,  # noqa: A002 - the field's name on the wire
        parameter: str | None = None,
        retry_after_s: float | None = None,
        excerpt: str = "",
        details: Mapping[str, object] | None = None,
        cost_usd: float | None = None,
    ) -> None:
        super().__init__(message, charge=charge, request_id=request_id)
        self.status = status
        self.cost_usd = cost_usd
        self.code = code
        self.type = type
        self.parameter = parameter
        self.retry_after_s = retry_after_s
        self.excerpt = excerpt
        self.details = dict(details or {})


class BadRequestError(StatusError):
    """400, 405, 409, 415, 422 and their like: the request is wrong, sending it again will not help."""


class ContentPolicyError(BadRequestError):
    """The prompt or an input image was refused (`content_policy_violation`)."""


class AuthenticationError(StatusError):
    """401: the key is missing or not valid."""


class InsufficientBalanceError(StatusError):
    """402: the balance does not cover the request; `details` holds what the service quotes."""


class PermissionDeniedError(StatusError):
    """403: the key may not do this."""


class NotFoundError(StatusError):
    """
    A model that the service or the catalogue does not know; the text names near matches.

    A 404 that is about the path is a `StatusError`: its `base_url` is wrong, and no other model would help.
    """


class PayloadTooLargeError(StatusError):
    """413: the request body, most often an input image, is too large."""


class RateLimitError(StatusError):
    """429: too many requests; `retry_after_s` says when to go on."""


class DailyLimitError(RateLimitError):
    """A daily cap of the key is reached; it is lifted at 00:00 UTC. Never slept through."""


class ServerError(StatusError):
    """5xx, and 408: the fault is the service's; `charge` says whether it may have billed."""


class BatchError(NanoGPTError):
    """A batch that cannot start or go on."""


class BudgetExceededError(BatchError):
    """The next request could pass `budget_usd`; nothing was sent for it."""


class JournalError(BatchError):
    """A journal that is damaged, in use, of another job or of a newer version."""


class ManifestError(BatchError):
    """
    A manifest that cannot be read.

    Attributes:
        line: Number of the offending line, from 1; None where the fault is not in one line.
    """

    line: int | None

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line
