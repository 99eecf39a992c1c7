"""Records in image files: written without touching a pixel, read back, undone where they do not fit."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tracemalloc
from pathlib import Path

import attrs
import pytest
from exiftool import TERMS, needs_exiftool, tags_of
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nanogpt_images import GenerateRequest, OpenAIRequest, Provenance, read_provenance
from nanogpt_images.errors import OutputError
from nanogpt_images.outputs import DirectoryStore, ReceivedImage

RECORD = Provenance(
    prompt='ein Fuchs 🦊 im <Schnee> & "Eis" \u0000\u0007 ]]>\nzweite Zeile',
    model="gpt-image-2",
    parameters={"resolution": "1024x1024", "n": 2, "style": {"a": [1, None, "ü"]}},
    seed=7,
    request_id="req_1",
    service="https://nano-gpt.com",
)


def picture(kind: str, *, mode: str = "RGB", size: tuple[int, int] = (61, 47), **options: object) -> bytes:
    made = Image.effect_noise(size, 90).convert(mode)
    if mode == "RGBA":
        made.putalpha(Image.linear_gradient("L").resize(size))
    file = io.BytesIO()
    made.save(file, kind, **options)
    return file.getvalue()


EXIF = Image.Exif()
EXIF[0x010E] = "a description"
PICTURES = {
    "png": picture("PNG"),
    "png-alpha": picture("PNG", mode="RGBA"),
    "png-palette": picture("PNG", mode="P"),
    "png-small": picture("PNG", mode="1", size=(1, 1)),
    "jpeg": picture("JPEG"),
    "jpeg-progressive": picture("JPEG", progressive=True, mode="L"),
    "jpeg-exif": picture("JPEG", exif=EXIF, comment=b"a comment"),
    "webp": picture("WEBP"),
    "webp-odd": picture("WEBP", quality=3, size=(33, 35)),
    "webp-lossless": picture("WEBP", lossless=True),
    "webp-alpha": picture("WEBP", mode="RGBA"),
    "webp-lossless-alpha": picture("WEBP", mode="RGBA", lossless=True),
    "webp-exif": picture("WEBP", exif=EXIF),
    "webp-small": picture("WEBP", size=(1, 1)),
}


def store(directory: Path, data: bytes, *, piece: int = 1000, record: Provenance = RECORD) -> ReceivedImage:
    made = DirectoryStore(
        directory, lambda index, total: "fox", overwrite=True, digest=True, provenance=record
    )
    sink = made.open(0, record.request_id)
    for start in range(0, len(data), piece):
        sink.write(data[start : start + piece])
    (stored,) = made.finish([0])
    assert [path.name for path in directory.iterdir()] == [stored.path.name]
    return stored


def pixels(data: bytes) -> tuple[str, tuple[int, int], bytes]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.mode, image.size, image.tobytes()


@pytest.mark.parametrize("piece", [1, 7, 64, 10**9])
@pytest.mark.parametrize("name", PICTURES)
def test_a_record_is_written_and_read_back(tmp_path: Path, name: str, piece: int) -> None:
    """Every format keeps its pixels, tells its record, and is booked with the digest of the file on disk."""
    data = PICTURES[name]
    stored = store(tmp_path, data, piece=piece)
    written = stored.path.read_bytes()
    assert stored.problem is None
    assert read_provenance(stored.path) == RECORD
    assert pixels(written) == pixels(data)
    assert (stored.size_bytes, stored.sha256) == (len(written), hashlib.sha256(written).hexdigest())
    with Image.open(io.BytesIO(data)) as image:
        assert (stored.info.width, stored.info.height) == image.size


@pytest.mark.parametrize("name", ["jpeg-exif", "webp-exif"])
def test_other_metadata_stays(tmp_path: Path, name: str) -> None:
    """EXIF that the service wrote is still there, and where readers look for it."""
    written = store(tmp_path, PICTURES[name]).path.read_bytes()
    with Image.open(io.BytesIO(written)) as image:
        assert image.getexif()[0x010E] == "a description"


@pytest.mark.parametrize(("name", "flag"), [("webp-lossless-alpha", 0x10), ("webp-lossless", 0), ("webp", 0)])
def test_the_extended_header_of_a_webp_tells_of_transparency(tmp_path: Path, name: str, flag: int) -> None:
    """Where the header is new, its flags say what the picture has: transparency, and XMP."""
    written = store(tmp_path, PICTURES[name]).path.read_bytes()
    assert (written[12:16], written[20]) == (b"VP8X", 0x04 | flag)


def test_pillow_shows_the_texts_of_a_png(tmp_path: Path) -> None:
    """The prompt stands under the keyword that the PNG specification has for it."""
    with Image.open(store(tmp_path, PICTURES["png"]).path) as image:
        assert image.text["Description"] == 'ein Fuchs 🦊 im <Schnee> & "Eis"  ]]>\nzweite Zeile'
        assert image.text["Software"] == f"nanogpt_images {RECORD.version}"
        assert json.loads(image.text["nanogpt_images"])["seed"] == 7


@needs_exiftool
@pytest.mark.parametrize("name", ["png", "jpeg", "jpeg-exif", "webp", "webp-lossless-alpha", "webp-exif"])
def test_exiftool_agrees(tmp_path: Path, name: str) -> None:
    """ExifTool finds the prompt and the program, and nothing wrong that was not wrong before."""
    path = store(tmp_path, PICTURES[name]).path
    before = path.with_name(f"before{path.suffix}")
    before.write_bytes(PICTURES[name])
    fields, fields_before = tags_of(path, before)
    assert fields["DigitalSourceType"] == f"{TERMS}trainedAlgorithmicMedia"
    assert fields["Description"] == RECORD.description
    assert RECORD.software in (fields.get("Software"), fields.get("CreatorTool"))
    assert fields["Validate"] == fields_before["Validate"]
    assert fields.get("Warning") == fields_before.get("Warning")


@needs_exiftool
@pytest.mark.parametrize("name", ["jpeg", "webp", "png"])
def test_a_record_survives_other_programs(tmp_path: Path, name: str) -> None:
    """What ExifTool writes anew still holds the record."""
    path = store(tmp_path, PICTURES[name]).path
    subprocess.run(["exiftool", "-q", "-XMP-dc:Creator=somebody", path], check=True, timeout=60)
    assert read_provenance(path) == RECORD


DAMAGED = {
    "png cut short": PICTURES["png"][:-5],
    "png without its end": PICTURES["png"][:-12],
    "png cut in the picture": PICTURES["png"][:300],
    "png with more behind it": PICTURES["png"] + b"\0",
    "png with a wrong header": PICTURES["png"][:20] + b"?" + PICTURES["png"][21:],
    "png with a wrong chunk": PICTURES["png"].replace(b"IDAT", b"I\x00AT"),
    "png signature": PICTURES["png"][:8],
    "jpeg cut short": PICTURES["jpeg"][:-1],
    "jpeg cut in a table": PICTURES["jpeg"][:100],
    "jpeg with a wrong segment": PICTURES["jpeg"][:20] + b"??" + PICTURES["jpeg"][22:],
    "jpeg beginning": PICTURES["jpeg"][:3],
    "webp cut short": PICTURES["webp"][:-3],
    "webp with more behind it": PICTURES["webp"] + b"more",
    "webp with a wrong header": PICTURES["webp"][:23] + b"???" + PICTURES["webp"][26:],
    "webp with a wrong size": PICTURES["webp-alpha"][:4] + b"\xf0\x00" + PICTURES["webp-alpha"][6:],
    "jpeg with xmp of its own": picture("JPEG", xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"),
    "webp with xmp of its own": picture("WEBP", xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"),
    "jpeg that never comes to the point": b"\xff\xd8" + b"\xff\xe1\xff\xffExif\0\0".ljust(65537, b"\0") * 6,
    "gif": picture("GIF", mode="P"),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="3" height="2"></svg>',
    "something": b"who knows" * 100,
    "nothing much": b"?",
}


@pytest.mark.parametrize("piece", [1, 64, 10**9])
@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_unfit_is_left_as_it_came(tmp_path: Path, name: str, piece: int) -> None:
    """A damaged image, or one without a place for a record, is stored byte for byte, with a word on why."""
    data = DAMAGED[name]
    # A byte at a time through what is large shows no more than some thousand pieces of it.
    stored = store(tmp_path, data, piece=max(piece, len(data) // 4096))
    assert stored.path.read_bytes() == data
    assert (stored.size_bytes, stored.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert stored.problem.startswith("image 0 has no provenance in it: ")
    assert read_provenance(stored.path) is None


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(["png", "jpeg", "webp", "webp-alpha"]),
    at=st.integers(0, 400),
    change=st.binary(min_size=1, max_size=6),
    cut=st.integers(0, 40),
)
def test_any_damage_is_either_carried_or_left_alone(
    tmp_path_factory: pytest.TempPathFactory, name: str, at: int, change: bytes, cut: int
) -> None:
    """Whatever arrives, the file holds what arrived: with a record in it, or as it came."""
    data = PICTURES[name]
    data = data[:at] + change + data[at + len(change) : len(data) - cut]
    stored = store(tmp_path_factory.mktemp("any"), data, piece=97)
    written = stored.path.read_bytes()
    if stored.problem is not None:
        assert written == data
    else:
        assert read_provenance(stored.path) == RECORD


def test_a_full_disk_at_the_undoing_keeps_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an unfit image cannot be copied back, the paid image is kept with the superfluous text."""
    made = DirectoryStore(tmp_path, lambda index, total: "fox", digest=True, provenance=RECORD)
    made.open(0).write(DAMAGED["png cut short"])
    assert made.is_slow([0])
    monkeypatch.setattr("nanogpt_images._base.part_file._PIECE_BYTES", 64)
    write, calls = os.write, []

    def full(fd: int, data: bytes) -> int:
        calls.append(data)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", full)
    (stored,) = made.finish([0])
    assert "it keeps the text that was added" in stored.problem
    assert stored.path.read_bytes().endswith(DAMAGED["png cut short"][33:])
    assert stored.sha256 == hashlib.sha256(stored.path.read_bytes()).hexdigest()
    assert os.listdir(tmp_path) == [stored.path.name]


def test_only_unfit_images_are_slow(tmp_path: Path) -> None:
    """A sound image needs no copy at its end, one that lacks its end does."""
    made = DirectoryStore(tmp_path, lambda index, total: f"fox-{index}", provenance=RECORD)
    made.open(0).write(PICTURES["webp"])
    made.open(1).write(PICTURES["webp"][:-1])
    assert (made.is_slow([0]), made.is_slow([0, 1])) == (False, True)
    made.finish([0, 1])
    assert (tmp_path / "fox-1.webp").read_bytes() == PICTURES["webp"][:-1]
    assert read_provenance(tmp_path / "fox-0.webp") == attrs.evolve(RECORD, request_id=None)


@pytest.mark.parametrize("kind", ["png", "webp", "jpeg"])
def test_memory_does_not_grow_with_the_image(tmp_path: Path, kind: str) -> None:
    """Twelve megabytes pass without a copy of them in memory."""
    size = 12 * 2**20
    head, tail = {
        "png": (PICTURES["png"][:33] + size.to_bytes(4, "big") + b"IDAT", b"\0\0\0\0" + PICTURES["png"][-12:]),
        "jpeg": (PICTURES["jpeg"][:-2], b"\xff\xd9"),
        "webp": (
            b"RIFF" + (PICTURES["webp"].__len__() + size).to_bytes(4, "little") + PICTURES["webp"][8:]
            + b"JUNK" + size.to_bytes(4, "little"),
            b"",
        ),
    }[kind]  # fmt: skip
    made = DirectoryStore(tmp_path, lambda index, total: "fox", digest=True, provenance=RECORD)
    piece = bytes(64 * 1024)
    tracemalloc.start()
    try:
        sink = made.open(0)
        sink.write(head)
        for _ in range(size // len(piece)):
            sink.write(piece)
        if tail:
            sink.write(tail)
        assert not made.is_slow([0])
        (stored,) = made.finish([0])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert stored.problem is None
    assert stored.size_bytes > size
    assert peak < 2**20


def test_a_prompt_too_long_for_a_jpeg(tmp_path: Path) -> None:
    """A segment holds 64 kB: a long prompt stands in it once, a longer one leaves the image as it is."""
    long = attrs.evolve(RECORD, prompt="fox " * 10_000)
    assert read_provenance(store(tmp_path, PICTURES["jpeg"], record=long).path) == long
    longer = attrs.evolve(RECORD, prompt="fox " * 20_000)
    stored = store(tmp_path, PICTURES["jpeg"], record=longer)
    assert "too long" in stored.problem
    assert stored.path.read_bytes() == PICTURES["jpeg"]
    for name in ("png", "webp"):
        (tmp_path / name).mkdir()
        assert read_provenance(store(tmp_path / name, PICTURES[name], record=longer).path) == longer


@given(st.text(st.characters(codec=None), max_size=60))
def test_any_prompt_survives(prompt: str) -> None:
    """Controls, lone surrogates and non-characters come back as they were."""
    record = attrs.evolve(RECORD, prompt=prompt)
    text = record.to_json()
    text.encode()
    assert Provenance.from_json(text) == record


def test_the_record_of_a_request() -> None:
    """It holds what made the image, and neither the input images nor who asked."""
    request = OpenAIRequest(
        prompt="a fox", model="hidream", size="1024x1024", seed=7, user="somebody", n=2, response_format="url",
        image_data_url=b"secret", mask_data_url="data:image/png;base64,AAAA",
        extra={"style": "ink", "blob": "x" * 2000, "nothing": None, "callback": ["https://example.com/?key=secret"]},
    )  # fmt: skip
    record = Provenance.of(request, service="https://nano-gpt.com")
    assert record.parameters == {"style": "ink", "size": "1024x1024", "n": 2}
    assert (record.route, record.seed) == ("openai", 7)
    assert record.left_out == ("image_data_url", "mask_data_url", "blob", "callback")
    plain = Provenance.of(GenerateRequest(prompt="a fox", model="gpt-image-2"), service=None)
    assert (plain.parameters, plain.left_out, plain.seed) == ({}, (), None)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"prompt":"a"}', '{"prompt":"a","model":1}', '{"prompt":"a","model":"b","seed":"7"}',
     '{"prompt":"a","model":"b","left_out":[1]}', '{"prompt":"a","model":"b","route":"ftp"}', "[" * 100_000],
)  # fmt: skip
def test_what_is_no_record_is_none(text: str) -> None:
    """JSON of another shape under our name is no record and no failure."""
    assert Provenance.from_json(text) is None


def test_a_later_version_may_say_more() -> None:
    """Keys that this version does not know do not hide those that it does."""
    assert Provenance.from_json('{"prompt":"a","model":"b","mood":"good"}') is not None


def test_declarations_in_xml_are_not_expanded(tmp_path: Path) -> None:
    """An XMP packet with entities is not read at all."""
    packet = (
        b'<!DOCTYPE x [<!ENTITY a "{}">]><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:ngi="urn:nanogpt_images:provenance:"><ngi:Record>&a;</ngi:Record>'
        b"</rdf:Description></rdf:RDF>"
    )
    (tmp_path / "fox.jpg").write_bytes(picture("JPEG", xmp=packet))
    assert read_provenance(tmp_path / "fox.jpg") is None


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file is an error that names it."""
    with pytest.raises(OutputError, match=r"cannot read .*fox\.png: No such file"):
        read_provenance(tmp_path / "fox.png")
