"""`export`."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from nanogpt_images.sandbox import BlockingSandbox, Fault, Sandbox

from ..conftest import Run


def test_export(run: Run, service: BlockingSandbox, tmp_path: Path, manifest: Path) -> None:
    """A batch becomes a file; a second time it says that the file exists; removed images are told of."""
    run("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "--no-pacing", "--base-url", service.url)
    done = run("export", "out", "--to", "parquet", "--embed-images")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("out/export.parquet  8 images  ")
    assert pq.read_table(tmp_path / "out" / "export.parquet").num_rows == 8
    again = run("export", "out", "--to", "parquet")
    assert again.code == 2
    assert "--overwrite" in again.err
    (hares,) = (tmp_path / "out" / "images").glob("hares-*.png")
    hares.unlink()
    shards = run("export", "out", "--to", "webdataset", "-o", "shards", "--json")
    assert shards.code == 1
    assert (shards.document["path"], shards.document["images"], shards.document["missing"]) == (
        "shards",
        7,
        1,
    )


def test_export_of_no_batch(run: Run) -> None:
    """A directory without a batch is an error in one line."""
    done = run("export", "nowhere", "--to", "csv")
    assert done.code == 2
    assert "nowhere is not a batch directory" in done.err


def test_export_of_failed_rows(run: Run, tmp_path: Path) -> None:
    """What failed becomes a manifest that `plan` reads; what is to be exported has to be said, once."""
    (tmp_path / "p.txt").write_text("a fox\na bad fox\n")
    with Sandbox.in_thread(
        requests_per_second=None, faults=[Fault("content_policy", prompt_contains="bad")]
    ) as service:
        args = ("p.txt", "-m", "tiny-and-fast", "-o", "out", "--no-pacing", "--no-gallery")
        assert run("batch", *args, "--base-url", service.url).code == 1
        done = run("export", "out", "--failed")
        assert done.out.startswith("out/failed.jsonl  1 failed row  ")
        assert run("plan", "out/failed.jsonl", "--base-url", service.url).out.startswith(
            "out/failed.jsonl: 1 row,"
        )
    for wrong in ((), ("--failed", "--to", "csv")):
        assert "--to FORMAT or --failed" in run("export", "out", *wrong).err
