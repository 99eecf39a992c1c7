"""A journal read from end to end."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from nanogpt_images.batch.journal import ImageRecord, Journal, UnitRecord
from nanogpt_images.batch.outcomes import Done, Failed
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.states import State
from nanogpt_images.errors import Charge
from nanogpt_images.types.parameters import CountRule

MakeImage = Callable[..., ImageRecord]


async def listed(out: Path, chunk: int) -> list[UnitRecord]:
    async with await Journal.open(out, service=None, read_only=True) as journal:
        return [record async for record in journal.units(chunk=chunk)]


async def fill(out: Path, image: MakeImage) -> None:
    """Three rows: done, failed with one image kept and not sent."""
    rows = [(BatchRow(key, "m", count=2, key=key), CountRule(maximum=2)) for key in ("fox", "hare", "owl")]
    async with await Journal.open(out, service=None) as journal:
        fox, hare, _ = await journal.admit(rows)
        await journal.sent(fox.unit.id, 100)
        await journal.record(
            fox.unit.id, Done(images=[image("fox-0"), image("fox-1", 1)], cost_nano=81, request_id="r-1")
        )
        await journal.sent(hare.unit.id, 100)
        await journal.record(
            hare.unit.id,
            Failed(
                charge=Charge.CHARGED,
                error_type="DownloadError",
                error_text="one is gone",
                images=[image("hare-0")],
                cost_nano=90,
            ),
        )


async def test_units_come_with_their_images(out: Path, image: MakeImage) -> None:
    """Every unit comes once, in order, with its state, its images and their costs, whatever the chunk."""
    await fill(out, image)
    for chunk in (1, 2, 500):
        fox, hare, owl = await listed(out, chunk)
        assert [record.unit.row.key for record in (fox, hare, owl)] == ["fox", "hare", "owl"]
        assert [record.state for record in (fox, hare, owl)] == [State.DONE, State.FAILED, State.PENDING]
        assert [(kept.image.file, kept.cost_nano) for kept in fox.images] == [
            ("images/fox-0.png", 41),
            ("images/fox-1.png", 40),
        ]
        assert (fox.request_id, fox.cost_nano, fox.charge, fox.attempts) == ("r-1", 81, None, 1)
        assert (hare.error_type, hare.error_text, hare.charge) == (
            "DownloadError",
            "one is gone",
            Charge.CHARGED,
        )
        assert [kept.image.file for kept in hare.images] == ["images/hare-0.png"]
        assert owl.images == ()


async def test_what_is_under_way_is_not_unknown(out: Path) -> None:
    """While its process lives, a unit that was sent is under way and nothing else."""
    async with await Journal.open(out, service=None) as journal:
        (admission,) = await journal.admit([(BatchRow("a", "m"), CountRule())])
        await journal.sent(admission.unit.id, 100)
        (record,) = await listed(out, 10)
        assert (record.state, record.cost_nano) == (State.SENT, 100)


async def test_what_a_dead_process_sent_is_unknown(out: Path) -> None:
    """What a process had under way when it died is listed as unknown, although nothing has recorded that yet."""
    journal = await Journal.open(out, service=None)
    (admission,) = await journal.admit([(BatchRow("a", "m"), CountRule())])
    await journal.sent(admission.unit.id, 100)
    await journal.aclose()

    with sqlite3.connect(out / "journal.db") as connection:
        connection.execute("UPDATE unit SET state = 'sent', charge = ''")
        connection.execute("UPDATE process SET ended_at = NULL")
    connection.close()
    (record,) = await listed(out, 10)
    assert (record.state, record.charge) == (State.UNKNOWN, Charge.UNKNOWN)
