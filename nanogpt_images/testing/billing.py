"""Assert what the sandbox billed."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Final

from ..sandbox import BlockingSandbox, Entry, Sandbox

_POLL_S: Final = 0.005


def assert_billed(
    sandbox: BlockingSandbox | Sandbox,
    *,
    requests: int | None = None,
    images: int | None = None,
    usd: float | None = None,
    settle_s: float = 2.0,
) -> None:
    """
    Assert that the sandbox billed exactly these amounts; an argument that is left out is not checked.

    Args:
        sandbox: The fixture `nanogpt_sandbox`, or another sandbox.
        requests: Billed requests.
        images: Billed images.
        usd: US dollars, compared to a nano-dollar.
        settle_s: Seconds to wait until a sandbox in a thread has finished its open requests, such as one whose
            client disconnected.

    Raises:
        AssertionError: The ledger differs; the text lists its entries.
        ValueError: None of requests, images and usd is given.
    """
    __tracebackhide__ = True
    if requests is None and images is None and usd is None:
        raise ValueError("assert_billed needs at least one of requests, images and usd.")
    ledger = sandbox.ledger
    if isinstance(sandbox, BlockingSandbox):
        deadline = time.monotonic() + settle_s
        while ledger.in_flight and time.monotonic() < deadline:
            time.sleep(_POLL_S)
    counts = (("requests", requests, len(ledger.billed)), ("images", images, ledger.total_images))
    wrong = [
        f"{name}: expected {expected}, billed {actual}"
        for name, expected, actual in counts
        if expected not in (None, actual)
    ]
    if usd is not None and not math.isclose(usd, ledger.total_usd, rel_tol=0, abs_tol=1e-9):
        wrong.append(f"usd: expected {usd:.9g}, billed {ledger.total_usd:.9g}")
    if wrong:
        raise AssertionError(
            "\n".join([*wrong, *_story(ledger.entries, len(ledger.posts), ledger.in_flight)])
        )


def _story(entries: Sequence[Entry], posts: int, in_flight: int) -> list[str]:
    """Describe the entries of the ledger, for the reader of a failed test."""
    head = f"The sandbox received {posts} generation POST(s), accepted {len(entries)}"
    lines = [f"{head}; {in_flight} still in progress." if in_flight else f"{head}."]
    for number, entry in enumerate(entries, 1):
        paid = f"billed ${entry.cost_usd:.9g}" if entry.billed else "not billed"
        answer = "no answer" if entry.status is None else f"answered {entry.status}"
        fault = "" if entry.fault is None else f", fault {entry.fault}"
        lines.append(
            f"  {number}. {entry.model} n={entry.n} {entry.prompt[:40]!r}: {entry.images} image(s), {paid}, {answer}{fault}"
        )
    return lines
