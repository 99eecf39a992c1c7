"""Images that go to a store: nothing leaves the disk before the journal says where it is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import anyio
import pytest
from fakes import PNG
from recorders import FakeRecorder, ImageRecord

from nanogpt_images.batch.outcomes import Done, Failed, Linked, Postponed, Refused, Repeated
from nanogpt_images.batch.run.objects import ObjectStorage
from nanogpt_images.batch.run.uploading import Uploading
from nanogpt_images.errors import Charge, JournalError, OutputError

pytest.importorskip("obstore")
DIGEST = hashlib.sha256(PNG).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An image that waits in the batch's directory."""
    path = tmp_path / "out" / "images" / "fox.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(PNG)
    return path


@pytest.fixture
def recorder() -> FakeRecorder:
    return FakeRecorder()


@pytest.fixture
def uploading(tmp_path: Path, recorder: FakeRecorder) -> Uploading:
    """Uploads into a directory of this machine, by URL."""
    return Uploading(recorder, ObjectStorage((tmp_path / "store").as_uri()), tmp_path / "out")


def image(sha256: str = DIGEST) -> ImageRecord:
    return ImageRecord(index=0, file="images/fox.png", media_type="image/png", bytes=len(PNG), sha256=sha256)


async def tell(uploading: Uploading, what: str, kept: ImageRecord) -> None:
    """Record an outcome that has one image."""
    outcomes = {
        "done": Done(images=[kept]),
        "linked": Linked(links=[], images=[kept]),
        "failed": Failed(charge=Charge.UNKNOWN, error_type="E", error_text="t", images=[kept]),
    }
    await uploading.record("a1", outcomes[what])


OUTCOMES = pytest.mark.parametrize("what", ["done", "linked", "failed"])


@OUTCOMES
async def test_a_file_goes_once_its_outcome_is_recorded(
    uploading: Uploading, recorder: FakeRecorder, file: Path, what: str
) -> None:
    """While the journal is being written both copies are there; then the object alone."""
    seen: list[bool] = []

    async def watch() -> None:
        seen.append(await anyio.Path(file).exists())

    recorder.watch = watch
    await tell(uploading, what, image())
    assert (seen, await anyio.Path(file).exists()) == ([True], False)
    (told,) = recorder.told
    (stored,) = told["images"]
    assert await anyio.Path(stored.file.removeprefix("file://")).read_bytes() == PNG


@OUTCOMES
async def test_a_file_stays_where_its_outcome_cannot_be_recorded(
    uploading: Uploading, recorder: FakeRecorder, file: Path, what: str
) -> None:
    """Nothing would say where the image is: the next run finds it in the directory."""
    recorder.fails[what] = JournalError("full")
    with pytest.raises(JournalError):
        await tell(uploading, what, image())
    assert await anyio.Path(file).read_bytes() == PNG


@OUTCOMES
async def test_nothing_is_recorded_that_did_not_arrive(
    uploading: Uploading, recorder: FakeRecorder, file: Path, what: str
) -> None:
    """What can be read from the store is not what came: the file stays, and the request is not done."""
    with pytest.raises(OutputError, match="another digest"):
        await tell(uploading, what, image(sha256="0" * 64))
    assert recorder.told == []
    assert await anyio.Path(file).read_bytes() == PNG


async def test_steps_without_images_are_handed_on(uploading: Uploading, recorder: FakeRecorder) -> None:
    """What is about to be sent, and what was refused, goes to the journal as it is."""
    await uploading.sent("a1", 5, cap_nano=9)
    for outcome in (Refused(), Repeated(), Postponed(error_type="E", error_text="t")):
        await uploading.record("a1", outcome)
    assert recorder.names == ["sent", "refused", "repeated", "postponed"]
