"""What the inline moderation of a request may cost, so that a budget can set it aside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ...money.nano import to_nano
from ...wire.failures import moderation_usd

# Assumption: the price is documented nowhere; until an answer tells it, this much is set aside.
ASSUMED_USD: Final = 0.0002
_OFF: Final = frozenset({"", "false", "0", "no", "off"})


class ModerationPrice:
    """
    The price of a check, which the service charges on top of an image and also when it blocks the request.

    Args:
        headers: The client's own; one of them asks for the check.

    Source: docs/service.md, "Inline moderation".
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        named = {name.lower(): value.strip().lower() for name, value in headers.items()}
        self._asked = named.get("moderation", "") not in _OFF
        self._seen_nano: int | None = None

    @property
    def reserve_nano(self) -> int:
        """Nano-USD to set aside for a request: the most that a check was seen to cost; 0 where none is asked for."""
        if not self._asked:
            return 0
        return to_nano(ASSUMED_USD) if self._seen_nano is None else self._seen_nano

    def observe(self, headers: Mapping[str, str]) -> None:
        """Take note of what an answer's headers say that its check cost."""
        if (usd := moderation_usd(headers)) is not None:
            self._seen_nano = max(to_nano(usd), self._seen_nano or 0)
