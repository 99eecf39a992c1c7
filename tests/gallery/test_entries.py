"""A request as JSON values."""

from __future__ import annotations

from fakes import unmarked

from nanogpt_images.batch.journal import Journal, UnitRecord
from nanogpt_images.errors import Charge
from nanogpt_images.gallery.entries import card_count, request_entry
from nanogpt_images.gallery.thumbnails import Thumbnail

from .conftest import MakeJob, Row, picture


async def records(make_job: MakeJob, *rows: Row) -> list[UnitRecord]:
    out = await make_job(rows)
    async with await Journal.open(out, service=None, read_only=True) as journal:
        return [record async for record in journal.units()]


async def test_everything_known_of_an_image(make_job: MakeJob) -> None:
    """A done request has its prompt, parameters, cost and IDs, and each image its file, size and share of the cost."""
    (record,) = await records(
        make_job, Row(prompt="a fox", fields={"key": "fox", "count": 2, "seed": 7, "resolution": "1k"})
    )
    entry = request_entry(record, [Thumbnail(file="t.webp"), Thumbnail(fault="broken")])
    first, second = entry.pop("images")  # type: ignore[misc]
    assert entry.pop("took_s") == round(record.took_s or 0, 1)
    assert entry == {
        "id": record.unit.id,
        "at": round(record.updated_at),
        "name": "fox",
        "key": "fox",
        "prompt": "a fox",
        "model": "gpt-image-2",
        "route": "images",
        "parameters": {"seed": 7, "resolution": "1k"},
        "n": 2,
        "state": "done",
        "cost_usd": 0.04,
        "request_id": "req-0",
    }
    assert (first["index"], unmarked(first["file"]), first["cost_usd"]) == (0, "images/fox-0.png", 0.02)
    assert (first["width"], first["height"], first["type"]) == (48, 32, "image/png")
    assert first["thumbnail"] == "t.webp"
    assert second["fault"] == "broken"
    assert "thumbnail" not in second


async def test_why_there_is_no_image(make_job: MakeJob) -> None:
    """A failure says what went wrong and what is known about the money."""
    (record,) = await records(make_job, Row(prompt="a fox", ending=Charge.REJECTED))
    entry = request_entry(record, [])
    assert (entry["state"], entry["charge"]) == ("failed", "rejected")
    assert (entry["error"], entry["reason"]) == ("ContentPolicyError", "it went wrong: a fox")


async def test_cards(make_job: MakeJob) -> None:
    """There is a card for each image and one for what did not come; what is not sent has none."""
    found = await records(
        make_job,
        Row(prompt="two", fields={"count": 2}),
        Row(prompt="failed", ending=Charge.UNKNOWN),
        Row(prompt="half", ending=Charge.CHARGED, files=[picture()], fields={"count": 2}),
        Row(prompt="open", ending="linked"),
        Row(prompt="later", ending="pending"),
    )
    assert [card_count(record) for record in found] == [2, 1, 2, 1, 0]


async def test_no_bulk_and_no_signed_url(make_job: MakeJob) -> None:
    """A reference image is cut to its beginning, and a signed URL is not on the page."""
    data = "data:image/png;base64," + "A" * 100_000
    parameters = {"imageDataUrl": data, "input_references": [{"image_url": data}]}
    (record,) = await records(make_job, Row(prompt="a", ending="linked", fields=parameters))
    text = str(request_entry(record, []))
    assert "data:image/png;base64,AAAA" in text
    assert "100,022 characters" in text
    assert len(text) < 1_000
    assert "files.invalid" not in text


async def test_what_a_row_came_with(make_job: MakeJob) -> None:
    """Columns that are not sent are on the page, with the row's number where it has one."""
    (record,) = await records(
        make_job, Row(prompt="a", fields={"metadata": {"Category": "Animals", "x": [1]}})
    )
    entry = request_entry(record, [Thumbnail(file="t.webp")])
    assert entry["metadata"] == {"Category": "Animals", "x": [1]}
    assert "Category" not in entry["parameters"]  # type: ignore[operator]
