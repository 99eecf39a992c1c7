"""Checks before a generation: the key, the rate limit, concurrency and daily limits."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, deque
from collections.abc import Mapping

from ..http.refusals import Refusal, refuse
from ..settings import SandboxOptions

DAY_S = 86_400
_UUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
# Assumption: the service accepts `sk-nano-<uuid>` and bare UUIDs; the sandbox accepts any longer `sk-nano-` key.
_WELL_FORMED = re.compile(rf"sk-nano-[A-Za-z0-9_-]{{4,}}|{_UUID}")


def key_of(headers: Mapping[str, str], expected: str | None) -> str:
    """
    Return the key of a request, from `Authorization: Bearer` or `x-api-key`.

    Raises:
        Refusal: 401, the key is missing, malformed or not *expected*.
    """
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    if not key:
        message = "Missing API key. Send Authorization: Bearer <key> or x-api-key."
        raise refuse(401, "missing_api_key", message, error_type="authentication_error")
    if key != expected if expected else not _WELL_FORMED.fullmatch(key):
        raise refuse(401, "invalid_api_key", "Invalid API key provided.", error_type="authentication_error")
    return key


def label_of(key: str) -> str:
    """Return a short hash of *key* that is safe to store and show."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


class Limiter:
    """Counts generations per key: in a sliding second, in progress, and per UTC day."""

    def __init__(self, options: SandboxOptions) -> None:
        self._options = options
        self._at_work: Counter[str] = Counter()
        self.clear()

    def clear(self) -> None:
        """Reset every count except the requests in progress."""
        self._starts: dict[str, deque[float]] = {}
        self._day = -1
        self._day_requests: Counter[str] = Counter()
        self._day_usd: dict[str, float] = {}

    def start(self, key: str) -> None:
        """
        Count one generation of *key*; call `finish` after each successful start.

        Raises:
            Refusal: 429 with `Retry-After`, for the limit that was reached.
        """
        self._new_day()
        self._check_day(key)
        self._check_second(key)
        at_work = self._options.concurrency
        if at_work is not None and self._at_work[key] >= at_work:
            raise per_second_refusal("Too many concurrent requests.")
        self._at_work[key] += 1
        self._day_requests[key] += 1

    def finish(self, key: str, cost_usd: float) -> None:
        """Count the end of a generation, and *cost_usd* towards the daily limit."""
        self._at_work[key] -= 1
        self._day_usd[key] = self._day_usd.get(key, 0.0) + cost_usd

    def _check_second(self, key: str) -> None:
        rate = self._options.requests_per_second
        if rate is None:
            return
        now = self._options.monotonic()
        starts = self._starts.setdefault(key, deque())
        # A rate below one per second stretches the window instead of allowing a fraction of a request.
        allowed, window_s = (int(rate), 1.0) if rate >= 1 else (1, 1.0 / rate)
        while starts and now - starts[0] >= window_s:
            starts.popleft()
        if len(starts) >= allowed:
            raise per_second_refusal(f"Rate limit exceeded: {rate:g} requests per second.")
        starts.append(now)

    def _check_day(self, key: str) -> None:
        requests, usd = self._options.daily_requests, self._options.daily_usd
        if requests is not None and self._day_requests[key] >= requests:
            raise self.daily_refusal(
                "daily_rpd_limit_exceeded", f"Daily limit of {requests} requests reached."
            )
        if usd is not None and self._day_usd.get(key, 0.0) >= usd:
            raise self.daily_refusal("daily_usd_limit_exceeded", f"Daily limit of ${usd:g} reached.")

    def _new_day(self) -> None:
        day = int(self._options.clock() // DAY_S)
        if day != self._day:
            self._day = day
            self._day_requests.clear()
            self._day_usd.clear()

    def daily_refusal(self, code: str, message: str) -> Refusal:
        """Return a 429 whose `Retry-After` ends at 00:00 UTC."""
        wait_s = max(1, int(DAY_S - self._options.clock() % DAY_S))
        headers = {"Retry-After": str(wait_s)}
        return refuse(429, code, message, error_type="rate_limit_error", headers=headers)


def per_second_refusal(message: str) -> Refusal:
    """Return a 429 with `Retry-After: 1`."""
    headers = {"Retry-After": "1"}
    return refuse(429, "rate_limit_exceeded", message, error_type="rate_limit_error", headers=headers)
