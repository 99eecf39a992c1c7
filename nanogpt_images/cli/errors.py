"""An expected error → one line (or one JSON document) and the exit code."""

from __future__ import annotations

from typing import Final

import click

from ..errors import (
    AuthenticationError,
    BudgetExceededError,
    Charge,
    ConfigurationError,
    ConnectError,
    DailyLimitError,
    InsufficientBalanceError,
    JournalError,
    LedgerError,
    ManifestError,
    NanoGPTError,
    NotFoundError,
    OutputError,
    ParameterError,
    PermissionDeniedError,
    ReferenceImageError,
)
from .output import note, one_line, say_json

FAILED: Final = 1
USAGE: Final = 2
BUDGET: Final = 3
ACCOUNT: Final = 4
INTERRUPTED: Final = 130

_HINTS: Final = {
    AuthenticationError: "Check the key in NANOGPT_API_KEY, or use --sandbox, which needs none.",
    InsufficientBalanceError: "Add funds to the account, then run the same command again.",
    PermissionDeniedError: "The key is not allowed to do this; check its limits in your account.",
    ConnectError: "Check the network, and the address in --base-url or NANOGPT_BASE_URL.",
}


class NoKeyError(ConfigurationError):
    """A paid verb without a usable key."""

    _says_not_sent = True


class InterruptedRunError(NanoGPTError):
    """A signal broke the run off."""


_CODES: Final = {
    click.ClickException: USAGE,
    InterruptedRunError: INTERRUPTED,
    NoKeyError: ACCOUNT,
    AuthenticationError: ACCOUNT,
    InsufficientBalanceError: ACCOUNT,
    PermissionDeniedError: ACCOUNT,
    BudgetExceededError: BUDGET,
}
# For the caller to fix, as long as nothing was sent; a full disk in the middle of a batch is not.
_USAGE_BEFORE_SENDING: Final = (
    ConfigurationError,
    JournalError,
    LedgerError,
    ManifestError,
    NotFoundError,
    OutputError,
    ParameterError,
    ReferenceImageError,
)


def exit_code(error: Exception) -> int | None:
    """Return the exit code that *error* calls for; None for one that is not expected."""
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return code
    if not isinstance(error, NanoGPTError):
        return None
    early = error.charge is Charge.NOT_SENT and isinstance(error, _USAGE_BEFORE_SENDING)
    return USAGE if early else FAILED


def report(error: Exception, *, as_json: bool, pays: bool = True) -> int | None:
    """
    Print *error* and return its exit code.

    Args:
        error: What ended the verb.
        as_json: Print a JSON document instead of a line.
        pays: Whether the verb can send a paid request; the others do not say that none was sent.

    Returns:
        None, and nothing is printed, for an unexpected error.
    """
    code = exit_code(error)
    if code is None:
        return None
    if not pays and isinstance(error, NanoGPTError) and error.charge is Charge.NOT_SENT:
        error.says_charge = False
    if as_json:
        say_json({"error": document(error)})
    else:
        note(f"error: {sentence(error)}")
    return code


def document(error: Exception) -> dict[str, object]:
    """Return *error* as the value of `error` in `--json`."""
    charge = error.charge if isinstance(error, NanoGPTError) else Charge.NOT_SENT
    return {
        "type": type(error).__name__ if isinstance(error, NanoGPTError) else "UsageError",
        "message": message(error),
        "charge": charge.value,
        "status": getattr(error, "status", None),
        "code": getattr(error, "code", None),
        "request_id": getattr(error, "request_id", None),
        "hint": hint(error),
    }


def sentence(error: Exception) -> str:
    """Say what happened, whether money moved, and what to do next, in one line."""
    parts = [message(error)]
    request_id = getattr(error, "request_id", None)
    if request_id and request_id not in parts[0]:
        parts.append(f"Request {request_id}.")
    return " ".join([*parts, hint(error) or ""]).rstrip()


def message(error: Exception) -> str:
    """Return the error's own text in one line that ends like a sentence."""
    text = one_line(error.format_message() if isinstance(error, click.ClickException) else str(error))
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def hint(error: Exception) -> str | None:
    """Return what to do next, where the message does not say it."""
    if isinstance(error, click.UsageError):
        return None if error.ctx is None else f"See '{error.ctx.command_path} --help'."
    if isinstance(error, DailyLimitError):
        return f"Run the same command again {reset_time(error)}."
    if isinstance(error, ParameterError) and error.parameter == "n":
        return "'nanogpt-images batch --count N' splits any number into requests."
    if isinstance(error, NanoGPTError) and error.charge is Charge.UNKNOWN:
        return "Look at your account before you send it again."
    return next((text for kind, text in _HINTS.items() if isinstance(error, kind)), None)


def reset_time(error: DailyLimitError) -> str:
    """Return when a daily limit ends, as far as the service says."""
    if error.retry_after_s is None:
        return "after 00:00 UTC"
    from datetime import UTC, datetime, timedelta

    at = datetime.now(UTC) + timedelta(seconds=error.retry_after_s)
    return f"after {at:%Y-%m-%d %H:%M} UTC"
