"""Signed URLs: a second origin, an expiry, ranges."""

from __future__ import annotations

import pytest

from nanogpt_images.sandbox.http.urls import file_answer


async def url_of(api, **fields):
    """The URL of a fresh image."""
    reply = await api.openai(response_format="url", **fields)
    (entry,) = reply.json["data"]
    assert set(entry) == {"url"}
    return entry["url"]


async def test_url_is_the_same_image(open_api):
    """The file behind a URL is the image that b64_json would have held; fetching it costs nothing."""
    async with open_api() as api:
        url = await url_of(api)
        spent = api.sandbox.ledger.total_usd
        reply = await api.get(url)
        assert (reply.status, reply.headers["Content-Type"]) == (200, "image/png")
        assert (await api.get(url)).body == reply.body
        assert api.sandbox.ledger.total_usd == spent


async def test_second_origin(open_api):
    """Files live on another origin, which records the headers it is sent."""
    async with open_api() as api:
        url = await url_of(api)
        assert url.startswith(api.sandbox.files_url)
        assert api.sandbox.files_url != api.sandbox.url
        await api.get(url, headers={"Authorization": "Bearer leaked"})
        (visit,) = api.sandbox.visits
        assert (visit.method, visit.status, visit.headers["Authorization"]) == ("GET", 200, "Bearer leaked")
        assert visit.path == url.removeprefix(api.sandbox.files_url)
        assert (await api.get("/_sandbox/visits")).json["visits"][0]["headers"][
            "Authorization"
        ] == "Bearer leaked"


async def test_expiry(open_api):
    """A URL works until its last second and is 403 from then on."""
    now = [1_760_000_000.0]
    async with open_api(clock=lambda: now[0], url_ttl_s=60) as api:
        url = await url_of(api)
        now[0] += 59.9
        assert (await api.get(url)).status == 200
        now[0] += 0.1
        assert (await api.get(url)).status == 403


@pytest.mark.parametrize(
    ("old", "new"), [("sig=", "sig=0"), ("expires=", "expires=9"), ("/files/", "/files/f")]
)
async def test_tampering(open_api, old, new):
    """A URL with another signature, expiry or name is refused."""
    async with open_api() as api:
        assert (await api.get((await url_of(api)).replace(old, new, 1))).status == 403


@pytest.mark.parametrize("path", ["/", "/files/", "/files/x.png", "/nothing/here"])
async def test_nothing_else_on_the_second_origin(open_api, path):
    """The second origin serves signed files alone."""
    async with open_api() as api:
        assert (await api.get(api.sandbox.files_url + path)).status in {403, 404}


@pytest.mark.parametrize(
    ("wanted", "status", "content_range", "body"),
    [
        ("bytes=0-3", 206, "bytes 0-3/10", b"0123"),
        ("bytes=7-", 206, "bytes 7-9/10", b"789"),
        ("bytes=-2", 206, "bytes 8-9/10", b"89"),
        ("bytes=5-99", 206, "bytes 5-9/10", b"56789"),
        ("bytes=-99", 206, "bytes 0-9/10", b"0123456789"),
        ("bytes=10-", 416, "bytes */10", b""),
        ("bytes=4-2", 416, "bytes */10", b""),
        ("bytes=a-b", 416, "bytes */10", b""),
        ("bytes=-0", 416, "bytes */10", b""),
        ("lines=1-2", 416, "bytes */10", b""),
    ],
)
def test_ranges(wanted, status, content_range, body):
    """Single byte ranges are met as HTTP has them."""
    answer = file_answer(b"0123456789", "image/png", {"Range": wanted})
    assert (answer.status, answer.headers["Content-Range"], b"".join(answer.body)) == (
        status,
        content_range,
        body,
    )
    assert answer.headers["Accept-Ranges"] == "bytes"


def test_if_range():
    """A range of a file that has changed is answered with the whole file."""
    whole = file_answer(b"0123456789", "image/png", {})
    same = {"Range": "bytes=5-", "If-Range": whole.headers["ETag"]}
    assert file_answer(b"0123456789", "image/png", same).status == 206
    assert file_answer(b"9876543210", "image/png", same).status == 200


async def test_resume_over_the_wire(open_api):
    """Two ranges make up the file."""
    async with open_api() as api:
        url = await url_of(api)
        whole = (await api.get(url)).body
        first = await api.get(url, headers={"Range": "bytes=0-99"})
        rest = await api.get(url, headers={"Range": "bytes=100-", "If-Range": first.headers["ETag"]})
        assert (first.status, rest.status) == (206, 206)
        assert first.body + rest.body == whole


async def test_fallback_rate(open_api):
    """With a fallback rate of one every `url` answer is b64_json; with a half, some are, the same ones each time."""
    async with open_api(url_fallback_rate=1.0) as api:
        assert "b64_json" in (await api.openai(response_format="url")).json["data"][0]

    async def pattern():
        async with open_api(url_fallback_rate=0.5, seed=3) as api:
            replies = [await api.openai(response_format="url") for _ in range(12)]
            return ["url" in reply.json["data"][0] for reply in replies]

    first = await pattern()
    assert set(first) == {True, False}
    assert await pattern() == first


@pytest.mark.parametrize(
    "expires", ["", "soon", "-1", "1e9", "%D9%A1%D9%A2", "9" * 4500, "%FF", "1795262400"]
)
@pytest.mark.parametrize("sig", ["", "0", "%C3%BC", "%FF%FE", "x" * 500])
async def test_a_malformed_signature_is_refused(open_api, expires: str, sig: str):
    """Whatever stands in the query, a file is not found or not given; the sandbox itself does not fail."""
    async with open_api() as api:
        name = (await url_of(api)).partition("?")[0]
        assert (await api.get(f"{name}?expires={expires}&sig={sig}")).status == 403
        assert (await api.get(f"{name}?sig={sig}&expires")).status == 403


@pytest.mark.parametrize(
    "span", ["bytes=" + "9" * 5000 + "-", "bytes=-" + "9" * 5000, "bytes=-", "bytes=\xb2-"]
)
def test_a_malformed_range_is_refused(span: str):
    """A range that cannot be met is 416, however it is spelled."""
    assert file_answer(b"data", "image/png", {"Range": span}).status == 416
