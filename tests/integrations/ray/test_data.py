"""Rows out of a Parquet dataset, and results as one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio.to_thread
import pytest

from nanogpt_images.errors import JournalError
from nanogpt_images.integrations.ray import ray_batch, results_of, rows_of
from nanogpt_images.sandbox import Sandbox

pytest.importorskip("ray")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytestmark = pytest.mark.timeout(600)

MODEL = "tiny-and-fast"


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ray on this machine, with CPUs for workers and for reading."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    import ray

    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        logging_level="error",
    )
    yield
    ray.shutdown()


def write_rows(path: Path) -> None:
    path.mkdir()
    for part in range(3):
        table = pa.Table.from_pylist(
            [
                {"prompt": f"prompt {part}-{number}", "key": None, "seed": number if number % 2 else None}
                for number in range(4)
            ]
        )
        pq.write_table(table, path / f"{part}.parquet")


# Ray Data sets options of its own that it has deprecated itself.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
async def test_parquet_in_and_out(ray: None, tmp_path: Path) -> None:
    """Every row of the dataset is made once, and every line of the results is a row of the one that is written."""
    import ray.data as ray_data

    await anyio.to_thread.run_sync(write_rows, tmp_path / "rows")
    dataset = await anyio.to_thread.run_sync(ray_data.read_parquet, str(tmp_path / "rows"))
    out = tmp_path / "out"
    async with Sandbox(requests_per_second=None) as sandbox:
        async with ray_batch(
            rows_of(dataset),
            out=out,
            model=MODEL,
            keys=[sandbox.api_key],
            base_url=sandbox.url,
            concurrency=8,
        ) as run:
            await run.wait()
        assert (run.report.done, len(sandbox.ledger.billed)) == (12, 12)
    results = await anyio.to_thread.run_sync(results_of, out)
    await anyio.to_thread.run_sync(results.write_parquet, str(tmp_path / "results"))
    table = await anyio.to_thread.run_sync(partial(pq.read_table, tmp_path / "results"))
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert sorted(zip(table["prompt"].to_pylist(), table["sha256"].to_pylist(), strict=True)) == sorted(
        (line["prompt"], line["sha256"]) for line in lines
    )
    assert {text for text in table["parameters"].to_pylist() if "3" in text} == {'{"seed": 3}'}


def test_no_results(tmp_path: Path) -> None:
    """A directory without results is named in the error."""
    with pytest.raises(JournalError, match="no results"):
        results_of(tmp_path)
