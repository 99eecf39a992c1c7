"""Inline moderation: a check of the prompt on request of a header, charged whatever its result."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from .http.refusals import Refusal, refuse
from .http.responses import JsonObject, json_answer

FLAGGED = "[flagged]"
"""A prompt that contains this text violates the policy."""
MODERATION_USD = 0.0002
_DEFAULT_MODEL = "omni-moderation-latest"
_ON = frozenset({"true", "1", "yes", "on"})
_OFF = frozenset({"", "false", "0", "no", "off"})


@attrs.frozen(kw_only=True)
class Moderation:
    """The result of a check, and its price."""

    model: str
    flagged: bool
    cost_usd: float = MODERATION_USD

    @property
    def headers(self) -> dict[str, str]:
        """The headers that report the check, in a success and in a refusal."""
        start = "x-nanogpt-inline-moderation"
        return {
            f"{start}-model": self.model,
            f"{start}-flagged": str(self.flagged).lower(),
            f"{start}-cost-usd": str(self.cost_usd),
        }

    def refusal(self) -> Refusal:
        """Return the 400 for a flagged prompt; it charges for the check, not for the generation."""
        message = "The request was blocked by inline moderation."
        error: JsonObject = {
            "message": message,
            "type": "invalid_request_error",
            "code": "content_policy_violation",
            "param": "prompt",
        }
        check: JsonObject = {
            "id": "modr-sandbox",
            "model": self.model,
            "results": [{"flagged": True, "categories": {"violence": True}}],
            "usage": {"total_tokens": 7},
        }
        return Refusal(json_answer({"error": error, "moderation": check}, status=400, headers=self.headers))


def moderated(headers: Mapping[str, str], prompt: str) -> Moderation | None:
    """
    Return the check that *headers* ask for; None if they ask for none.

    Raises:
        Refusal: 400, the headers name two models, or the prompt is empty.
    """
    asked = headers.get("moderation", "").strip()
    if asked.lower() in _OFF:
        return None
    chosen = headers.get("moderation-model", "").strip()
    named = "" if asked.lower() in _ON else asked
    if named and chosen and named != chosen:
        message = "moderation and moderation-model name different models."
        raise refuse(400, "conflicting_moderation_model", message, route="openai")
    if not prompt.strip():
        raise refuse(400, "empty_moderation_input", "There is nothing to moderate.", route="openai")
    return Moderation(model=named or chosen or _DEFAULT_MODEL, flagged=FLAGGED in prompt)
