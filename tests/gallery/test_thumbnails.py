"""One image → a small file, or the reason why not."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from nanogpt_images.batch.journal import ImageRecord
from nanogpt_images.gallery import thumbnails
from nanogpt_images.gallery.thumbnails import make_thumbnail

from .conftest import bomb, picture


def store(
    folder: Path, data: bytes | None, *, file: str = "images/fox.png", **changes: object
) -> ImageRecord:
    (folder / "images").mkdir(exist_ok=True)
    if data is not None:
        (folder / file).write_bytes(data)
    fields = {"media_type": "image/png", "width": None, "height": None, **changes}
    digest = hashlib.sha256(data or b"").hexdigest()
    return ImageRecord(index=0, file=file, bytes=len(data or b""), **{"sha256": digest, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_small_webp(tmp_path: Path, kind: str) -> None:
    """An image of any kind becomes a WebP file of at most the size that the page needs, in its proportions."""
    made = make_thumbnail(tmp_path, store(tmp_path, picture(2_000, 1_000, kind=kind)))
    assert (made.fault, made.made) == ("", True)
    with Image.open(tmp_path / str(made.file)) as small:
        assert (small.format, small.size) == ("WEBP", (640, 320))
        pixel = small.convert("RGB").getpixel((100, 100))
    assert pixel == pytest.approx((180, 70, 30), abs=8)


def test_small_images_are_not_blown_up(tmp_path: Path) -> None:
    """A picture that is small already keeps its size."""
    made = make_thumbnail(tmp_path, store(tmp_path, picture(20, 10)))
    with Image.open(tmp_path / str(made.file)) as small:
        assert small.size == (20, 10)


def test_transparency_is_kept(tmp_path: Path) -> None:
    """A transparent palette image stays transparent."""
    image = Image.new("P", (40, 40), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    buffer = BytesIO()
    image.save(buffer, "PNG", transparency=0)
    made = make_thumbnail(tmp_path, store(tmp_path, buffer.getvalue()))
    with Image.open(tmp_path / str(made.file)) as small:
        assert small.convert("RGBA").getpixel((5, 5))[3] == 0  # type: ignore[index]


def test_a_photo_stands_upright(tmp_path: Path) -> None:
    """The orientation that a camera notes in EXIF is applied."""
    image = Image.new("RGB", (40, 20))
    exif = image.getexif()
    exif[0x0112] = 6
    buffer = BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    made = make_thumbnail(tmp_path, store(tmp_path, buffer.getvalue()))
    with Image.open(tmp_path / str(made.file)) as small:
        assert small.size == (20, 40)


def test_made_once(tmp_path: Path) -> None:
    """A thumbnail that exists is taken as it is; an empty one, left by a power cut, is made again."""
    image = store(tmp_path, picture())
    target = tmp_path / str(make_thumbnail(tmp_path, image).file)
    target.write_bytes(b"as it is")
    assert make_thumbnail(tmp_path, image).made is False
    assert target.read_bytes() == b"as it is"
    target.write_bytes(b"")
    assert make_thumbnail(tmp_path, image).made is True
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (bomb(), (None, None)),
        (bomb(10_000, 10_000), (None, None)),
        (bomb(8_193, 8_192), (None, None)),
        (picture(), (100_000, 100_000)),
    ],
    ids=["100,000 pixels wide", "a warning of Pillow", "just too large", "by its record"],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_never_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, size: tuple[int | None, int | None]
) -> None:
    """An image that claims too many pixels, in its header or its record, is refused before a pixel is read."""
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    made = make_thumbnail(tmp_path, store(tmp_path, data, width=size[0], height=size[1]))
    assert made.file is None
    assert "too many pixels" in made.fault
    assert not (tmp_path / thumbnails.DIRECTORY).exists()


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (None, "missing"),
        (b"no image at all", "UnidentifiedImageError"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "UnidentifiedImageError"),
        (picture(200, 200)[:120], "cannot be read"),
    ],
    ids=["missing", "text", "postscript", "cut off"],
)
def test_a_broken_file_is_said_to_be_so(tmp_path: Path, data: bytes | None, fault: str) -> None:
    """A file that is missing, broken or of a kind that starts other programs gets a reason, not an exception."""
    made = make_thumbnail(tmp_path, store(tmp_path, data))
    assert made.file is None
    assert fault in made.fault


@pytest.mark.parametrize("file", ["/etc/hostname", "images/../../secret.png"])
def test_nothing_outside_is_read(tmp_path: Path, file: str) -> None:
    """A record that names a file elsewhere is not followed."""
    (tmp_path / "job" / "images").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(picture())
    image = ImageRecord(index=0, file=file, media_type="image/png", bytes=1, sha256="0" * 64)
    assert "does not name a file of this batch" in make_thumbnail(tmp_path / "job", image).fault


def test_a_digest_is_no_path(tmp_path: Path) -> None:
    """A record whose digest is not one makes no file."""
    image = store(tmp_path, picture(), sha256="../../../x")
    assert make_thumbnail(tmp_path, image).file is None
    assert not (tmp_path / thumbnails.DIRECTORY).exists()


def test_svg_is_left_to_the_browser(tmp_path: Path) -> None:
    """An SVG is shown as it is: the browser draws it and runs nothing of it."""
    image = store(tmp_path, b"<svg/>", file="images/fox.svg", media_type="image/svg+xml")
    assert make_thumbnail(tmp_path, image).file == "images/fox.svg"
