"""`results.jsonl` says what the journal says, whatever happened to either."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fakes import unmarked

from nanogpt_images.batch.journal import ImageRecord, Journal
from nanogpt_images.batch.journal import results as results_file
from nanogpt_images.batch.journal.database.processes import Processes
from nanogpt_images.batch.outcomes import Done, Failed
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.errors import Charge
from nanogpt_images.types.parameters import CountRule

MakeImage = Callable[..., ImageRecord]


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text(encoding="utf-8").splitlines()]


async def run(out: Path, image: MakeImage, key: str = "fox") -> None:
    """One row of four images, in two requests."""
    row = BatchRow("ein Fuchs — 🦊", "m", count=4, key=key, resolution="1k")
    async with await Journal.open(out, service=None) as journal:
        for admission in await journal.admit([(row, CountRule(maximum=2))]):
            unit = admission.unit
            await journal.sent(unit.id, 100_000_000)
            images = [image(unit.image_stem(index), index) for index in range(2)]
            await journal.record(unit.id, Done(images=images, cost_nano=80_000_000, request_id="r-1"))


async def test_a_line_per_image(out: Path, image: MakeImage) -> None:
    """Each image has its line, with all the documented fields and the index within its row."""
    await run(out, image)
    found = lines(out)
    stem = Path(found[3]["file"]).stem
    assert unmarked(stem) == "fox-3"
    assert [line["index"] for line in found] == [0, 1, 2, 3]
    assert found[3] == {
        "key": "fox",
        "index": 3,
        "prompt": "ein Fuchs — 🦊",
        "model": "m",
        "parameters": {"resolution": "1k"},
        "row": None,
        "metadata": {},
        "file": f"images/{stem}.png",
        "media_type": "image/png",
        "width": 8,
        "height": 6,
        "bytes": len(stem),
        "sha256": image(stem, 1).sha256,
        "cost_usd": 0.04,
        "request_id": "r-1",
    }


@pytest.mark.parametrize("harm", ["missing", "short", "torn", "longer"])
async def test_a_lagging_file_is_mended_at_the_next_start(out: Path, image: MakeImage, harm: str) -> None:
    """A crash between commit and append, or a hand that edits the file, is put right from the journal."""
    await run(out, image)
    path = out / "results.jsonl"
    before = path.read_bytes()
    rows = before.splitlines(keepends=True)
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes({"short": b"".join(rows[:2]), "torn": before[:-9], "longer": before + b"{}\n"}[harm])
    await (await Journal.open(out, service=None)).aclose()
    assert path.read_bytes() == before


async def test_zeros_of_a_power_cut_are_replaced(out: Path, image: MakeImage) -> None:
    """A machine that went down with the batch can leave the list with its size and without its last bytes."""
    await run(out, image)
    path = out / "results.jsonl"
    before = path.read_bytes()
    with closing(sqlite3.connect(out / "journal.db")) as database, database:
        database.execute("INSERT INTO process (token, pid, host, started_at) VALUES ('1-dead', 1, 'h', 1)")
    path.write_bytes(before[:-9].ljust(len(before), b"\0"))
    await (await Journal.open(out, service=None)).aclose()
    assert path.read_bytes() == before


async def test_a_list_is_on_the_disk_before_its_process_leaves(
    out: Path, image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut after the end of a batch takes nothing of its list: no later run would look for a gap."""
    order: list[object] = []
    sync, leave = results_file.sync_files, Processes.leave

    def left(members: Processes) -> bool:
        order.append("left")
        return leave(members)

    monkeypatch.setattr(results_file, "sync_files", lambda files: (order.extend(files), sync(files)))
    monkeypatch.setattr(Processes, "leave", left)
    await run(out, image)
    assert order == [out / "results.jsonl", "left"]


async def test_the_costs_of_images_add_up_to_what_was_paid(out: Path, image: MakeImage) -> None:
    """What cannot be shared evenly goes to the first images, and nothing is lost."""
    row = BatchRow("a fox", "m", count=3, key="fox")
    async with await Journal.open(out, service="s") as journal:
        (found,) = await journal.admit([(row, CountRule(maximum=3))])
        await journal.sent(found.unit.id, 200)
        images = [image(f"fox-{index}", index) for index in range(3)]
        await journal.record(found.unit.id, Done(images=images, cost_nano=200))
    assert [round(line["cost_usd"] * 1e9) for line in lines(out)] == [67, 67, 66]


async def test_an_intact_file_is_left_alone(out: Path, image: MakeImage) -> None:
    """A file that agrees with the journal is not rewritten, and goes on growing."""
    await run(out, image)
    inode = (out / "results.jsonl").stat().st_ino
    await run(out, image, key="hare")
    assert (out / "results.jsonl").stat().st_ino == inode
    assert [line["key"] for line in lines(out)] == ["fox"] * 4 + ["hare"] * 4


async def test_a_failed_append_is_mended_at_the_end(
    out: Path, image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When lines cannot be written the outcome is recorded all the same, and the file is complete in the end."""
    real, calls = results_file.append, []

    def failing(directory: Path, added: list[bytes]) -> bool:
        calls.append(added)
        return real(directory, added) if len(calls) != 1 else False

    monkeypatch.setattr(results_file, "append", failing)
    await run(out, image)
    assert [line["index"] for line in lines(out)] == [0, 1, 2, 3]


async def test_while_others_work_nothing_is_rewritten(out: Path, image: MakeImage) -> None:
    """A process that joins does not replace the file under the one that appends to it."""
    async with await Journal.open(out, service=None) as journal:
        first, second = await journal.admit([(BatchRow("a", "m", count=2, key="k"), CountRule())])
        await journal.sent(first.unit.id, 1)
        await journal.record(first.unit.id, Done(images=[image("k-0")]))
        with (out / "results.jsonl").open("ab") as file:
            file.write(b"\n")
        inode = (out / "results.jsonl").stat().st_ino
        await (await Journal.open(out, service=None, join=True)).aclose()
        assert (out / "results.jsonl").stat().st_ino == inode
        await journal.sent(second.unit.id, 1)
        await journal.record(second.unit.id, Done(images=[image("k-1")]))
    await (await Journal.open(out, service=None)).aclose()
    assert [line["file"] for line in lines(out)] == ["images/k-0.png", "images/k-1.png"]


async def test_what_a_failure_saved_is_listed(out: Path, image: MakeImage) -> None:
    """Images of a charged failure have their lines, and keep them after a retry."""
    async with await Journal.open(out, service=None) as journal:
        (admission,) = await journal.admit([(BatchRow("a", "m", count=2, key="k"), CountRule(maximum=2))])
        unit = admission.unit
        await journal.sent(unit.id, 100)
        await journal.record(
            unit.id,
            Failed(
                charge=Charge.CHARGED,
                error_type="E",
                error_text="one of two",
                images=[image("k-0")],
                cost_nano=90,
            ),
        )
        await journal.reopen(unknown=True)
        async for again in journal.pending():
            await journal.sent(again.unit.id, 100)
            await journal.record(again.unit.id, Done(images=[image("k-0-2"), image("k-1", 1)], cost_nano=80))
    assert [line["file"] for line in lines(out)] == ["images/k-0.png", "images/k-0-2.png", "images/k-1.png"]
    assert [line["cost_usd"] for line in lines(out)] == [90e-9, 40e-9, 40e-9]
