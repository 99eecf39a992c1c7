"""The arithmetic of a pacing window: whether a start is allowed now, and if not, when to ask again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_OPEN_POLL_S: Final = 0.005


def wait_s(starts: Sequence[float], pause_until: float, now: float, *, limit: int, window_s: float) -> float:
    """
    Return the seconds until a start may be tried again; 0.0 when it is allowed now.

    Args:
        starts: Times of earlier starts in order; one in the future is an open start, which counts as happening then.
        pause_until: End of a pause that the service asked for.
        now: The time, on the same clock.
        limit: Most starts in any window.
        window_s: Length of the window.
    """
    blocking = starts[-limit] if len(starts) >= limit else None
    if blocking is not None and blocking + window_s - now > 0:
        # An open start can end at any moment, so its full time is not slept through.
        return _OPEN_POLL_S if blocking > now else blocking + window_s - now
    return max(0.0, pause_until - now)
