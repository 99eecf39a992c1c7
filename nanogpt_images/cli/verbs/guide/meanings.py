"""What each failure means, whether it was charged, and what to do: the table of `explain` and of docs/what-happens.md."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

from .... import errors


@attrs.frozen(kw_only=True)
class Meaning:
    """
    One failure, or one code.

    Attributes:
        what: What happened, without a full stop.
        names: Codes, statuses and words under which it is found, beside *raised*.
        raised: Class of the error; empty where none is raised.
        charge: What is known about the money.
        again: Whether the package sends the request again by itself.
        batch: What becomes of the row of a batch.
        do: What to do next, in whole sentences.
    """

    what: str
    names: tuple[str, ...] = ()
    raised: str = ""
    charge: str = ""
    again: str = ""
    batch: str = ""
    do: str = ""

    @property
    def title(self) -> str:
        """Its error and its names, for a heading."""
        return " · ".join(filter(None, (self.raised, *self.names)))


_BEFORE: Final = (
    Meaning(
        what="The client has no key, a base URL that cannot be used, or lacks an extra",
        names=("NoKeyError",),
        raised="ConfigurationError",
        charge="NOT_SENT",
        again="no",
        batch="the run does not start",
        do="Set NANOGPT_API_KEY, correct the base URL, or install the extra that the message names.",
    ),
    Meaning(
        what="The manifest, or a line of it, cannot be read",
        raised="ManifestError",
        charge="NOT_SENT",
        again="no",
        batch="the run does not start",
        do="Correct the line that the message names; 'nanogpt-images plan FILE' lists every wrong row.",
    ),
    Meaning(
        what="The journal is damaged, in use by another process, of another job or of a newer version",
        raised="JournalError",
        charge="NOT_SENT",
        again="no",
        batch="the run does not start",
        do="Wait for the other process, or join it with --join; for another job choose another directory.",
    ),
    Meaning(
        what="The ledger is damaged, of another service or of a newer version, or an image of it has changed",
        raised="LedgerError",
        charge="NOT_SENT",
        again="no",
        batch="the run does not start",
        do="'nanogpt-images ledger verify FILE' lists what is wrong; a call that 'ledger forget' drops is paid for again.",
    ),
    Meaning(
        what="The model does not accept a parameter",
        names=("UsageError",),
        raised="ParameterError",
        charge="NOT_SENT",
        again="no",
        batch="the row fails",
        do="Change the parameter that the message names; 'nanogpt-images model ID' lists what the model accepts.",
    ),
    Meaning(
        what="An input image cannot be read, fetched or sent",
        raised="ReferenceImageError",
        charge="NOT_SENT",
        again="no",
        batch="the row fails",
        do="Check the path or the URL; private addresses need allow_private_references=True.",
    ),
    Meaning(
        what="The next request could exceed the budget",
        raised="BudgetExceededError",
        charge="NOT_SENT",
        again="no",
        batch="the run stops; the rest stays pending",
        do="Run the same command with a higher --budget: what earlier runs spent counts towards it.",
    ),
    Meaning(
        what="DNS, connection or TLS fails",
        raised="ConnectError",
        charge="NOT_SENT",
        again="yes",
        batch="the row fails once the retries are used up",
        do="Check the network and the base URL, then run the same command again.",
    ),
)
_DURING: Final = (
    Meaning(
        what="The connection breaks after the body began to leave",
        raised="OutcomeUnknownError",
        charge="UNKNOWN",
        again="never",
        batch="unknown; `retry --unknown` pays again",
        do="Compare with the account ('status DIR --account', 'settle DIR'), then decide whether to pay again.",
    ),
    Meaning(
        what="No complete answer arrives within `timeout_s`",
        raised="RequestTimeoutError",
        charge="UNKNOWN; NOT_SENT if nothing had left",
        again="only if nothing had left",
        batch="unknown",
        do="Give slow models a longer timeout_s; compare with the account before you send it again.",
    ),
    Meaning(
        what="The caller cancels, or a signal ends the command",
        names=("CancelledError", "InterruptedRunError"),
        charge="UNKNOWN if bytes had left",
        again="never",
        batch="unknown if bytes had left, else pending",
        do="Run the same batch command again: it resumes, and leaves unknown requests alone.",
    ),
    Meaning(
        what="The process is killed",
        names=("SIGKILL",),
        charge="UNKNOWN for each request in flight",
        again="never",
        batch="unknown for each request in flight, else pending",
        do="Run the same command again; 'status DIR' lists what is unknown.",
    ),
)
_REFUSED: Final = (
    Meaning(
        what="The service does not accept the request",
        names=(
            "400",
            "405",
            "409",
            "415",
            "422",
            "missing_model",
            "prompt_too_long",
            "IMAGE_INPUT_TOO_MANY",
            "invalid_request_error",
            "invalid_content_type",
            "invalid_input_references",
            "conflicting_image_inputs",
            "unsupported_stream",
            "unsupported_provider_options",
        ),
        raised="BadRequestError",
        charge="REJECTED",
        again="no",
        batch="the row fails",
        do="Change the request as the message says; sending it unchanged is refused again.",
    ),
    Meaning(
        what="The prompt or an input image violates the content policy",
        names=("content_policy_violation", "content_policy"),
        raised="ContentPolicyError",
        charge="REJECTED; CHARGED if a moderation check cost something",
        again="no",
        batch="the row fails",
        do="Change the prompt or the image.",
    ),
    Meaning(
        what="The key is missing or not valid",
        names=("401", "missing_api_key"),
        raised="AuthenticationError",
        charge="REJECTED",
        again="no",
        batch="the run stops",
        do="Check NANOGPT_API_KEY, then run the same command again.",
    ),
    Meaning(
        what="The balance does not cover the request",
        names=("402",),
        raised="InsufficientBalanceError",
        charge="REJECTED",
        again="no",
        batch="the run stops",
        do="Add funds to the account, then run the same command again.",
    ),
    Meaning(
        what="The key is not allowed to do this",
        names=("403",),
        raised="PermissionDeniedError",
        charge="REJECTED",
        again="no",
        batch="the run stops",
        do="Check the limits of the key in your account.",
    ),
    Meaning(
        what="The model is unknown",
        names=("404", "model_not_found"),
        raised="NotFoundError",
        charge="REJECTED; NOT_SENT if the catalogue already lacks it",
        again="no",
        batch="the row fails",
        do="Choose a model that 'nanogpt-images models' lists; the message names near matches.",
    ),
    Meaning(
        what="The address is unknown, or redirects",
        names=("301", "302", "307", "308"),
        raised="StatusError",
        charge="REJECTED",
        again="no",
        batch="the run stops",
        do="Check the base URL: that of the service is https://nano-gpt.com.",
    ),
    Meaning(
        what="The request body is too large, usually because of an input image",
        names=("413", "FUNCTION_PAYLOAD_TOO_LARGE"),
        raised="PayloadTooLargeError",
        charge="REJECTED",
        again="no",
        batch="the row fails",
        do="Shrink the input images, or pass URLs instead of files.",
    ),
)
_BUSY: Final = (
    Meaning(
        what="More requests start per second than the key may send",
        names=("429", "rate_limit_exceeded"),
        raised="RateLimitError",
        charge="REJECTED",
        again="yes, after Retry-After",
        batch="waits, and the pace falls",
        do="If it keeps happening, lower --requests-per-second.",
    ),
    Meaning(
        what="The daily limit of the key is reached",
        names=("daily_rpd_limit_exceeded", "daily_usd_limit_exceeded"),
        raised="DailyLimitError",
        charge="REJECTED",
        again="no",
        batch="the run stops; the message says when the limit ends",
        do="Run the same command again after 00:00 UTC.",
    ),
    Meaning(
        what="The service asks to try again later",
        names=("408", "425", "503", "provider_transient_error", "rate_limiter_unavailable"),
        raised="ServerError",
        charge="REJECTED",
        again="yes",
        batch="waits",
        do="If it lasts, run the same command again later.",
    ),
    Meaning(
        what="The service, or a gateway in front of it, fails",
        names=("500", "502", "504", "520", "521", "522", "523", "524"),
        raised="ServerError",
        charge='UNKNOWN, unless the text says "not charged"',
        again='only if it says "not charged"',
        batch="unknown",
        do="Compare with the account ('status DIR --account', 'settle DIR'), then decide whether to pay again.",
    ),
)
_AFTER: Final = (
    Meaning(
        what="The answer holds fewer images than requested",
        names=("missing",),
        charge="as billed",
        batch="done",
        do="`result.missing` counts them, `result.problems` says why.",
    ),
    Meaning(
        what="The answer breaks off after some whole images",
        names=("partial",),
        raised="OutcomeUnknownError",
        charge="UNKNOWN",
        batch="unknown; its images are kept",
        do="`error.partial` holds the images that arrived.",
    ),
    Meaning(
        what="The answer holds no image that can be used",
        raised="ResponseDecodeError",
        charge="CHARGED if it states a cost, else UNKNOWN",
        batch="failed or unknown",
        do="Give `error.request_id` to support.",
    ),
    Meaning(
        what="The answer holds the ID of a task instead of images",
        raised="TaskPendingError",
        charge="CHARGED if it states a cost, else UNKNOWN",
        batch="failed or unknown",
        do="Ask the service for the images of `error.task_id`.",
    ),
    Meaning(
        what="The disk is full, or the file exists or cannot be written",
        raised="OutputError",
        charge="CHARGED once the answer has begun; NOT_SENT before",
        batch="the run stops; images that were written whole stay",
        do="Make room or choose another directory; `error.partial` holds the images that arrived.",
    ),
    Meaning(
        what="A signed URL cannot be downloaded",
        raised="DownloadError",
        charge="CHARGED",
        batch="to download; the next run tries again without paying",
        do="Run the same command again within the hour that the URL lasts; once `error.expired`, the image is lost.",
    ),
)
SECTIONS: Final[Mapping[str, Sequence[Meaning]]] = {
    "Before the request leaves": _BEFORE,
    "While the request is in flight": _DURING,
    "The service refuses the request": _REFUSED,
    "The service is busy or fails": _BUSY,
    "The answer arrives, but": _AFTER,
}
"""The sections of docs/what-happens.md."""

_CODES: Final = (
    Meaning(what="Exit code: everything is done", names=("0",)),
    Meaning(
        what="Exit code: some rows failed or are unknown, or the service cannot be reached",
        names=("1",),
        do="'nanogpt-images status DIR' lists them with their charge, and prints the next command.",
    ),
    Meaning(
        what="Exit code: the options, the manifest or the model are wrong",
        names=("2",),
        charge="NOT_SENT",
        do="Correct what the error line names.",
    ),
    Meaning(
        what="Exit code: stopped at the budget",
        names=("3",),
        do="Run the same command with a higher --budget.",
    ),
    Meaning(
        what="Exit code: the key or the balance",
        names=("4",),
        do="Set NANOGPT_API_KEY or add funds, then run the same command again.",
    ),
    Meaning(
        what="Exit code: interrupted",
        names=("130",),
        do="Run the same command again; it resumes.",
    ),
    Meaning(what="No paid request was sent", names=("NOT_SENT",), charge="nothing"),
    Meaning(
        what="The service refused the request, or says that it did not charge it",
        names=("REJECTED",),
        charge="nothing",
    ),
    Meaning(
        what="The service did the work or billed it, but the answer cannot be used",
        names=("CHARGED",),
        charge="yes",
        again="never",
        do="Give the request ID to support.",
    ),
    Meaning(
        what="The request was sent and no complete answer arrived",
        names=("UNKNOWN",),
        charge="perhaps",
        again="never",
        batch="unknown; `retry --unknown` pays again",
        do="Compare with the account ('status DIR --account', 'settle DIR'), then decide whether to pay again.",
    ),
)


def explained(word: str) -> Sequence[Meaning]:
    """
    Return what *word* can mean.

    Args:
        word: Name of an error, a code of the service, an HTTP status, an exit code or a charge, in any case.

    Returns:
        Every entry of that name; for an error without an entry what its class says; empty for an unknown word.

    Source: docs/what-happens.md.
    """
    wanted = _plain(word)
    found = [
        meaning for meaning in _all() if wanted in map(_plain, (meaning.raised, *meaning.names)) and wanted
    ]
    return found or [meaning for name, meaning in _classes() if _plain(name) == wanted]


def near(word: str) -> Sequence[str]:
    """Return up to three names that are spelt like *word*."""
    known = {_plain(name): name for meaning in _all() for name in (meaning.raised, *meaning.names) if name}
    known |= {_plain(name): name for name, _ in _classes()}
    return [known[name] for name in difflib.get_close_matches(_plain(word), known, 3)]


def _plain(word: str) -> str:
    return word.strip().strip(":").rpartition(".")[2].replace("-", "_").casefold()


def _all() -> Iterator[Meaning]:
    for section in SECTIONS.values():
        yield from section
    yield from _CODES


def _classes() -> Iterator[tuple[str, Meaning]]:
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.NanoGPTError):
            words = " ".join((inspect.getdoc(kind) or name).split("\n\n")[0].split())
            yield name, Meaning(what=words.rstrip("."), raised=name, charge="`error.charge` says")
