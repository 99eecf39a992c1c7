"""The progress of a batch: a line that fits and does not jump, and `progress=True`."""

from __future__ import annotations

import pytest
from fakes import connected
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images import Client
from nanogpt_images.batch.events import BatchReport
from nanogpt_images.batch.run.progress import Meter, NotebookProgress, RunTarget
from nanogpt_images.sandbox import Sandbox


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_progress_line() -> None:
    """The line has what is done, failed and unknown, the rate, the money of the budget, and the time left."""
    clock = Clock()
    meter = Meter(RunTarget(requests=100, budget_usd=5, spent_usd=1), clock)
    clock.now = 10.0
    report = BatchReport(
        requests=20, done=17, images=40, failed=2, unknown=1, skipped=30, cost_usd=0.5, unknown_usd=0.25
    )
    assert (
        meter.line(report)
        == "47 of 100 done · 2 failed · 1 unknown · 4.0 images/s · $1.75 of $5.00 · 25 s left"
    )


def test_progress_says_by_the_pace_how_long_it_takes_until_requests_have_ended() -> None:
    """The first answers take a while, and nothing else is known before them."""
    clock = Clock()
    meter = Meter(RunTarget(requests=90_000, pace=25), clock)
    clock.now = 5.0
    assert meter.line(BatchReport()).endswith(" · at least 1 h left")
    assert "left" not in Meter(RunTarget(requests=90_000), clock).line(BatchReport())
    clock.now = 10.0
    assert meter.line(BatchReport(requests=50, done=50)).endswith(" · 4 h 59 min left")


def test_progress_tells_what_throttles() -> None:
    """What keeps requests back stands at the end of the line."""
    meter = Meter(RunTarget(requests=None), Clock())
    line = meter.line(BatchReport(requests=1, done=1, images=1), "7 of 10 at once after 503")
    assert line.endswith(" · 7 of 10 at once after 503")


def test_progress_follows_the_latest_rate() -> None:
    """The rate is that of the last half minute, not of the whole run."""
    clock = Clock()
    meter = Meter(RunTarget(requests=None), clock)
    for second in range(1, 101):
        clock.now = float(second)
        line = meter.line(BatchReport(requests=min(second, 50), images=min(second, 50)))
    assert "0.0 images/s" in line


BUSY = BatchReport(
    requests=1_234, done=1_210, images=2_400, failed=17, unknown=7, cost_usd=12.3456, unknown_usd=0.0007
)
REASON = "paused for 12 s, 44 of 64 at once after 429 rate_limit_exceeded"


def busy_meter() -> Meter:
    """A meter of a run of ten minutes that has a budget and 2,000 requests."""
    clock = Clock()
    meter = Meter(RunTarget(requests=2_000, budget_usd=20), clock)
    clock.now = 600.0
    return meter


@given(st.integers(min_value=30, max_value=200), st.sampled_from(["", "paused for 3 s after 503", REASON]))
def test_a_progress_line_fits(width: int, reason: str) -> None:
    """At any width the line fits, begins with what is done, and a reason keeps its first words."""
    line = busy_meter().line(BUSY, reason, width=width)
    assert len(line) <= width
    assert line.startswith("1,210 of 2,000 done")
    last = line.rpartition(" · ")[2]
    assert not reason or width < 70 or reason.startswith(last.rstrip("…"))


@pytest.mark.parametrize(
    ("width", "reason", "line"),
    [
        (
            120,
            "",
            "1,210 of 2,000 done · 17 failed · 7 unknown · 4.0 images/s · $12.3463 of $20.00 · 6 min 12 s left",
        ),
        (85, "", "1,210 of 2,000 done · 17 failed · 7 unknown · $12.3463 of $20.00 · 6 min 12 s left"),
        (72, "", "1,210 of 2,000 done · 17 failed · 7 unknown · $12.3463 · 6 min 12 s left"),
        (55, "", "1,210 of 2,000 done · 17 failed · 7 unknown · $12.3463"),
        (
            75,
            REASON,
            "1,210 of 2,000 done · 17 failed · 7 unknown · $12.3463 · paused for 12 s…",
        ),
    ],
)
def test_what_a_narrow_progress_line_leaves_out(width: int, reason: str, line: str) -> None:
    """The rate goes first, then the cap, then the time left; what is done and what it cost stay."""
    assert busy_meter().line(BUSY, reason, width=width) == line


def test_amounts_of_a_progress_line_keep_their_digits() -> None:
    """Once a price had four digits after the point, later amounts have them too: the line does not jump."""
    meter = Meter(RunTarget(requests=None), Clock())
    texts = [
        meter.line(BatchReport(cost_usd=cost)).rpartition("$")[2] for cost in (0.5, 0.5055, 0.51, 12.0, 123.5)
    ]
    assert texts == ["0.50", "0.5055", "0.5100", "12.0000", "123.5000"]


def rows(number: int) -> list[dict[str, object]]:
    """Rows of one request each."""
    return [{"prompt": f"prompt {i}", "model": "tiny-and-fast", "count": 1} for i in range(number)]


async def test_a_batch_with_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no terminal is, the last numbers stay on stderr; without `progress` nothing is written."""
    async with connected() as (client, _):
        await client.run_batch(rows(3))
        assert capsys.readouterr().err == ""
        await client.run_batch(rows(3), progress=True)
        assert capsys.readouterr().err.startswith("3 of 3 done · ")


def test_the_blocking_client_shows_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    """The option is that of the async client."""
    with (
        Sandbox.in_thread(requests_per_second=None) as service,
        Client(service.api_key, service.url) as client,
    ):
        client.run_batch(rows(2), progress=True)
    assert capsys.readouterr().err.startswith("2 of 2 done · ")


async def test_the_number_of_requests_is_known_from_the_rows(open_job) -> None:
    """A list says how many rows there are, a generator does not."""
    async with open_job() as job:
        async with job.client.batch(job.rows(5), out=job.out) as run:
            await run.wait()
        assert run.expected_requests == 5
        async with job.client.batch(iter(job.rows(5))) as run:
            await run.wait()
        assert run.expected_requests is None


def test_a_notebook_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar has the numbers as its value and maximum; texts are escaped."""
    shown: list[str] = []
    progress = NotebookProgress(RunTarget(requests=None))
    monkeypatch.setattr("IPython.display.HTML", lambda text: text)
    monkeypatch.setattr(progress._display, "display", lambda text, display_id: Handle(shown))
    with progress:
        progress.show(BatchReport(requests=3, done=3), "after <503>", 3)
    assert shown == ['<progress max="3" value="3"></progress> 3 of 3 done · $0.00 · after &lt;503&gt;']


class Handle:
    """A place in a notebook's output."""

    def __init__(self, shown: list[str]) -> None:
        self.update = shown.append
