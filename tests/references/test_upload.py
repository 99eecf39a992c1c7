"""Input images of edits: checked first, streamed from the disk, and never sent once they have changed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import tracemalloc
from pathlib import Path

import pytest
from pictures import large, mask, plain

import nanogpt_images as ngi
from nanogpt_images.references.upload import FormBody, InputFile, load_uploads
from nanogpt_images.types.model import Model, ReferenceLimits
from nanogpt_images.wire.multipart import FormFile, form_pieces

MODEL = Model(id="m", references=ReferenceLimits(max_items=4, max_bytes=1000, formats=("png",), max_width=64))


async def body_of(request: ngi.EditRequest, model: Model | None = None) -> FormBody:
    return (await load_uploads(request, model)).form({"prompt": request.prompt}, "b")


async def joined(body: FormBody) -> bytes:
    return b"".join([chunk async for chunk in body.chunks()])


async def test_every_form_of_an_image_is_sent_as_its_bytes(tmp_path: Path) -> None:
    """A file, bytes and a data URL give the same parts; a link goes as text, and none is encoded."""
    file = tmp_path / "my private name.png"
    file.write_bytes(plain())
    data_url = f"data:image/png;base64,{base64.b64encode(plain()).decode()}"
    request = ngi.EditRequest(prompt="a", image=[file, plain(), data_url, "https://example.com/a.png"])
    uploads = await load_uploads(request, MODEL)
    body = uploads.form({}, "b")
    sent = await joined(body)
    assert sent.count(plain()) == 3
    assert b'name="image[]"\r\n\r\nhttps://example.com/a.png\r\n' in sent
    assert b"private" not in sent
    assert len(sent) == body.size
    assert uploads.digests == (hashlib.sha256(plain()).hexdigest(),) * 3
    assert await joined(body) == sent


def test_fields_of_a_form() -> None:
    """Text goes as it is, other values as JSON, None is left out, and no name breaks out of its quotes."""
    fields = {"prompt": "a\r\n--b", "n": 2, "none": None, "flag": True, 'x"\r\n': "y"}
    pieces = form_pieces(fields, [FormFile(name="image", content=b"DATA", filename="0.png")], "b")
    text = b"".join(pieces).decode()
    assert 'name="n"\r\n\r\n2\r\n' in text
    assert 'name="flag"\r\n\r\ntrue\r\n' in text
    assert 'name="x%22%0D%0A"' in text
    assert "none" not in text
    assert text.endswith("DATA\r\n--b--\r\n")
    with pytest.raises(ngi.ParameterError, match="cannot be written"):
        form_pieces({"n": {1}}, [], "b")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"image": []}, "there is no image to edit"),
        ({"image": [plain()] * 5}, "at most 4"),
        ({"image": b"text"}, "is not a PNG"),
        ({"image": b""}, "it is empty"),
        ({"image": plain((65, 1))}, "at most 64x"),
        ({"image": plain() + b"\0" * 1000}, "at most 1,000 per image"),
        ({"image": "gone.png"}, "No such file"),
        ({"image": os.curdir}, "not a regular file"),
        ({"image": plain(), "mask": mask((3, 3))}, "the mask is 3x3 pixels and the image 64x48"),
        ({"image": plain(), "mask": b"text"}, "mask is not a PNG"),
    ],
)
async def test_what_is_refused_before_anything_is_sent(fields: dict, said: str) -> None:
    """One clear line for each kind of bad input."""
    with pytest.raises((ngi.ParameterError, ngi.ReferenceImageError), match=said) as caught:
        await load_uploads(ngi.EditRequest(prompt="a", **fields), MODEL)
    assert "Nothing was sent." in str(caught.value)
    assert caught.value.charge is ngi.Charge.NOT_SENT


@pytest.mark.parametrize("change", ["rewritten", "replaced", "longer", "gone"])
async def test_a_file_that_changed_before_it_is_sent(tmp_path: Path, change: str) -> None:
    """Not a byte leaves of a body whose file is no longer the one that was checked."""
    file = tmp_path / "in.png"
    file.write_bytes(plain())
    body = await body_of(ngi.EditRequest(prompt="a", image=file))
    if change == "rewritten":
        file.write_bytes(plain()[::-1])
        os.utime(file, ns=(0, 0))
    elif change == "replaced":
        (tmp_path / "new").write_bytes(plain())
        (tmp_path / "new").replace(file)
    elif change == "longer":
        with file.open("ab") as opened:
            opened.write(b"x")
    else:
        file.unlink()
    with pytest.raises(ngi.ReferenceImageError, match="Nothing was sent") as caught:
        await anext(body.chunks())
    assert caught.value.charge is ngi.Charge.NOT_SENT


async def test_a_file_that_changes_behind_its_times_is_not_completed(tmp_path: Path) -> None:
    """Where only the bytes tell, the last of them are held back and the outcome is not known."""
    file = tmp_path / "in.png"
    file.write_bytes(plain())
    body = await body_of(ngi.EditRequest(prompt="a", image=file))
    times = file.stat()
    with file.open("r+b") as opened:
        opened.write(b"\0")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    sent: list[bytes] = []

    async def send() -> None:
        async for chunk in body.chunks():
            sent.append(chunk)

    with pytest.raises(ngi.ReferenceImageError, match="broken off before its end") as caught:
        await send()
    assert sum(map(len, sent)) < body.size
    assert caught.value.charge is ngi.Charge.UNKNOWN
    assert isinstance(body.pieces[1], InputFile)


async def test_a_large_file_is_not_held_in_memory(tmp_path: Path) -> None:
    """Checking and streaming 16 MB takes a few pieces of them, and no base64."""
    file = await asyncio.to_thread(large, tmp_path / "in.png", 16_000_000)
    tracemalloc.start()
    try:
        body = await body_of(ngi.EditRequest(prompt="a", image=file))
        sent = 0
        async for chunk in body.chunks():
            sent += len(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent == body.size > 15_000_000
    assert peak < 5_000_000
