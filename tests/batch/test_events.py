"""What the report of a batch says about its failures."""

from __future__ import annotations

import json

from nanogpt_images import BatchFailure
from nanogpt_images.batch.events import BatchEvent, BatchReport, Failures
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.states import State
from nanogpt_images.batch.units import units_of
from nanogpt_images.errors import ConnectError, ContentPolicyError, NanoGPTError
from nanogpt_images.sandbox import Fault
from nanogpt_images.types.parameters import CountRule


def ended(number: int, error: NanoGPTError | None, model: str = "m") -> BatchEvent:
    row = BatchRow("a fox", model, key=f"fox-{number}")
    (unit,) = units_of(row, CountRule(), [1])
    return BatchEvent(unit=unit, state=State.DONE if error is None else State.FAILED, error=error)


def policy(text: str) -> ContentPolicyError:
    return ContentPolicyError(text, status=400, code="content_policy_violation")


def test_failures_are_grouped_by_class_code_and_model() -> None:
    """Each group has its number and the key and text of its first request; the most frequent comes first."""
    failures = Failures()
    failures.add(ended(0, None))
    failures.add(ended(1, ConnectError("refused")))
    for number in range(2, 5):
        failures.add(ended(number, policy(f"no {number}")))
    failures.add(ended(5, policy("no 5"), model="other"))
    assert failures.report() == (
        BatchFailure(
            error="ContentPolicyError",
            code="content_policy_violation",
            model="m",
            count=3,
            key="fox-2",
            text="no 2. Nothing was charged.",
        ),
        BatchFailure(
            error="ConnectError",
            code=None,
            model="m",
            count=1,
            key="fox-1",
            text="refused. Nothing was sent.",
        ),
        BatchFailure(
            error="ContentPolicyError",
            code="content_policy_violation",
            model="other",
            count=1,
            key="fox-5",
            text="no 5. Nothing was charged.",
        ),
    )


def test_the_number_of_groups_and_their_texts_are_bounded() -> None:
    """A million rows that fail in as many ways take no more memory than fifty; all of them are counted."""
    failures = Failures()
    for number in range(1000):
        failures.add(ended(number, ConnectError("x" * 10_000), model=f"m{number}"))
    report = failures.report()
    assert len(report) == 51
    assert sum(failure.count for failure in report) == 1000
    assert (report[0].error, report[0].count) == ("Other", 950)
    assert max(len(failure.text) for failure in report) == 500


async def test_a_batch_reports_why_rows_failed(open_job) -> None:
    """`run_batch` returns the reasons, of requests and of rows that were never sent; they are JSON as well."""
    async with open_job(Fault("content_policy", prompt_contains="prompt 1")) as job:
        rows = [*job.rows(3), {"prompt": "odd", "model": "tiny-and-fast", "resolution": "9x9", "key": "odd"}]
        report: BatchReport = await job.client.run_batch(rows, out=job.out)
        found = {(failure.error, failure.code, failure.count, failure.key) for failure in report.failures}
        assert ("ParameterError", None, 1, "odd") in found
        (refused,) = [failure for failure in report.failures if failure.error == "ContentPolicyError"]
        assert (refused.code, refused.model, refused.count) == (
            "content_policy_violation",
            "tiny-and-fast",
            1,
        )
        assert "rejected by the safety system" in refused.text
        assert sum(failure.count for failure in report.failures) == report.failed == 2
        written = json.loads(json.dumps(report.to_json()))
        assert {failure["key"] for failure in written["failures"]} == {
            failure.key for failure in report.failures
        }
