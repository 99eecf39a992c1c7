"""Batches of edits: from rows, from columns and from a folder, killed and resumed."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import connected
from pictures import mask, plain

import nanogpt_images as ngi
from nanogpt_images.sandbox import Sandbox

MODEL = "restyle"
EDITS = 200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "photos"
    made.mkdir()
    for name in ("b.png", "a.PNG"):
        (made / name).write_bytes(plain())
    (made / "notes.txt").write_text("no image")
    (made / ".hidden.png").write_bytes(plain())
    (made / "deeper").mkdir()
    return made


async def rows_of(path: str | Path, **fields: Any) -> Iterator[ngi.BatchRow]:
    return await asyncio.to_thread(ngi.read_manifest, path, **fields)


async def test_rows_of_all_kinds(tmp_path: Path) -> None:
    """A row with `route: edit` sends its image and its mask, and its files tell the parent."""
    (tmp_path / "in.png").write_bytes(plain())
    (tmp_path / "mask.png").write_bytes(mask())
    common = {"prompt": "a hat", "model": MODEL, "route": "edit", "image": str(tmp_path / "in.png")}
    rows = [
        common,
        {**common, "mask": tmp_path / "mask.png", "key": "masked"},
        {**common, "image": [common["image"]] * 2, "count": 2, "response_format": "url"},
        {**common, "image": str(tmp_path / "gone.png"), "key": "gone"},
        {**common, "image": [], "key": "none"},
    ]
    async with connected() as (client, sandbox):
        estimate = ngi.estimate(rows, await client.catalog.list())
        assert (estimate.requests, estimate.problem_count) == (4, 1)
        report = await client.run_batch(rows, out=tmp_path / "out", provenance=True, budget_usd=1)
        assert (report.done, report.failed, report.images) == (3, 2, 4)
        assert {entry.route for entry in sandbox.ledger.billed} == {"edit"}
        assert report.cost_usd == pytest.approx(sandbox.ledger.total_usd)
        again = await client.run_batch(rows, out=tmp_path / "out")
        assert len(sandbox.ledger.billed) == 3
        assert (again.done, again.failed) == (0, 2)
    files = list((tmp_path / "out" / "images").iterdir())
    records = [await asyncio.to_thread(ngi.read_provenance, file) for file in files]
    parent = hashlib.sha256(plain()).hexdigest()
    assert {record.parents for record in records if record} == {
        (parent,),
        (),  # what is downloaded later does not know its parents
    }


async def test_a_column_image(tmp_path: Path) -> None:
    """A CSV names the image of each row, as a path or as a JSON list of them."""
    (tmp_path / "in.png").write_bytes(plain())
    image = str(tmp_path / "in.png")
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["prompt", "image", "route"], ["a hat", image, "edit"], ["b", json.dumps([image] * 2), "edit"]]
        )
    async with connected() as (client, sandbox):
        report = await client.run_batch(await rows_of(tmp_path / "rows.csv", model=MODEL))
        assert (report.done, len(sandbox.ledger.billed)) == (2, 2)


async def test_a_folder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image of a folder is edited once, wherever the batch is started from, and names its files."""
    monkeypatch.chdir(folder.parent)
    fields = {"model": MODEL, "defaults": {"prompt": "a hat"}}
    async with connected() as (client, sandbox):
        rows = await rows_of("photos", **fields)
        assert [(row.key, row.route) for row in await rows_of(folder, **fields)] == [
            ("a", "edit"),
            ("b", "edit"),
        ]
        assert (await client.run_batch(rows, out=tmp_path / "out")).done == 2
        monkeypatch.chdir(folder)
        assert (await client.run_batch(await rows_of("../photos", **fields), out=tmp_path / "out")).done == 0
        assert len(sandbox.ledger.billed) == 2
    assert sorted(path.name[0] for path in (tmp_path / "out" / "images").iterdir()) == ["a", "b"]


def test_a_folder_without_images(tmp_path: Path) -> None:
    """One clear line, and nothing is sent."""
    with pytest.raises(
        ngi.ManifestError, match=r"has neither images nor .parquet files in it.*Nothing was sent"
    ):
        list(ngi.read_manifest(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_200_edits_killed_and_resumed(tmp_path: Path, number: signal.Signals) -> None:
    """No edit is paid for twice. After an interrupt all are paid for once; after a kill all that are not unknown."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for each in range(EDITS):
        (photos / f"{each:03}.png").write_bytes(plain())
    command = [sys.executable, "-m", "nanogpt_images", "batch", str(photos), "-m", MODEL, "--prompt", "a hat"]
    command += ["-o", str(tmp_path / "out"), "--no-gallery", "--quiet", "--json", "--no-pacing"]
    with Sandbox.in_thread(requests_per_second=None, latency_s=0.02) as sandbox:
        environment = {**os.environ, "NANOGPT_API_KEY": sandbox.api_key, "NANOGPT_BASE_URL": sandbox.url}
        with subprocess.Popen(
            [*command, "--concurrency", "4"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            while len(sandbox.ledger.billed) < EDITS // 4 and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(number)
            process.communicate()
        assert EDITS // 4 <= len(sandbox.ledger.billed) < EDITS
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        report = json.loads(done.stdout)
        unknown = report["unknown"] + report["unresolved"]
        assert EDITS - unknown <= len(sandbox.ledger.billed) <= EDITS
        if number is signal.SIGINT:
            assert (unknown, len(sandbox.ledger.billed)) == (0, EDITS)
        assert unknown <= 4
