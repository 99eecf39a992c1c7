"""What a test expects to have been paid for, against the sandbox's ledger."""

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
    Fail unless the sandbox billed exactly this. What is left out is not looked at.

    Args:
        sandbox: The fixture `nanogpt_sandbox`, or any other sandbox.
        requests: Paid requests.
        images: Images drawn and billed for.
        usd: US dollars, to a nano-dollar.
        settle_s: How long a sandbox in a thread may take to end what it is still at work on, such as a
            request whose client has gone.

    Raises:
        AssertionError: The ledger says something else; the text shows it, line by line.
        ValueError: Nothing is expected.
    """
    __tracebackhide__ = True
    if requests is None and images is None and usd is None:
        raise ValueError("assert_billed needs at least one of requests, images and usd.")
    ledger = sandbox.ledger
    if isinstance(sandbox, BlockingSandbox):
        deadline = time.monotonic() + settle_s
        while ledger.in_flight and time.monotonic() < deadline:
            time.sleep(_POLL_S)
    billed = ledger.billed
    wrong = [
        f"{name}: expected {expected}, billed {actual}"
        for name, expected, actual in (
            ("requests", requests, len(billed)),
            ("images", images, ledger.total_images),
        )
        if expected is not None and expected != actual
    ]
    if usd is not None and not math.isclose(usd, ledger.total_usd, rel_tol=0, abs_tol=1e-9):
        wrong.append(f"usd: expected {usd:.9g}, billed {ledger.total_usd:.9g}")
    if wrong:
        raise AssertionError(
            "\n".join([*wrong, *_story(ledger.entries, len(ledger.posts), ledger.in_flight)])
        )


def _story(entries: Sequence[Entry], posts: int, in_flight: int) -> list[str]:
    """What happened, as the one who reads a failed test needs it."""
    head = f"The sandbox received {posts} generation POST(s), accepted {len(entries)}"
    lines = [f"{head}; {in_flight} still at work." if in_flight else f"{head}."]
    for number, entry in enumerate(entries, 1):
        paid = f"billed ${entry.cost_usd:.9g}" if entry.billed else "not billed"
        answer = "no answer" if entry.status is None else f"answered {entry.status}"
        fault = "" if entry.fault is None else f", fault {entry.fault}"
        lines.append(
            f"  {number}. {entry.model} n={entry.n} {entry.prompt[:40]!r}: {entry.images} image(s), {paid}, {answer}{fault}"
        )
    return lines
