"""Whether the service accepts anything at all: careful first steps, single probes after refusals, then a stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import attrs

_FIRST: Final = 12
_PROBING: Final = 8
_PATIENCE: Final = 20
_YOUNG_S: Final = 1.0


@attrs.define(eq=False)
class Post:
    """
    One POST, from the right to send it to its answer.

    Attributes:
        left_at: When it left; None before.
        probe: It was sent to find out whether the service takes requests again.
    """

    left_at: float | None = None
    probe: bool = False


class Load:
    """
    Counts refusals for load (429, and 503 without a charge) in a row. Bound to one event loop.

    Until the service has taken a request, at most 12 are at risk of being refused together; a POST that has had no
    answer for a second counts as taken. After 8 refusals in a row POSTs go one by one, each after the pause that
    the last refusal asked for. After 20 in a row the service refuses everything; where it has taken requests before,
    8 single ones must be among them, so that one refused burst does not stop the batch.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._in_a_row = 0
        self._probes = 0
        self._began_at = float("-inf")
        self._taken = False
        self._paused_until = float("-inf")
        self._posts: set[Post] = set()
        self._changed = asyncio.Event()

    @property
    def in_a_row(self) -> int:
        """Refusals since the service last took a request."""
        return self._in_a_row

    @property
    def hopeless(self) -> bool:
        """Whether the service refuses everything."""
        return self._in_a_row >= _PATIENCE and (not self._taken or self._probes >= _PROBING)

    async def permit(self) -> Post:
        """Wait until another POST may leave, and count it as one at risk. `left` and `answered` follow."""
        while (wait_s := self.wait_s()) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                pass
        post = Post(probe=self._in_a_row >= _PROBING)
        self._posts.add(post)
        return post

    def wait_s(self) -> float:
        """Return the seconds until it is worth asking again; 0.0 where a POST may leave now."""
        if self._taken and self._in_a_row < _PROBING:
            return 0.0
        now = self._clock()
        at_risk = [post for post in self._posts if post.left_at is None or post.left_at + _YOUNG_S > now]
        self._taken = self._taken or len(at_risk) < len(self._posts)
        if self._in_a_row >= _PROBING:
            allowed = 1
        elif self._taken:
            return 0.0
        else:
            allowed = min(_FIRST, _PATIENCE - self._in_a_row)
        if len(at_risk) >= allowed:
            return min((post.left_at or now) + _YOUNG_S - now for post in at_risk)
        return max(0.0, self._paused_until - now)

    def pause(self, seconds: float) -> None:
        """Note a pause for all requests, also for those that have waited for the pace already."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    def left(self, post: Post) -> None:
        """Note that *post* leaves now."""
        if post.left_at is None:
            post.left_at = self._clock()

    def answered(self, post: Post, *, refused: bool | None) -> None:
        """Note whether *post* was *refused* for load; None where nothing tells. Further calls do nothing."""
        if post not in self._posts:
            return
        self._posts.discard(post)
        self._changed.set()
        if refused:
            if self._in_a_row == 0:
                self._began_at = self._clock() if post.left_at is None else post.left_at
            self._in_a_row += 1
            self._probes += post.probe
        elif refused is not None:
            self._taken = True
            # An answer to what left long before the refusals began says nothing about now.
            if post.left_at is None or post.left_at > self._began_at - _YOUNG_S:
                self._in_a_row = self._probes = 0
