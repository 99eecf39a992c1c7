"""`export`."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from nanogpt_images.sandbox import BlockingSandbox

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
