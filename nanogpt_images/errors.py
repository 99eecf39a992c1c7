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
from typing import ClassVar, TypedDict, Unpack


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


_END_OF_SENTENCE = (".", "!", "?", "\u2026")


class Facts(TypedDict, total=False):
    """The keywords that every error takes; `NanoGPTError` describes them."""

    charge: Charge
    request_id: str | None
    advice: str
    partial: object | None
    says_charge: bool


def _rebuild(cls: type[NanoGPTError], args: tuple[object, ...], state: dict[str, object]) -> NanoGPTError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class NanoGPTError(Exception):
    """
    The root: `except NanoGPTError` catches whatever this package raises.

    `str(error)` is composed of what happened, what became of the money, and what to do next.

    Args:
        message: What happened, without a word about the money.
        charge: What is known about the money; by default what the class implies.
        request_id: The service's ID of the request.
        advice: What to do next; empty where there is nothing to say, or the message says it.
        partial: What came all the same.
        says_charge: Whether the text says what `charge` means; by default where it is another one than `NOT_SENT`,
            or the class is about requests that were not sent.

    Attributes:
        partial: Images and signed URLs that arrived whole, as a `GenerationResult` (from the blocking client a
            `BlockingResult`), or None. Downloading such a URL (`await image.save(…)`) is free; `generate_to` and batches
            have tried it already.
    """

    charge: Charge
    request_id: str | None
    advice: str
    partial: object | None
    says_charge: bool

    _implied: ClassVar[Charge] = Charge.NOT_SENT
    _says_not_sent: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        charge: Charge | None = None,
        request_id: str | None = None,
        advice: str = "",
        partial: object | None = None,
        says_charge: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.charge = charge or self._implied
        self.request_id = request_id
        self.advice = advice
        self.partial = partial
        by_default = self._says_not_sent or self.charge is not Charge.NOT_SENT
        self.says_charge = by_default if says_charge is None else says_charge

    def __str__(self) -> str:
        return self._composed(self.charge.sentence if self.says_charge else "")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    @property
    def message(self) -> str:
        """The text without its sentence about the money, for a text that has one of its own."""
        return self._composed("")

    def _composed(self, money: str) -> str:
        happened = str(self.args[0])
        if (money or self.advice) and not happened.endswith(_END_OF_SENTENCE):
            happened += "."
        return " ".join(filter(None, (happened, money, self.advice)))

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments defeat the default pickling; results cross process borders all the same.
        # A partial result can hold open resources, so it stays behind.
        return _rebuild, (type(self), self.args, {**self.__dict__, "partial": None})


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
    _says_not_sent = True

    def __init__(
        self,
        message: str,
        *,
        model: str | None = None,
        parameter: str | None = None,
        **facts: Unpack[Facts],
    ) -> None:
        super().__init__(message, **facts)
        self.model = model
        self.parameter = parameter


class ReferenceImageError(NanoGPTError):
    """An input image that cannot be read, fetched or sent."""

    _says_not_sent = True


class OutputError(NanoGPTError):
    """An image that cannot be written: a full disk, a read-only directory, a file that exists."""


class TransportError(NanoGPTError):
    """
    No complete answer arrived.

    Attributes:
        status: HTTP status, when at least the head of the answer arrived.
    """

    status: int | None
    _says_not_sent = True

    def __init__(self, message: str, *, status: int | None = None, **facts: Unpack[Facts]) -> None:
        super().__init__(message, **facts)
        self.status = status


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
    """

    status: int | None
    json_path: str | None
    excerpt: str
    _implied = Charge.CHARGED

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        json_path: str | None = None,
        excerpt: str = "",
        **facts: Unpack[Facts],
    ) -> None:
        super().__init__(message, **facts)
        self.status = status
        self.json_path = json_path
        self.excerpt = excerpt


class TaskPendingError(ResponseDecodeError):
    """
    An answer of success that holds the ID of a task instead of images, as models with a queue of their own give.

    This package does not poll. The service has the order, and no document says when it bills one: `charge` is
    `UNKNOWN`, so that nothing repeats it, and `CHARGED` where the answer states a cost.

    Attributes:
        task_id: What the service calls the task; ask the service for its images by this ID.
    """

    task_id: str
    _implied = Charge.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        task_id: str = "",
        status: int | None = None,
        excerpt: str = "",
        **facts: Unpack[Facts],
    ) -> None:
        super().__init__(message, status=status, excerpt=excerpt, **facts)
        self.task_id = task_id


class DownloadError(NanoGPTError):
    """
    A signed URL that could not be downloaded. Its image has been charged; `partial` has the result with its URLs.

    Attributes:
        expired: The URL is refused and its life is over: the image is lost. While False, downloading again is free.
    """

    expired: bool
    _implied = Charge.CHARGED

    def __init__(self, message: str, *, expired: bool = False, **facts: Unpack[Facts]) -> None:
        super().__init__(message, **facts)
        self.expired = expired


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
    _implied = Charge.REJECTED

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        type: str | None = None,  # noqa: A002 - the field's name on the wire
        parameter: str | None = None,
        retry_after_s: float | None = None,
        excerpt: str = "",
        details: Mapping[str, object] | None = None,
        cost_usd: float | None = None,
        **facts: Unpack[Facts],
    ) -> None:
        super().__init__(message, **facts)
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
    """429: too many requests; `retry_after_s` says when to try again."""


class DailyLimitError(RateLimitError):
    """A daily cap of the key is reached; it is lifted at 00:00 UTC. Never slept through."""


class ServerError(StatusError):
    """5xx, and 408: the fault is the service's; `charge` says whether it may have billed."""


class BatchError(NanoGPTError):
    """A batch that cannot start or continue."""


class BudgetExceededError(BatchError):
    """The next request could pass `budget_usd`; nothing was sent for it."""

    _says_not_sent = True


class JournalError(BatchError):
    """A journal that is damaged, in use, of another job or of a newer version."""


class ManifestError(BatchError):
    """
    A manifest that cannot be read.

    Attributes:
        line: Number of the offending line, from 1; None where the fault is not in one line.
    """

    line: int | None
    _says_not_sent = True

    def __init__(self, message: str, *, line: int | None = None, **facts: Unpack[Facts]) -> None:
        super().__init__(message, **facts)
        self.line = line
