"""The mark of generated images: written as XMP into files of any making, without touching a pixel."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from exiftool import TERMS, needs_exiftool, tags_of
from PIL import Image

from nanogpt_images._base.sniff import sniff
from nanogpt_images.provenance.embedding import FORMATS
from nanogpt_images.provenance.reading import read_source_type
from nanogpt_images.provenance.steps import UnfitError
from nanogpt_images.provenance.xmp import source_type_of, with_mark

TERM = "compositeWithTrainedAlgorithmicMedia"
OTHER = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<r:Description r:about="uuid:1" xmlns:dc="http://purl.org/dc/elements/1.1/">%s</r:Description></r:RDF></x:xmpmeta>'
)
CREATOR = OTHER % b"<dc:format>image/x</dc:format>"
SOURCE = OTHER % (
    b'<s:DigitalSourceType xmlns:s="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    b"http://cv.iptc.org/newscodes/digitalsourcetype/digitalArt</s:DigitalSourceType>"
)


def picture(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((61, 47), 90).convert("RGB").save(file, kind, **options)
    return file.getvalue()


def with_xmp(kind: str, packet: bytes) -> bytes:
    """A picture with a packet that another program wrote."""
    if kind != "PNG":
        return picture(kind, xmp=packet)
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", packet.decode())
    return picture(kind, pnginfo=texts)


def marked(data: bytes) -> bytes | None:
    return FORMATS[sniff(data).media_type].marked(data, TERM)


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.tobytes()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("packet", [None, CREATOR])
def test_a_mark_is_added(tmp_path: Path, kind: str, packet: bytes | None) -> None:
    """A file with XMP of its own keeps it, one without gets some; a marked file is left alone."""
    data = picture(kind) if packet is None else with_xmp(kind, packet)
    found = marked(data)
    assert found is not None
    assert pixels(found) == pixels(data)
    (tmp_path / "image").write_bytes(found)
    assert read_source_type(tmp_path / "image") == TERM
    assert marked(found) is None
    assert packet is None or b"image/x" in found
    assert found.count(b"DigitalSourceType>") == 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_what_another_program_says_of_the_source_stays(kind: str) -> None:
    """A file that names its source already is not marked again."""
    assert marked(with_xmp(kind, SOURCE)) is None


@needs_exiftool
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("packet", [None, CREATOR])
def test_exiftool_reads_the_mark(tmp_path: Path, kind: str, packet: bytes | None) -> None:
    """ExifTool finds the term, and nothing wrong that was not wrong before."""
    before = tmp_path / f"before.{kind.lower()}"
    before.write_bytes(picture(kind) if packet is None else with_xmp(kind, packet))
    after = tmp_path / f"after.{kind.lower()}"
    after.write_bytes(marked(before.read_bytes()) or b"")
    fields, fields_before = tags_of(after, before)
    assert fields["DigitalSourceType"] == f"{TERMS}{TERM}"
    assert fields["Validate"] == fields_before["Validate"]
    assert fields.get("Warning") == fields_before.get("Warning")


@pytest.mark.parametrize("packet", [b"", b"no xmp", b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'])
def test_a_packet_that_cannot_be_added_to(packet: bytes) -> None:
    """What is no packet is not made worse."""
    with pytest.raises(UnfitError):
        with_mark(packet, TERM)


@pytest.mark.parametrize("text", [b"<!DOCTYPE x>" + SOURCE, SOURCE[:-9], b"\xff"])
def test_a_packet_that_cannot_be_read(text: bytes) -> None:
    """It names no source."""
    assert source_type_of(text) is None
