"""Downloads of signed URLs: resumed, bounded, without the key, and free to repeat."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from fakes import PNG, Clock, Reply, ScriptedTransport, connected

from nanogpt_images import (
    Charge,
    ConnectError,
    DownloadError,
    OutcomeUnknownError,
    OutputError,
    RetryPolicy,
)
from nanogpt_images.outputs import DirectoryStore, MemoryStore
from nanogpt_images.resources.download import Downloads
from nanogpt_images.sandbox import Fault
from nanogpt_images.transport.sender import Slots

URL = "https://files.example/a/b.png?expires=1&sig=secret"
FRESH = "https://files.example/a/b.png?sig=secret"
ETAG = {"ETag": '"v1"'}
NOW = 1_800_000_000.0
BROKE = OutcomeUnknownError("broke")


def downloads(
    *script: Reply | Exception, max_bytes: int = 10_000
) -> tuple[Downloads, ScriptedTransport, Clock]:
    clock, transport = Clock(), ScriptedTransport(*script)
    made = Downloads(
        transport,
        retry=RetryPolicy(max_attempts=3, initial_delay_s=1, jitter=0),
        slots=Slots(2),
        timeout_s=9,
        max_bytes=max_bytes,
        user_agent="agent/1",
        sleep=clock.sleep,
        clock=clock,
    )
    clock.now = NOW
    return made, transport, clock


async def test_a_download() -> None:
    """A GET without key and without compression, on the client's limit of time, brings the bytes."""
    made, transport, _ = downloads(Reply(200, [PNG[:5], PNG[5:]]))
    assert await made.read(URL) == PNG
    (request,) = transport.requests
    assert (request.method, request.url, request.timeout_s, request.paid) == ("GET", URL, 9, False)
    assert dict(request.headers) == {
        "Accept": "image/*, */*;q=0.5",
        "Accept-Encoding": "identity",
        "User-Agent": "agent/1",
    }


@pytest.mark.parametrize(
    ("headers", "second", "expected_range"),
    [
        (
            ETAG,
            Reply(206, PNG[10:], {**ETAG, "Content-Range": f"bytes 10-{len(PNG) - 1}/{len(PNG)}"}),
            "bytes=10-",
        ),
        ({"Last-Modified": "Mon"}, Reply(206, PNG[10:], {"Content-Range": "bytes 10-99/100"}), "bytes=10-"),
        (ETAG, Reply(200, PNG, ETAG), "bytes=10-"),
        ({}, Reply(200, PNG), None),
        ({"ETag": 'W/"weak"'}, Reply(200, PNG), None),
    ],
)
async def test_a_broken_download_goes_on_where_it_broke_off(
    headers: Mapping[str, str], second: Reply, expected_range: str | None
) -> None:
    """A range is asked for only of a file that can be recognised; a whole file starts over."""
    made, transport, clock = downloads(Reply(200, [PNG[:10]], headers, breaks=BROKE), second)
    assert await made.read(URL) == PNG
    assert transport.requests[1].headers.get("Range") == expected_range
    if expected_range:
        assert transport.requests[1].headers["If-Range"] in headers.values()
    assert clock.slept == [1]


async def test_a_range_that_does_not_fit_starts_over() -> None:
    """An answer with another range than the one asked for is not joined to what is there."""
    made, _, _ = downloads(
        Reply(200, [PNG[:10]], ETAG, breaks=BROKE),
        Reply(206, PNG[4:], {**ETAG, "Content-Range": f"bytes 4-{len(PNG) - 1}/{len(PNG)}"}),
        Reply(200, PNG, ETAG),
    )
    assert await made.read(URL) == PNG


async def test_progress_renews_the_attempts() -> None:
    """A download that advances may break more often than `max_attempts`; one that does not, may not."""

    def rest(start: int, end: int, **more: object) -> Reply:
        return Reply(206, [PNG[start:end]], {**ETAG, "Content-Range": f"bytes {start}-69/70"}, **more)

    pieces = [rest(start, start + 5, breaks=BROKE) for start in range(0, 40, 5)]
    made, transport, _ = downloads(*pieces, rest(40, 99))
    assert await made.read(URL) == PNG
    assert len(transport.requests) == 9
    made, transport, clock = downloads(*[ConnectError("refused")] * 3)
    with pytest.raises(DownloadError, match="refused"):
        await made.read(URL)
    assert clock.slept == [1, 2]


@pytest.mark.parametrize(
    ("script", "expired", "reason", "requests"),
    [
        ([Reply(403, b"<Error>AccessDenied</Error>")], True, "it answers 403, and its life is over", 1),
        ([Reply(404, b"")], True, "404", 1),
        ([Reply(410, b"")], True, "The image is lost", 1),
        ([Reply(400, b"bad")], True, "400", 1),
        ([Reply(408, b"")] * 3, False, "408", 3),
        ([Reply(416, b"")] * 3, False, "416", 3),
        ([Reply(425, b"")] * 3, False, "425", 3),
        ([Reply(503, b"")] * 3, False, "503", 3),
        ([Reply(429, b"", {"Retry-After": "2"})] * 3, False, "429", 3),
        ([Reply(200, b"")], False, "it is empty", 1),
        ([Reply(200, b"\n <!DOCTYPE HTML><p>wait")], False, "a page of HTML", 1),
        ([Reply(200, [b"<ht", b"ml><body>"])], False, "a page of HTML", 1),
        ([Reply(200, [b"x" * 6_000] * 2)], False, "larger than 10,000 bytes", 1),
        ([Reply(302, b"", {"Location": "/x"})] * 9, False, "redirects without end", 4),
        ([Reply(302, b"", {"Location": "file:///etc/passwd"})], False, "not a web address", 1),
        ([Reply(302, b"", {"Location": "https://[bad"})], False, "not a web address", 1),
        ([Reply(302, b"", {"Location": "http://files.example/"})], False, "to plain http", 1),
        ([Reply(304, b"")], False, "304", 1),
    ],
)
async def test_downloads_that_fail(
    tmp_path: Path, script: list[Reply], expired: bool, reason: str, requests: int
) -> None:
    """The error says that the image was charged, whether it can be had again, and no secret of the URL."""
    made, transport, _ = downloads(*script)
    store = DirectoryStore(tmp_path, lambda index, total: "fox")
    with pytest.raises(DownloadError, match=reason) as caught:
        await made.fetch_all([(0, URL)], store)
    assert (caught.value.charge, caught.value.expired) == (Charge.CHARGED, expired)
    assert ("Downloading again is free" in str(caught.value)) is not expired
    assert "secret" not in str(caught.value)
    assert len(transport.requests) == requests
    assert transport.open == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 418, 451])
async def test_a_refusal_of_a_url_that_lives_proves_nothing(status: int) -> None:
    """It is asked for again with growing delays, and the image is not given up where it stays away."""
    made, transport, clock = downloads(Reply(status, b""), Reply(status, b""), Reply(200, PNG))
    assert await made.read(FRESH) == PNG
    assert clock.slept == [1, 2]
    made, transport, _ = downloads(*[Reply(status, b"")] * 3)
    with pytest.raises(DownloadError, match="Downloading again is free") as caught:
        await made.read(FRESH)
    assert not caught.value.expired
    assert len(transport.requests) == 3


@pytest.mark.parametrize(("age_s", "expired"), [(0, False), (3590, False), (3600, True), (90_000, True)])
async def test_a_refused_url_is_lost_once_its_hour_is_over(age_s: float, expired: bool) -> None:
    """The age counts from the arrival of the URL, also where an earlier process received it."""
    made, _, _ = downloads(*[Reply(404, b"")] * 3)
    with pytest.raises(DownloadError) as caught:
        await made.read(FRESH, received_at=NOW - age_s)
    assert caught.value.expired is expired


async def test_a_url_that_dies_between_two_attempts() -> None:
    """The attempt that finds it refused after its end is the last one."""
    made, transport, _ = downloads(Reply(403, b""), Reply(403, b""))
    with pytest.raises(DownloadError) as caught:
        await made.read(FRESH, received_at=NOW - 3599.5)
    assert caught.value.expired
    assert len(transport.requests) == 2


async def test_a_refused_redirect_is_followed_from_its_beginning_again() -> None:
    """Where it led may have been signed for a moment only."""
    made, transport, _ = downloads(
        Reply(302, b"", {"Location": "/x"}),
        Reply(403, b""),
        Reply(302, b"", {"Location": "/y"}),
        Reply(200, PNG),
    )
    assert await made.read(FRESH) == PNG
    assert [request.url.rpartition("/")[2] for request in transport.requests] == [
        "b.png?sig=secret",
        "x",
        "b.png?sig=secret",
        "y",
    ]


async def test_a_range_that_is_refused_starts_over() -> None:
    """416 is about the range that was asked for."""
    made, transport, _ = downloads(
        Reply(200, [PNG[:10]], ETAG, breaks=BROKE), Reply(416, b""), Reply(200, PNG, ETAG)
    )
    assert await made.read(FRESH) == PNG
    assert "Range" not in transport.requests[2].headers


JPEG = (
    b"\xff\xd8\xff\xe0\x00\x04xx\xff\xe1\x00\x08\xff\xd8\xff\xd9xx\xff\xda\x00\x02"
    + b"data" * 20
    + b"\xff\xd9"
)
WEBP = b"RIFF" + (80).to_bytes(4, "little") + b"WEBP" + b"data" * 19
GIF = b"GIF89a" + b"data" * 20 + b"\x00;"


@pytest.mark.parametrize("image", [PNG, JPEG, WEBP, GIF], ids=["png", "jpeg", "webp", "gif"])
@pytest.mark.parametrize("cut", [1, 13, 40])
async def test_a_file_without_a_length_is_whole_when_its_image_is(image: bytes, cut: int) -> None:
    """Where the body ends with the connection, an image that breaks off is a broken download, which is repeated."""
    whole, length = Reply(200, image), {"Content-Length": str(len(image) - cut)}
    made, transport, _ = downloads(Reply(200, image[:-cut]), whole)
    assert await made.read(URL) == image
    assert len(transport.requests) == 2
    made, transport, _ = downloads(
        Reply(200, image[:-cut], ETAG), Reply(206, image[-cut:], _rest(image, cut))
    )
    assert await made.read(URL) == image
    made, _, _ = downloads(*[Reply(200, image[:-cut])] * 3)
    with pytest.raises(DownloadError, match="image in it did not") as caught:
        await made.read(URL)
    assert not caught.value.expired
    # A length was kept to, so this is the file; and what follows the image's end does no harm.
    made, _, _ = downloads(Reply(200, image[:-cut], length))
    assert await made.read(URL) == image[:-cut]
    made, _, _ = downloads(Reply(200, [image, b"trailer"]))
    assert await made.read(URL) == image + b"trailer"


def _rest(image: bytes, cut: int) -> dict[str, str]:
    return {**ETAG, "Content-Range": f"bytes {len(image) - cut}-{len(image) - 1}/{len(image)}"}


async def test_a_file_of_another_format_without_a_length_is_taken_as_it_is() -> None:
    """What has no end of its own cannot be told from what broke off."""
    made, _, _ = downloads(Reply(200, b"<svg/>"))
    assert await made.read(URL) == b"<svg/>"


@pytest.mark.parametrize(
    "url", ["", "//host/a.png", "file:///etc/passwd", "javascript:1", "https://", "https://["]
)
async def test_a_url_that_is_no_web_address_is_not_asked_for(url: str) -> None:
    """What the service gives as a URL reaches the transport only as http or https with a host."""
    made, transport, _ = downloads()
    with pytest.raises(DownloadError, match="not a web address"):
        await made.read(url)
    assert not transport.requests


async def test_redirects_are_followed_without_the_key() -> None:
    """A storage host may redirect; every hop is a plain GET, and none has the key."""
    async with connected() as (client, sandbox):
        links = await client.images.generate_openai("x", model="tiny-and-fast", response_format="url")
        target = links.images[0].url
        made, transport, _ = downloads(
            Reply(302, b"", {"Location": "/moved"}), Reply(307, b"", {"Location": target}), Reply(200, PNG)
        )
        plain = URL.replace("https:", "http:")
        await made.read(plain)
    assert [request.url for request in transport.requests] == [plain, "http://files.example/moved", target]
    assert [request.public_only for request in transport.requests] == [False, False, True]
    assert not any("Authorization" in request.headers for request in transport.requests)
    assert sandbox.visits == []


async def test_several_files(tmp_path: Path) -> None:
    """All links of a result become files; none stays where a later try can have all, the others where one is lost."""
    made, _, _ = downloads(Reply(200, PNG), Reply(200, PNG))
    store = DirectoryStore(tmp_path, lambda index, total: f"{index} of {total}")
    stored = await made.fetch_all([(1, URL), (3, URL)], store)
    assert [(image.index, image.path.name) for image in stored] == [(1, "1 of 2.png"), (3, "3 of 2.png")]
    made, _, _ = downloads(Reply(200, PNG), *[Reply(404, b"")] * 3)
    with pytest.raises(DownloadError):
        await made.fetch_all([(1, URL), (3, FRESH)], DirectoryStore(tmp_path / "b", lambda index, total: "b"))
    assert list((tmp_path / "b").iterdir()) == []
    made, _, _ = downloads(Reply(404, b""), Reply(200, PNG))
    store = DirectoryStore(tmp_path / "c", lambda index, total: f"{index}")
    with pytest.raises(DownloadError) as caught:
        await made.fetch_all([(1, URL), (3, URL)], store)
    assert caught.value.expired
    assert [image.index for image in store.kept] == [3]
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["3.png"]


async def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    """What the store cannot take is told as such, and is not downloaded again."""
    (tmp_path / "out").write_text("a file")
    made, transport, _ = downloads(Reply(200, PNG))
    with pytest.raises(OutputError):
        await made.fetch_all([(0, URL)], DirectoryStore(tmp_path / "out", lambda index, total: "fox"))
    assert len(transport.requests) <= 1


@pytest.mark.parametrize("url", ["nonsense", "file:///etc/passwd", "http://"])
async def test_a_link_that_is_no_web_address(url: str) -> None:
    """A URL that cannot be fetched is an error of this package, whatever the service sent."""
    async with connected() as (client, _):
        with pytest.raises(DownloadError) as caught:
            await client._downloads.read(url)
    assert caught.value.charge is Charge.CHARGED


@pytest.mark.parametrize(
    ("fault", "visits"),
    [("url_cut", [200, 206]), ("url_reset", [200, 200]), ("url_503", [503, 200])],
)
async def test_passing_faults_on_real_sockets(fault: str, visits: list[int]) -> None:
    """A cut download is resumed with a range, and the bytes are those of an undisturbed one."""
    async with connected(Fault(fault, times=1)) as (client, sandbox):
        result = await client.images.generate_openai("x", model="tiny-and-fast", response_format="url")
        disturbed = await result.images[0].read()
        assert [visit.status for visit in sandbox.visits] == visits
        assert disturbed == await result.images[0].read()
    assert len(sandbox.ledger.posts) == 1


@pytest.mark.parametrize(
    ("fault", "expired", "visits"), [("url_404", False, 4), ("url_html", False, 1), ("url_expired", True, 1)]
)
async def test_dead_links_on_real_sockets(fault: str, expired: bool, visits: int) -> None:
    """A link that is a page or expired says so at the first attempt; one that lives and is refused is asked again."""
    now = 1.79e9
    async with connected(Fault(fault), sandbox={"clock": lambda: now}) as (client, sandbox):
        result = await client.images.generate_openai("x", model="tiny-and-fast", response_format="url")
        now += 10
        with pytest.raises(DownloadError) as caught:
            await result.images[0].read()
    assert caught.value.expired is expired
    assert len(sandbox.visits) == visits


async def test_memory_has_nothing_of_a_failed_download() -> None:
    """A store is left as if nothing had been downloaded."""
    made, _, _ = downloads(Reply(200, PNG), *[Reply(404, b"")] * 3)
    store = MemoryStore()
    with pytest.raises(DownloadError):
        await made.fetch_all([(0, FRESH), (1, FRESH)], store)
    with pytest.raises(KeyError):
        store.finish([0])
