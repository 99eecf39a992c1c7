"""The ledger of a sandbox: what it billed for each request, and when requests arrived."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter

import attrs

from .http.responses import JsonObject


@attrs.define(kw_only=True)
class Entry:
    """
    One request accepted for generation.

    Args:
        request_id: The `X-Request-ID` of its answer.
        started: Arrival, Unix seconds.
        started_monotonic: Arrival on the sandbox's monotonic clock.
        key: A label of the key, not the key.
        route: `images` or `openai`.
        model: Model ID.
        prompt: The prompt as received.
        n: The count asked for; None when the request named none.
        images: Images drawn and billed for.
        cost_usd: Price of the images and of a moderation check.
        billed: Whether the cost was taken from the balance.
        refunded_usd: Amount refunded later.
        answered: Whether the whole answer was handed to the socket; the client may still not have read it.
        status: Status of the answer; None while the request is in progress, or if no answer was sent.
        fault: Kind of the fault that struck; None for none.
    """

    request_id: str
    started: float
    started_monotonic: float
    key: str
    route: str
    model: str
    prompt: str
    n: int | None
    images: int
    cost_usd: float
    billed: bool = False
    refunded_usd: float = 0.0
    answered: bool = False
    status: int | None = None
    fault: str | None = None


class Ledger:
    """The sandbox's own record, to compare a client's report with."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.posts: list[float] = []
        self.in_flight = 0
        self.max_in_flight = 0
        self.statuses: Counter[int] = Counter()

    @property
    def billed(self) -> list[Entry]:
        """The entries that were paid for."""
        return [entry for entry in self.entries if entry.billed]

    @property
    def total_usd(self) -> float:
        """USD billed so far."""
        return round(math.fsum(entry.cost_usd for entry in self.entries if entry.billed), 9)

    @property
    def total_images(self) -> int:
        """Images billed so far."""
        return sum(entry.images for entry in self.entries if entry.billed)

    def max_starts_in_any_second(self) -> int:
        """Count the generation POSTs in the busiest second, refused ones included."""
        arrivals = sorted(self.posts)
        return max((bisect_left(arrivals, start + 1.0) - i for i, start in enumerate(arrivals)), default=0)

    def begin(self, now: float) -> None:
        """Count a generation POST that arrived at *now*, monotonic seconds."""
        self.posts.append(now)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def end(self) -> None:
        """Count the end of a generation POST."""
        self.in_flight -= 1

    def clear(self) -> None:
        """Forget everything but the requests in progress."""
        self.entries.clear()
        self.posts.clear()
        self.statuses.clear()
        self.max_in_flight = self.in_flight

    def as_json(self, *, entries: bool = True) -> JsonObject:
        """Return the body of `GET /_sandbox/ledger`; `entries=False` leaves its list of entries empty."""
        return {
            "entries": [attrs.asdict(entry, recurse=False) for entry in self.entries] if entries else [],
            "totals": {"requests": len(self.billed), "images": self.total_images, "cost_usd": self.total_usd},
            "posts": len(self.posts),
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "max_starts_in_any_second": self.max_starts_in_any_second(),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
        }
