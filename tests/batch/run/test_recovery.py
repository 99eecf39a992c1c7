"""Images on disk whose run was killed before its journal had them: whose they are, and which count."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest
from PIL import Image

from nanogpt_images import Charge
from nanogpt_images.batch.journal import ImageRecord, Journal, SignedUrl
from nanogpt_images.batch.outcomes import Failed, Linked
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.run.recovery import recover
from nanogpt_images.batch.states import State
from nanogpt_images.batch.units import Unit, units_of
from nanogpt_images.outputs import DirectoryStore
from nanogpt_images.types.parameters import CountRule, split_count

RULE = CountRule(1, 4)


def picture(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((37, 21), 50).convert("RGB").save(buffer, kind, **options)
    return buffer.getvalue()


PNG = picture("PNG")
FORMATS = {
    "png": (".png", PNG),
    "png with bytes after its end": (".png", PNG + b"\n<!-- served by an edge -->"),
    "jpeg": (".jpg", picture("JPEG")),
    "jpeg with bytes after its end": (".jpg", picture("JPEG") + b"\0" * 7),
    "webp": (".webp", picture("WEBP")),
    "gif": (".gif", picture("GIF")),
    "avif": (".avif", picture("AVIF")),
    "bmp": (".bmp", picture("BMP")),
    "svg": (".svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="3" height="2"/>\n'),
    "unknown": (".bin", b"a format of next year"),
}


async def interrupted(out: Path, *rows: BatchRow, links: bool = False) -> list[Unit]:
    """The units of *rows* after a process that had sent them was killed: unknown, or linked."""
    async with await Journal.open(out, service=None) as journal:
        admissions = await journal.admit([(row, RULE) for row in rows])
        for admission in admissions:
            await journal.sent(admission.unit.id, 10)
            if links:
                images = range(admission.unit.images)
                await journal.record(
                    admission.unit.id,
                    Linked(links=[SignedUrl(index=i, url="http://localhost/x") for i in images]),
                )
    (out / "images").mkdir(exist_ok=True)
    return [admission.unit for admission in admissions]


def put(out: Path, stem: str, data: bytes = PNG, suffix: str = ".png") -> str:
    (out / "images" / f"{stem}{suffix}").write_bytes(data)
    return f"images/{stem}{suffix}"


async def recovered(out: Path) -> tuple[int, list[ImageRecord], dict[State, int]]:
    """How many requests counted as done on opening, and what the journal then has."""
    async with await Journal.open(out, service=None) as journal:
        number = await recover(journal)
        images = [kept.image async for record in journal.units() for kept in record.images]
        states = (await journal.totals()).units
        return number, images, {state: count for state, count in states.items() if count}


@pytest.mark.parametrize("name", FORMATS)
async def test_a_whole_image_of_any_format_counts(tmp_path: Path, name: str) -> None:
    """Whatever the service sent and the disk has under its name is found again, byte for byte."""
    suffix, data = FORMATS[name]
    (unit,) = await interrupted(tmp_path, BatchRow("a fox", "m", key="fox"))
    file = put(tmp_path, unit.image_stem(0), data, suffix)
    number, (image,), states = await recovered(tmp_path)
    assert (number, states) == (1, {State.DONE: 1})
    assert (image.file, image.bytes, image.sha256) == (file, len(data), hashlib.sha256(data).hexdigest())


async def test_an_old_image_under_the_same_key_is_not_the_new_prompts(tmp_path: Path) -> None:
    """A key that is used again does not make yesterday's image the answer to today's prompt."""
    (old,) = await interrupted(tmp_path, BatchRow("a red fox", "m", key="fox"))
    put(tmp_path, old.image_stem(0))
    assert (await recovered(tmp_path))[0] == 1
    (new,) = await interrupted(tmp_path, BatchRow("a blue whale", "m", key="fox"))
    assert new.image_stem(0) != old.image_stem(0)
    number, images, states = await recovered(tmp_path)
    assert (number, len(images), states) == (0, 1, {State.DONE: 1, State.UNKNOWN: 1})


@pytest.mark.parametrize(
    ("count", "stems"),
    [(1, ["fox"]), (1, ["fox-0"]), (2, ["fox-0", "fox-1"]), (1, ["fox-00000000"]), (1, ["fox_2"])],
)
async def test_a_name_without_the_requests_mark_is_not_claimed(
    tmp_path: Path, count: int, stems: list[str]
) -> None:
    """Files of an older directory, or of the user's own, are nobody's: the request stays unknown."""
    await interrupted(tmp_path, BatchRow("a fox", "m", key="fox", count=count))
    for stem in stems:
        put(tmp_path, stem)
    assert await recovered(tmp_path) == (0, [], {State.UNKNOWN: 1})


async def test_identical_rows_do_not_take_each_others_images(tmp_path: Path) -> None:
    """Of three equal requests that were under way, the one whose image came is done."""
    units = await interrupted(tmp_path, *[BatchRow("a fox", "m", key="fox")] * 3)
    file = put(tmp_path, units[1].image_stem(0))
    number, images, states = await recovered(tmp_path)
    assert (number, [image.file for image in images]) == (1, [file])
    assert states == {State.DONE: 1, State.UNKNOWN: 2}
    async with await Journal.open(tmp_path, service=None) as journal:
        done = [record.unit.id async for record in journal.units() if record.state is State.DONE]
    assert done == [units[1].id]


async def test_two_requests_of_one_name_share_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should two marks ever be equal, a file under the common name counts for neither."""
    monkeypatch.setattr(Unit, "mark", property(lambda _: "0a1b2c3d"))
    one, two = await interrupted(
        tmp_path, BatchRow("a fox", "m", key="fox"), BatchRow("a whale", "m", key="fox")
    )
    assert one.image_stem(0) == two.image_stem(0)
    put(tmp_path, one.image_stem(0))
    put(tmp_path, f"{one.image_stem(0)}_2")
    assert await recovered(tmp_path) == (0, [], {State.UNKNOWN: 2})


@pytest.mark.parametrize("present", [[0], [1], []])
async def test_a_request_with_an_image_missing_stays_unknown(tmp_path: Path, present: list[int]) -> None:
    """Half of an answer is not an answer."""
    (unit,) = await interrupted(tmp_path, BatchRow("a fox", "m", key="fox", count=2))
    for index in present:
        put(tmp_path, unit.image_stem(index))
    assert await recovered(tmp_path) == (0, [], {State.UNKNOWN: 1})


async def test_more_images_than_expected_are_all_found(tmp_path: Path) -> None:
    """An answer of more images than asked for comes back with all of them."""
    (unit,) = await interrupted(tmp_path, BatchRow("a fox", "m", key="fox", count=2))
    files = [put(tmp_path, unit.image_stem(index)) for index in range(4)]
    number, images, _ = await recovered(tmp_path)
    assert (number, [image.file for image in images]) == (1, files)


async def test_a_later_attempts_image_counts_under_its_number(tmp_path: Path) -> None:
    """Where an earlier attempt's image has the name already, the new one beside it is the request's."""
    (unit,) = await interrupted(tmp_path, BatchRow("a fox", "m", key="fox", count=2))
    async with await Journal.open(tmp_path, service=None) as journal:
        await journal.reopen(unknown=True)
        async for found in journal.pending():
            await journal.sent(found.unit.id, 10)
            file = put(tmp_path, unit.image_stem(0), b"first")
            image = ImageRecord(index=0, file=file, media_type="image/png", bytes=5, sha256="0")
            await journal.record(
                found.unit.id, Failed(charge=Charge.CHARGED, error_type="E", error_text="t", images=[image])
            )
        await journal.reopen(unknown=True)
        async for found in journal.pending():
            await journal.sent(found.unit.id, 10)
    files = [put(tmp_path, f"{unit.image_stem(0)}_2"), put(tmp_path, unit.image_stem(1))]
    number, images, _ = await recovered(tmp_path)
    assert (number, [image.file for image in images[1:]]) == (1, files)


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        (".png", b""),
        (".bin", b""),
        (".png", b"\0" * 400),
        (".jpg", PNG),
        (".png", PNG[:-20]),
        (".webp", picture("WEBP")[:-5]),
        (".jpg", picture("JPEG")[:-5]),
    ],
)
async def test_what_a_power_cut_left_of_a_file_does_not_count(
    tmp_path: Path, suffix: str, data: bytes
) -> None:
    """An empty file, one of zeros or one without its end is not the image that was written."""
    (unit,) = await interrupted(tmp_path, BatchRow("a fox", "m", key="fox"))
    put(tmp_path, unit.image_stem(0), data, suffix)
    assert await recovered(tmp_path) == (0, [], {State.UNKNOWN: 1})


async def test_an_open_download_whose_file_is_there_is_done(tmp_path: Path) -> None:
    """A request that waits for its URL, and whose image had been downloaded, needs the URL no more."""
    (unit,) = await interrupted(tmp_path, BatchRow("a fox", "m", key="fox", count=3), links=True)
    files = [put(tmp_path, unit.image_stem(index)) for index in range(3)]
    number, images, states = await recovered(tmp_path)
    assert (number, [image.file for image in images], states) == (1, files, {State.DONE: 1})


async def test_what_was_recovered_is_not_recovered_again(tmp_path: Path) -> None:
    """A file that the journal has is no request's any more."""
    (unit,) = await interrupted(tmp_path, BatchRow("a fox", "m", key="fox"))
    put(tmp_path, unit.image_stem(0))
    assert [(await recovered(tmp_path))[0] for _ in range(3)] == [1, 0, 0]


async def lost_twice(out: Path, *attempts: list[str]) -> Unit:
    """A request of two images that was unknown and paid for again; each attempt kept first images as these files."""
    (unit,) = await interrupted(out, BatchRow("a fox", "m", key="fox", count=2))
    for files in attempts:
        images = [
            ImageRecord(
                index=0,
                file=put(out, f"{unit.image_stem(0)}{end}"),
                media_type="image/png",
                bytes=1,
                sha256="0",
            )
            for end in files
        ]
        async with await Journal.open(out, service=None) as journal:
            await journal.reopen(unknown=True)
            async for found in journal.pending():
                await journal.sent(found.unit.id, 10)
            failed = Failed(charge=Charge.UNKNOWN, error_type="E", error_text="lost", images=images)
            await journal.record(unit.id, failed)
    return unit


async def test_an_image_of_an_earlier_attempt_is_not_the_later_ones(tmp_path: Path) -> None:
    """A file that the journal has counts once: what the second attempt lacks is not made up of the first."""
    unit = await lost_twice(tmp_path, [""], [])
    put(tmp_path, unit.image_stem(1))
    number, images, states = await recovered(tmp_path)
    assert (number, [image.index for image in images], states) == (0, [0], {State.UNKNOWN: 1})


async def test_the_same_image_twice_is_not_two(tmp_path: Path) -> None:
    """Both attempts brought the first image of two; the second one is still missing."""
    await lost_twice(tmp_path, [""], ["_2"])
    number, images, states = await recovered(tmp_path)
    assert (number, [image.index for image in images], states) == (0, [0, 0], {State.UNKNOWN: 1})


def test_the_mark_stands_for_the_request() -> None:
    """Equal keys and indices of different requests never make equal names."""
    rows = [BatchRow("a fox", model, key="fox", seed=seed) for model in "ab" for seed in range(50)]
    units = [unit for row in rows for unit in units_of(row, RULE, split_count(row.count, RULE))]
    stems = [unit.image_stem(index) for unit in units for index in range(6)]
    assert len(set(stems)) == len(stems)


async def test_an_image_without_another_name_is_not_swept(tmp_path: Path) -> None:
    """What the journal has under the name of a temporary file, because it could get no other, stays."""
    (unit,) = await interrupted(tmp_path, BatchRow("a fox", "m", key="fox"))
    async with await Journal.open(tmp_path, service=None) as journal:
        await journal.reopen(unknown=True)
        async for found in journal.pending():
            await journal.sent(found.unit.id, 10)
        for name in (".kept.part", ".left.part"):
            (tmp_path / "images" / name).write_bytes(PNG)
            os.utime(tmp_path / "images" / name, (0, 0))
        image = ImageRecord(index=0, file="images/.kept.part", media_type="image/png", bytes=1, sha256="0")
        await journal.record(
            unit.id, Failed(charge=Charge.CHARGED, error_type="E", error_text="t", images=[image])
        )
    await recovered(tmp_path)
    assert [path.name for path in (tmp_path / "images").iterdir()] == [".kept.part"]


async def test_a_plain_start_leaves_the_files_of_one_that_joined(open_job) -> None:
    """A process that joins while another one starts loses nothing that it has begun to write."""
    async with open_job() as job:
        store = DirectoryStore(job.out / "images", lambda _index, _total: "fox")
        store.open(0).write(PNG)
        await job.run(job.rows(2))
        (image,) = store.finish([0])
        assert image.path.read_bytes() == PNG


async def test_the_folders_of_a_large_job_are_looked_into(tmp_path: Path) -> None:
    """Whole images are found in `images/00` to `images/ff`, and half-written ones are removed there; other folders are the user's."""
    fox, hare = await interrupted(
        tmp_path, BatchRow("a fox", "m", key="fox"), BatchRow("a hare", "m", key="hare")
    )
    for folder, unit in ((fox.folder, fox), ("mine", hare)):
        (tmp_path / "images" / folder).mkdir()
        put(tmp_path, f"{folder}/{unit.image_stem(0)}")
        (tmp_path / "images" / folder / ".left.part").write_bytes(PNG)
        os.utime(tmp_path / "images" / folder / ".left.part", (0, 0))
    number, images, _ = await recovered(tmp_path)
    assert (number, [image.file for image in images]) == (1, [f"images/{fox.folder}/{fox.image_stem(0)}.png"])
    assert not (tmp_path / "images" / fox.folder / ".left.part").exists()
    assert (tmp_path / "images" / "mine" / ".left.part").exists()
