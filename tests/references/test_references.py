"""Input images: every form a caller may hand over, the limits, and what goes over the wire."""

from __future__ import annotations

import base64
import contextlib
import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from urllib.parse import quote

import anyio
import attrs
import PIL.Image
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.errors import Charge, NanoGPTError, ParameterError, ReferenceImageError
from nanogpt_images.references import ReferenceLoader, one
from nanogpt_images.references.loader import check_total, load_all
from nanogpt_images.references.one import ImageLoader
from nanogpt_images.types.model import Model, ReferenceLimits
from nanogpt_images.types.reference import (
    MAX_BODY_BYTES,
    MAX_OPENAI_ENCODED_BYTES,
    Reference,
    ReferenceInput,
    Remote,
)
from nanogpt_images.types.request import GenerateRequest, ImageRequest, OpenAIRequest

LINK = "https://images.test/fox.png?signature=secret"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="32" height="24"></svg>'


def encoded(format: str, size: tuple[int, int] = (32, 24), mode: str = "RGB") -> bytes:  # noqa: A002
    file = io.BytesIO()
    PIL.Image.new(mode, size, 128 if mode == "L" else None).save(file, format)
    return file.getvalue()


PNG, JPEG, WEBP = encoded("PNG"), encoded("JPEG"), encoded("WEBP")


def padded(size_bytes: int) -> bytes:
    """A PNG of exactly this size; what follows its end is not looked at."""
    return PNG + bytes(size_bytes - len(PNG))


def sparse_file(path: Path, size_bytes: int) -> None:
    path.touch()
    os.truncate(path, size_bytes)


def data_url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def opened(data: bytes) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(data))


def decoded(reference: Reference) -> bytes:
    return base64.b64decode(reference.url.partition(",")[2], validate=True)


async def load_reference(source: ReferenceInput, *, position: int | None = None, **options) -> Reference:
    return await ImageLoader(**options).load(source, position)


async def load_references(sources: Collection[ReferenceInput], **options) -> tuple[Reference, ...]:
    return await load_all(ImageLoader(**options), sources)


@attrs.frozen
class ResultImage:
    """What the images of results have in common."""

    data: bytes | None = None
    path: Path | None = None
    url: str | None = None

    async def save(self, path: str) -> None:
        raise AssertionError(f"nothing is to be saved to {path}")


@attrs.define
class FakeFetch:
    """Gives the same answer to every URL, and keeps what it was asked."""

    answer: bytes | Exception = PNG
    calls: list[tuple[str, int, bool | Collection[str]]] = attrs.field(factory=list)

    async def __call__(self, url: str, *, max_bytes: int, allow_private: bool | Collection[str]) -> bytes:
        self.calls.append((url, max_bytes, allow_private))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def png_file(tmp_path: Path) -> Path:
    path = tmp_path / "fox.jpg"
    path.write_bytes(PNG)
    return path


FORMS: dict[str, Callable[[Path], ReferenceInput]] = {
    "str path": str,
    "Path": lambda path: path,
    "bytes": lambda path: PNG,
    "bytearray": lambda path: bytearray(PNG),
    "memoryview": lambda path: memoryview(PNG),
    "sliced memoryview": lambda path: memoryview(b"".join(bytes([byte, 0]) for byte in PNG))[::2],
    "data URL": lambda path: data_url(PNG),
    "data URL in capitals": lambda path: "DATA" + data_url(PNG)[4:],
    "object of the documents": lambda path: {"type": "image_url", "image_url": {"url": data_url(PNG)}},
    "result with data": lambda path: ResultImage(data=PNG, url="https://images.test/other"),
    "result with path": lambda path: ResultImage(path=path, url="https://images.test/other"),
    "result with URL": lambda path: ResultImage(url=data_url(PNG)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("remote", ["link", "fetch"])
async def test_every_form_becomes_the_same_data_url(form: str, remote: Remote, png_file: Path) -> None:
    """A path, bytes, a data URL and a result's image all arrive as the same data URL, on both routes."""
    reference = await load_reference(FORMS[form](png_file), remote=remote, fetch=FakeFetch(b""))
    assert reference == Reference(
        url=data_url(PNG), media_type="image/png", width=32, height=24, size_bytes=len(PNG)
    )


@pytest.mark.parametrize(
    ("data", "media_type"),
    [(PNG, "image/png"), (JPEG, "image/jpeg"), (WEBP, "image/webp"), (SVG, "image/svg+xml")],
)
async def test_the_type_follows_from_the_bytes(data: bytes, media_type: str, tmp_path: Path) -> None:
    """The declared type is that of the bytes, whatever the file is called."""
    (tmp_path / "wrong.gif").write_bytes(data)
    reference = await load_reference(tmp_path / "wrong.gif", remote="link")
    assert reference.url == data_url(data, media_type)


async def test_a_bytearray_may_change_afterwards() -> None:
    """What is sent is what was handed over."""
    source = bytearray(PNG)
    reference = await load_reference(source, remote="link")
    source[:] = bytes(len(source))
    assert decoded(reference) == PNG


@pytest.mark.parametrize("link", [LINK, LINK.upper(), "http://images.test"])
async def test_the_normalized_route_passes_links_on(link: str) -> None:
    """With `remote="link"` an http(s) URL goes out as it is, and nothing is fetched."""
    fetch = FakeFetch()
    assert await load_reference(link, remote="link", fetch=fetch) == Reference(url=link)
    assert not fetch.calls


@pytest.mark.parametrize(
    "source", [LINK, {"type": "image_url", "image_url": {"url": LINK}}, ResultImage(url=LINK)], ids=repr
)
async def test_the_openai_route_fetches_links(source: ReferenceInput) -> None:
    """With `remote="fetch"` an http(s) URL becomes a data URL of what is behind it."""
    fetch = FakeFetch(JPEG)
    reference = await load_reference(source, remote="fetch", fetch=fetch, allow_private=["images.test"])
    assert reference.url == data_url(JPEG, "image/jpeg")
    assert fetch.calls == [(LINK, 30 * 2**20, ["images.test"])]


@pytest.mark.parametrize(
    ("limits", "max_encoded_bytes", "expected"),
    [
        (ReferenceLimits(), None, 30 * 2**20),
        (ReferenceLimits(max_bytes=1000), None, 1000),
        (ReferenceLimits(max_bytes=2**40), None, 30 * 2**20),
        (ReferenceLimits(max_bytes=1000), 400, 300),
        (ReferenceLimits(), 4000, 3000),
    ],
)
async def test_no_more_is_fetched_than_could_be_sent(
    limits: ReferenceLimits, max_encoded_bytes: int | None, expected: int
) -> None:
    """A fetch is limited to what the model and the request could take."""
    fetch = FakeFetch(PNG[:40])
    await load_reference(
        LINK, remote="fetch", fetch=fetch, limits=limits, max_encoded_bytes=max_encoded_bytes
    )
    assert fetch.calls[0][1] == expected


async def test_a_link_is_fetched_from_a_real_server() -> None:
    """Without a fetch of the caller's own, this package's is used, and refuses loopback unless allowed."""

    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(body=WEBP, content_type="text/plain")

    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/fox"
        with pytest.raises(
            ReferenceImageError, match=r"^input_references\[3\]: 127\.0\.0\.1 has the address"
        ):
            await load_reference(url, remote="fetch", position=3)
        reference = await load_reference(url, remote="fetch", allow_private=True)
    finally:
        await runner.cleanup()
    assert reference.url == data_url(WEBP, "image/webp")


@pytest.mark.parametrize("error", [OSError("no route"), RuntimeError("bug"), ReferenceImageError("refused")])
async def test_a_fetch_that_fails_is_an_error_of_ours(error: Exception) -> None:
    """Whatever a fetch raises arrives as a ReferenceImageError that says which image, without its query."""
    with pytest.raises(ReferenceImageError, match=r"input_references\[1\]") as caught:
        await load_references([PNG, LINK], remote="fetch", fetch=FakeFetch(error))
    assert caught.value.__cause__ is error
    assert caught.value.charge is Charge.NOT_SENT
    assert "secret" not in str(caught.value)


async def test_what_is_fetched_must_be_an_image() -> None:
    """An HTML page behind the URL is refused, naming the host alone."""
    with pytest.raises(
        ReferenceImageError, match=r"\(images\.test\) is not a PNG, .* begins with b'<!DOCTYP'"
    ) as caught:
        await load_reference(LINK, remote="fetch", fetch=FakeFetch(b"<!DOCTYPE html>"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("declared", ["image/jpeg", "image/jpg", "text/plain", "", "IMAGE/WEBP"])
async def test_a_wrong_type_in_a_data_url_is_corrected(
    declared: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The service answers 413 to a type that does not match the bytes, so it is corrected, with a note."""
    with caplog.at_level(logging.DEBUG, "nanogpt_images"):
        reference = await load_reference(data_url(PNG, declared), remote="link")
    assert reference.url == data_url(PNG)
    assert "sent as image/png" in caplog.text


async def test_a_right_type_in_a_data_url_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    """A data URL that is right goes out as it is."""
    with caplog.at_level(logging.DEBUG, "nanogpt_images"):
        assert (await load_reference(data_url(PNG), remote="link")).url == data_url(PNG)
    assert not caplog.records


BASE64 = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64,"
        + "\n".join(BASE64[start : start + 76] for start in range(0, len(BASE64), 76)),
        "data:image/png;base64," + BASE64.rstrip("="),
        "data:image/png;base64," + quote(BASE64, safe=""),
        "data:image/png;charset=utf-8;BASE64," + BASE64,
        "data:;base64," + BASE64,
        "data:image/png," + quote(PNG),
    ],
    ids=["line breaks", "no padding", "percent signs", "parameters", "no type", "not base64"],
)
async def test_loose_data_urls_are_tidied(url: str) -> None:
    """What RFC 2397 and common practice allow arrives as plain base64."""
    assert (await load_reference(url, remote="link")).url == data_url(PNG)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("data:image/png;base64," + BASE64[:-6] + "!" + BASE64[-5:], "base64 is not valid"),
        ("data:image/png;base64," + BASE64.rstrip("=")[:-2] + "=A==", "base64 is not valid"),
        ("data:image/png;base64," + BASE64[:8] + "!!!!" + BASE64[8:], "base64 is not valid"),
        ("data:image/png;base64,é", "base64 is not valid"),
        ("data:image/png;base64", "without a comma"),
        ("data:image/png;base64,", "is empty"),
        ("data:image/png;base64,aGVsbG8gd29ybGQ=", "begins with b'hello wo'"),
    ],
)
async def test_a_data_url_that_is_none_is_refused(url: str, reason: str) -> None:
    """Invalid base64, and valid base64 of something else, never leave this process."""
    with pytest.raises(ReferenceImageError, match=reason) as caught:
        await load_reference(url, remote="link")
    assert caught.value.charge is Charge.NOT_SENT


@given(st.binary(max_size=300))
async def test_any_image_survives_its_data_url(tail: bytes) -> None:
    """Encoding and decoding give the same bytes, whatever they are."""
    first = await load_reference(PNG + tail, remote="link")
    again = await load_reference(first.url, remote="fetch")
    assert decoded(again) == PNG + tail


@given(st.text() | st.text().map("data:image/png;base64,".__add__) | st.text().map("data:".__add__))
async def test_no_text_raises_anything_but_our_errors(text: str) -> None:
    """Any text is an image, a link, or an error of the tree."""
    with contextlib.suppress(NanoGPTError):
        assert (await load_reference(text, remote="link")).url


@pytest.mark.parametrize("size_bytes", [256 * 1024, 256 * 1024 + 1, 2_000_000])
@pytest.mark.parametrize("form", [bytes, data_url], ids=["bytes", "data URL"])
async def test_large_images_are_encoded_in_a_thread(
    size_bytes: int, form: Callable[[bytes], ReferenceInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Base64 of more than 256 KiB never runs on the event loop, and gives the same."""
    import threading

    threads: list[threading.Thread] = []
    sniff = one.sniff
    monkeypatch.setattr(
        one, "sniff", lambda data: (threads.append(threading.current_thread()), sniff(data))[1]
    )
    source = form(padded(size_bytes))
    reference = await load_reference(source, remote="link")
    inline = isinstance(source, bytes) and size_bytes <= 256 * 1024
    assert [thread is threading.main_thread() for thread in threads] == [inline]
    assert decoded(reference) == padded(size_bytes)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
async def test_pillow_images_are_sent_as_png(mode: str) -> None:
    """A Pillow image goes out without loss of its pixels."""
    image = PIL.Image.new(mode, (32, 24))
    reference = await load_reference(image, remote="link")
    assert (reference.media_type, reference.width, reference.height) == ("image/png", 32, 24)
    assert opened(decoded(reference)).tobytes() == image.tobytes()


@pytest.mark.parametrize(
    ("image", "media_type"),
    [
        (opened(JPEG), "image/jpeg"),
        (opened(encoded("JPEG", mode="L")), "image/jpeg"),
        (PIL.Image.new("CMYK", (32, 24)), "image/jpeg"),
        (PIL.Image.new("YCbCr", (32, 24)), "image/jpeg"),
        (opened(WEBP), "image/png"),
        (opened(JPEG).convert("RGBA"), "image/png"),
    ],
    ids=["JPEG", "grey JPEG", "CMYK", "YCbCr", "WebP", "JPEG with alpha added"],
)
async def test_pillow_images_are_jpeg_where_that_fits(image: PIL.Image.Image, media_type: str) -> None:
    """What was opened from JPEG stays JPEG, and so does what PNG cannot hold; all else is PNG."""
    assert (await load_reference(image, remote="link")).media_type == media_type


@pytest.mark.parametrize(
    "image",
    [PIL.Image.new("F", (8, 8)), PIL.Image.new("LAB", (8, 8)), opened(encoded("PNG", (64, 64))[:60])],
    ids=["F", "LAB", "truncated"],
)
async def test_a_pillow_image_that_cannot_be_encoded_is_refused(image: PIL.Image.Image) -> None:
    """A mode that no format holds, or a damaged file, is an error that says what to do."""
    with pytest.raises(ReferenceImageError, match=r"mode .* cannot be encoded .*convert"):
        await load_reference(image, remote="link")


@pytest.mark.parametrize("source", [None, 3, object(), ["a.png"], {1, 2}])
async def test_other_types_are_refused(source: object) -> None:
    """What is no input image is an error that lists what would be one."""
    with pytest.raises(ReferenceImageError, match=r"of type \w+; an input image is a path"):
        await load_reference(source, remote="link")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "source", [{}, {"image_url": None}, {"image_url": {"url": 3}}, {"image_url": {"url": "/etc/passwd"}}]
)
async def test_an_object_without_a_url_is_refused(source: dict[str, object]) -> None:
    """The documented object holds a URL; a file's path in it is not read."""
    with pytest.raises(ReferenceImageError, match="object without a URL"):
        await load_reference(source, remote="link")


async def test_an_empty_result_image_is_refused() -> None:
    """A result's image that holds nothing is an error, not a crash."""
    with pytest.raises(ReferenceImageError, match="without data, path and url"):
        await load_reference(ResultImage(), remote="link")


async def test_a_missing_file_is_named() -> None:
    """A path that does not exist is named, with its place among the images."""
    with pytest.raises(
        ReferenceImageError, match=r"input_references\[1\] \(no/such\.png\) cannot be read: No such"
    ):
        await load_references([PNG, "no/such.png"], remote="link")


@pytest.mark.parametrize("path", ["a" * 5000, "nul\0byte.png", "", "file:///tmp/a.png"])
async def test_a_path_that_is_none_is_refused(path: str) -> None:
    """A text that no file system takes is an error of ours, and not repeated at length."""
    with pytest.raises(ReferenceImageError) as caught:
        await load_reference(path, remote="link")
    assert len(str(caught.value)) < 300


async def test_what_is_not_a_file_is_refused_unopened(tmp_path: Path) -> None:
    """A directory and a pipe are refused; reading a pipe would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ReferenceImageError, match="not a regular file"):
            await load_reference(path, remote="link")


async def test_a_file_is_measured_before_it_is_read(tmp_path: Path) -> None:
    """A file over the limit is refused by its length: this one, of zeros, would else be no image."""
    sparse_file(tmp_path / "huge.png", 2**40)
    with pytest.raises(ParameterError, match=r"huge\.png\) is 1,099,511,627,776 bytes"):
        await load_reference(tmp_path / "huge.png", remote="link", limits=ReferenceLimits(max_bytes=2**20))


FOX_LIMITS = ReferenceLimits(max_items=3, min_width=16, min_height=16, max_bytes=5000, formats=("png", "jpg"))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (padded(5001), r"is 5,001 bytes; fox-1 takes at most 5,000 per image"),
        (encoded("PNG", (15, 16)), r"is 15x16 pixels; fox-1 takes at least 16x16"),
        (encoded("PNG", (16, 15)), r"is 16x15 pixels; fox-1 takes at least 16x16"),
        (WEBP, r"is image/webp; fox-1 takes png, jpg"),
        (SVG, r"is image/svg\+xml; fox-1 takes png, jpg"),
    ],
)
async def test_an_image_outside_the_limits_is_refused(data: bytes, text: str) -> None:
    """The text says which image it is, what it is, and what the model takes."""
    with pytest.raises(
        ParameterError, match=rf"^input_references\[1\] {text}.* Nothing was sent\.$"
    ) as caught:
        await load_references([PNG, data], remote="link", limits=FOX_LIMITS, model="fox-1")
    assert (caught.value.parameter, caught.value.model) == ("input_references", "fox-1")
    assert caught.value.charge is Charge.NOT_SENT


@pytest.mark.parametrize("data", [padded(5000), encoded("PNG", (16, 16)), JPEG])
async def test_an_image_at_the_limits_is_taken(data: bytes) -> None:
    """A limit itself is within the limit, and `jpg` means JPEG."""
    assert decoded(await load_reference(data, remote="link", limits=FOX_LIMITS)) == data


@pytest.mark.parametrize("formats", [("svg",), ("image/svg+xml",), ("SVG+XML",), ()])
async def test_svg_is_taken_where_the_model_takes_it(formats: tuple[str, ...]) -> None:
    """SVG passes where it is listed in any spelling, and where nothing is listed."""
    limits = ReferenceLimits(formats=formats)
    assert (await load_reference(SVG, remote="link", limits=limits)).media_type == "image/svg+xml"


@pytest.mark.parametrize(("most", "told"), [({"max_width": 63}, "63xany"), ({"max_height": 47}, "anyx47")])
async def test_an_image_with_too_many_pixels_is_refused(most: dict[str, int], told: str) -> None:
    """The greatest width and height hold for local images; at the limit an image passes."""
    image = io.BytesIO()
    PIL.Image.new("L", (64, 48)).save(image, "PNG")
    with pytest.raises(ParameterError, match=rf"64x48 pixels; m takes at most {told}"):
        await load_reference(image.getvalue(), remote="link", limits=ReferenceLimits(**most), model="m")
    limits = ReferenceLimits(max_width=64, max_height=48)
    assert (await load_reference(image.getvalue(), remote="link", limits=limits)).width == 64


async def test_an_unknown_size_is_left_to_the_service() -> None:
    """Where the bytes do not tell width and height, no limit on them is applied."""
    limits = ReferenceLimits(min_width=10_000, min_height=10_000)
    reference = await load_reference(PNG[:12], remote="link", limits=limits)
    assert reference.width is None


async def test_limits_do_not_hold_for_links() -> None:
    """Of a link that goes out as it is nothing is known, so nothing is refused."""
    assert await load_reference(LINK, remote="link", limits=ReferenceLimits(max_bytes=1)) == Reference(
        url=LINK
    )


async def test_too_many_images_are_refused_before_any_is_loaded() -> None:
    """The number is checked first: here no file is looked for."""
    with pytest.raises(ParameterError, match=r"holds 4 images; fox-1 takes at most 3"):
        await load_references(["no/such.png"] * 4, remote="link", limits=FOX_LIMITS, model="fox-1")


async def test_images_keep_their_order() -> None:
    """Images come back in the order they were given, also when the first is the last to be loaded."""
    second_is_done = anyio.Event()

    async def fetch(url: str, *, max_bytes: int, allow_private: bool | Collection[str]) -> bytes:
        if url.endswith("/0"):
            await second_is_done.wait()
            return PNG
        second_is_done.set()
        return JPEG

    with anyio.fail_after(10):
        loaded = await load_references(
            ["https://images.test/0", "https://images.test/1"], remote="fetch", fetch=fetch
        )
    assert [reference.media_type for reference in loaded] == ["image/png", "image/jpeg"]


async def test_the_first_failure_ends_the_others() -> None:
    """One bad image cancels the fetches still under way, and is raised bare, not in a group."""
    cancelled = False

    async def fetch(url: str, *, max_bytes: int, allow_private: bool | Collection[str]) -> bytes:
        nonlocal cancelled
        try:
            await anyio.sleep_forever()
        finally:
            cancelled = True
        raise AssertionError

    with (
        anyio.fail_after(10),
        pytest.raises(ReferenceImageError, match=r"input_references\[1\] is not a PNG"),
    ):
        await load_references([LINK, b"not an image"], remote="fetch", fetch=fetch)
    assert cancelled


async def test_at_most_eight_images_are_fetched_at_once() -> None:
    """Many links do not become as many connections."""
    running = most = 0

    async def fetch(url: str, *, max_bytes: int, allow_private: bool | Collection[str]) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.lowlevel.checkpoint()
        running -= 1
        return PNG

    assert len(await load_references([LINK] * 30, remote="fetch", fetch=fetch)) == 30
    assert most == 8


async def test_no_images_are_no_images() -> None:
    """An empty list is fine."""
    assert await load_references([], remote="link") == ()


async def test_the_total_is_limited() -> None:
    """Images that fit one by one, but not together, are refused with the sum and the limit."""
    size = len(data_url(PNG))
    loaded = await load_references([PNG, PNG], remote="link", max_encoded_bytes=2 * size)
    assert len(loaded) == 2
    with pytest.raises(
        ParameterError, match=rf"2 images are {2 * size} bytes after encoding.* takes {2 * size - 1}"
    ):
        await load_references([PNG, PNG], remote="link", max_encoded_bytes=2 * size - 1)


async def test_links_count_with_their_own_length() -> None:
    """A link takes of the body what its text takes."""
    check_total(ImageLoader(remote="link", max_encoded_bytes=len(LINK)), [Reference(url=LINK)])
    with pytest.raises(ParameterError):
        check_total(ImageLoader(remote="link", max_encoded_bytes=len(LINK) - 1), [Reference(url=LINK)])


async def test_an_image_that_alone_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    """An image whose encoded form passes the limit of the request is refused by its length."""
    sparse_file(tmp_path / "large.png", MAX_OPENAI_ENCODED_BYTES)
    with pytest.raises(ParameterError, match=r"4,194,304 bytes, 5,592,408 after encoding"):
        await load_reference(
            tmp_path / "large.png", remote="fetch", max_encoded_bytes=MAX_OPENAI_ENCODED_BYTES
        )


async def test_a_repr_is_short_and_without_secrets() -> None:
    """A repr shows neither the image nor a link's query."""
    image = await load_reference(padded(100_000), remote="link")
    assert len(repr(image)) < 200
    assert "secret" not in repr(Reference(url=LINK))


def request(route: str, references: tuple = (), mask: ReferenceInput | None = None) -> ImageRequest:
    if route == "images":
        return GenerateRequest(model="fox-1", input_references=references)
    return OpenAIRequest(model="fox-1", image_data_urls=references, mask_data_url=mask)


FOX = Model(id="fox-1", references=FOX_LIMITS)


async def test_the_loader_links_or_fetches_by_route() -> None:
    """The normalized route gets the link, the OpenAI-compatible one a data URL."""
    loader = ReferenceLoader(fetch=FakeFetch(JPEG))
    on_images = await loader.load(request("images", (LINK,)), FOX)
    on_openai = await loader.load(request("openai", (LINK,)), FOX)
    assert on_images.urls == (LINK,)
    assert on_openai.urls == (data_url(JPEG, "image/jpeg"),)
    assert on_images.mask is on_openai.mask is None


async def test_a_mask_is_loaded_but_is_no_input_image() -> None:
    """A mask becomes a data URL; the model's limits, which are those of input images, do not hold for it."""
    loaded = await ReferenceLoader().load(request("openai", (PNG,) * 3, WEBP), FOX)
    assert loaded.urls == (data_url(PNG),) * 3
    assert loaded.mask == data_url(WEBP, "image/webp")


async def test_a_mask_counts_towards_the_total() -> None:
    """Image and mask that fit alone, but not together, are refused."""
    half = padded(MAX_OPENAI_ENCODED_BYTES * 3 // 8)
    with pytest.raises(ParameterError, match=r"2 images are .* takes 4,194,304"):
        await ReferenceLoader().load(request("openai", (half,), half), None)


@pytest.mark.parametrize(
    ("route", "most"), [("openai", MAX_OPENAI_ENCODED_BYTES), ("images", MAX_BODY_BYTES)]
)
async def test_each_route_has_its_limit_without_a_model(route: str, most: int) -> None:
    """The limit of a request's size holds also where nothing is known of the model."""
    await ReferenceLoader().load(request(route, (padded(most * 3 // 4 - 100),)), None)
    with pytest.raises(ParameterError, match=f"takes {most:,} in all") as caught:
        await ReferenceLoader().load(request(route, (padded(most * 3 // 4 + 3),)), None)
    assert caught.value.model == "fox-1"


async def test_the_loader_applies_the_models_limits() -> None:
    """With a model known, its limits hold, under the parameter's name on the route."""
    with pytest.raises(ParameterError, match=r"image_data_url\[0\] is image/webp") as caught:
        await ReferenceLoader().load(request("openai", (WEBP,)), FOX)
    assert caught.value.parameter == "image_data_url"


async def test_a_request_without_images_loads_none() -> None:
    """Most requests have no input images."""
    loaded = await ReferenceLoader().load(request("images"), FOX)
    assert (loaded.urls, loaded.mask) == ((), None)


def test_importing_stays_cheap() -> None:
    """Neither the HTTP client nor Pillow is loaded before it is needed."""
    code = "import sys, nanogpt_images.references; print(*sorted({'aiohttp', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
