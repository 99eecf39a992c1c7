"""The file of picks, and what a retry of it makes again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nanogpt_images import AsyncClient, ParameterError
from nanogpt_images.batch.journal import Journal, UnitRecord
from nanogpt_images.batch.manifest.picks import FORMAT, read_picks
from nanogpt_images.batch.states import State
from nanogpt_images.sandbox import Fault, Sandbox

ROWS = [{"prompt": f"fox {number}", "model": "gpt-image-2", "key": f"fox-{number}"} for number in range(4)]


def write(path: Path, picks: object, **fields: object) -> Path:
    path.write_text(json.dumps({"format": FORMAT, "picks": picks, **fields}))
    return path


async def units(out: Path) -> dict[str | None, UnitRecord]:
    async with await Journal.open(out, service=None, read_only=True) as journal:
        return {record.unit.row.key: record async for record in journal.units()}


def test_kept_and_again(tmp_path: Path) -> None:
    """1 to 5 keep an image; x asks for a request again, with or without an image."""
    picks = [
        {"pick": "5", "file": "images/a.png", "request": "1"},
        {"pick": "x", "file": "images/b.png", "request": "2"},
        {"pick": "x", "file": None, "request": "3"},
    ]
    found = read_picks(write(tmp_path / "picks.json", picks))
    assert found.kept == {"images/a.png": 5}
    assert found.again == {"2", "3"}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "[" * 100_000,
        "\udcff",
        '{"picks": []}',
        json.dumps({"format": FORMAT}),
        json.dumps({"format": FORMAT, "picks": {}}),
        json.dumps({"format": FORMAT, "picks": [7]}),
        json.dumps({"format": FORMAT, "picks": [{"pick": "6", "file": "a"}]}),
        json.dumps({"format": FORMAT, "picks": [{"pick": "x", "file": "a"}]}),
        json.dumps({"format": FORMAT, "picks": [{"pick": 5, "file": "a"}]}),
        json.dumps({"format": FORMAT, "picks": [{"pick": "5", "request": "a"}]}),
    ],
)
def test_what_a_gallery_did_not_save(tmp_path: Path, content: str) -> None:
    """Any other file is refused in one line that says where the file comes from."""
    file = tmp_path / "picks.json"
    file.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ParameterError, match=r"cannot be read as picks.*Nothing was sent.*Save picks"):
        read_picks(file)


def test_no_file(tmp_path: Path) -> None:
    """A missing file and a directory are told from a wrong one."""
    with pytest.raises(ParameterError, match="No such file"):
        read_picks(tmp_path / "none.json")
    with pytest.raises(ParameterError, match="directory"):
        read_picks(tmp_path)


async def test_a_picked_retry_pays_for_what_is_picked_and_nothing_else(tmp_path: Path) -> None:
    """A done and a failed request are sent once more; the old image stays, and another failure waits."""
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        async with AsyncClient(sandbox.api_key, base_url=sandbox.url, requests_per_second=None) as client:
            sandbox.set_faults(
                Fault("content_policy", prompt_contains="x 2"), Fault("content_policy", prompt_contains="x 3")
            )
            await client.run_batch(ROWS, out=out)
            before = await units(out)
            assert [before[f"fox-{n}"].state for n in range(4)] == [State.DONE] * 2 + [State.FAILED] * 2
            sandbox.set_faults()
            sent, spent = len(sandbox.ledger.posts), sandbox.ledger.total_usd
            again = [before["fox-0"], before["fox-2"]]
            picks = write(
                tmp_path / "picks.json",
                [{"pick": "x", "file": None, "request": record.unit.id} for record in again],
            )
            async with client.retry_batch(out, picked=picks) as run:
                keys = {event.key async for event in run}
            assert keys == {"fox-0", "fox-2"}
            assert len(sandbox.ledger.posts) == sent + 2
    after = await units(out)
    assert [after[f"fox-{n}"].state for n in range(4)] == [State.DONE] * 3 + [State.FAILED]
    old, new = (out / kept.image.file for kept in after["fox-0"].images)
    assert old.is_file()
    assert new.is_file()
    assert old != new
    async with await Journal.open(out, service=None, read_only=True) as journal:
        totals = await journal.totals()
        assert totals.spent_usd == pytest.approx(sandbox.ledger.total_usd)
        assert totals.spent_usd > spent


async def test_picks_of_another_batch(tmp_path: Path) -> None:
    """Requests that the journal does not know are refused before anything is sent."""
    out = tmp_path / "out"
    picks = write(tmp_path / "picks.json", [{"pick": "x", "file": None, "request": "0" * 32}])
    async with Sandbox() as sandbox:
        async with AsyncClient(sandbox.api_key, base_url=sandbox.url, requests_per_second=None) as client:
            await client.run_batch(ROWS[:1], out=out)
            with pytest.raises(ParameterError, match="1 of 1 picked requests are not in"):
                async with client.retry_batch(out, picked=picks):
                    pass
            assert len(sandbox.ledger.posts) == 1
