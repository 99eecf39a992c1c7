"""A real job: every prompt of PartiPrompts, where the data set lies beside the checkout."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import nanogpt_images as ngi
from nanogpt_images.sandbox import Sandbox

PROMPTS = Path(__file__).parents[3] / "shared" / "data" / "PartiPrompts.tsv"

pytestmark = pytest.mark.skipif(not PROMPTS.exists(), reason="the data set is not beside the checkout")


@pytest.fixture
def prompts() -> list[str]:
    return [row.prompt for row in ngi.read_manifest(PROMPTS, model="tiny-and-fast")]


async def test_plan_and_ledger_agree_and_a_second_run_sends_nothing(
    prompts: list[str], tmp_path: Path
) -> None:
    """All 1,632 prompts become images with exactly the requests that the plan announced."""
    rows = [ngi.BatchRow(prompt, "tiny-and-fast") for prompt in prompts]
    async with Sandbox(requests_per_second=None) as sandbox:
        async with ngi.AsyncClient(sandbox.api_key, sandbox.url, requests_per_second=None) as client:
            plan = ngi.estimate(rows, await client.catalog.list())
            report = await client.run_batch(rows, out=tmp_path)
            assert (plan.rows, plan.problem_count) == (1632, 0)
            assert len(sandbox.ledger.entries) == plan.requests == report.requests == 1632
            assert sandbox.ledger.total_usd == pytest.approx(plan.cost_usd)
            again = await client.run_batch(reversed(rows), out=tmp_path)
        assert (again.requests, again.skipped) == (0, 1632)
        assert len(sandbox.ledger.posts) == 1632
        assert {entry.prompt for entry in sandbox.ledger.entries} == {row.prompt for row in rows}
    assert len(list((tmp_path / "images").iterdir())) == 1632
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 1632


@pytest.mark.parametrize(
    ("model_id", "split"), [("gpt-image-2", [4, 4, 2]), ("midjourney-like/grid", [None, None, None])]
)
async def test_ledger_shows_the_split_of_ten_images(
    model_id: str, split: list[int | None], prompts: list[str], tmp_path: Path
) -> None:
    """Ten images of each prompt are asked for as `split_count` says, on a ranged and on a fixed-count model."""
    rows = [ngi.BatchRow(prompt, model_id, count=10) for prompt in prompts[:12]]
    async with Sandbox(requests_per_second=None) as sandbox:
        async with ngi.AsyncClient(sandbox.api_key, sandbox.url, requests_per_second=None) as client:
            model = await client.catalog.get(model_id)
            report = await client.run_batch(rows, out=tmp_path)
        asked = Counter((entry.prompt, entry.n) for entry in sandbox.ledger.entries)
    assert ngi.split_count(10, model.count_rule) == split
    assert asked == Counter((row.prompt, n) for row in rows for n in split)
    assert report.images == 12 * (12 if None in split else 10)
