"""Every kind of fault: what the client sees, and whether the ledger says that it was billed."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import struct
from pathlib import Path

import aiohttp
import pytest

from nanogpt_images.sandbox import Fault
from nanogpt_images.sandbox.faults.kinds import KINDS, FaultStage

BROKEN = [
    "refuse",
    "reset_before_body",
    "reset_in_body",
    "reset_after_body",
    "close_after_body",
    "reset_after_body_unbilled",
    "reset_in_headers",
    "reset_in_response_body",
    "close_in_response_body",
    "reset_before_last_byte",
    "not_http",
    "endless_headers",
]
ENDLESS = ["stall_in_headers", "stall_in_body", "stall_before_last_byte", "endless_body", "endless_5xx"]
STATUSES = {
    "400": 400,
    "content_policy": 400,
    "401": 401,
    "402": 402,
    "402_quote": 402,
    "403": 403,
    "404": 404,
    "408": 408,
    "409": 409,
    "413": 413,
    "429": 429,
    "429_date": 429,
    "429_daily": 429,
    "429_daily_usd": 429,
    "500": 500,
    "500_billed": 500,
    "500_not_billed": 500,
    "500_perhaps_billed": 500,
    "500_billed_once": 500,
    "500_not_yet_billed": 500,
    "502": 502,
    "503": 503,
    "503_deducted": 503,
    "503_limiter": 503,
    "504": 504,
    "524": 524,
    "html_5xx": 500,
    "empty_5xx": 500,
    "html_200": 200,
    "integer_code": 400,
    "unknown_error_shape": 400,
    "redirect": 307,
}
SUCCESSES = [
    kind for kind, about in KINDS.items() if about.stage is FaultStage.PAYLOAD and about.delivery != "url"
]


def billed(api):
    """Whether the one request was billed, as the ledger and the balance agree."""
    ledger = api.sandbox.ledger
    assert (api.sandbox.balance_usd() < 100) == bool(ledger.billed)
    return bool(ledger.billed)


@pytest.mark.parametrize("kind", BROKEN)
async def test_broken_connections(open_api, kind):
    """The connection breaks without a whole answer; the ledger says billed as the kind does; the next request works."""
    async with open_api(faults=[Fault(kind, times=1)]) as api:
        # Before 3.14 aiohttp reads headers without end, up to its limit of time.
        with pytest.raises((aiohttp.ClientError, ConnectionError, TimeoutError)):
            await api.images()
        assert billed(api) == KINDS[kind].billed
        assert not any(entry.answered for entry in api.sandbox.ledger.entries)
        assert (await api.images()).status == 200


@pytest.mark.parametrize("kind", STATUSES)
async def test_other_answers(open_api, kind):
    """The client gets another status, and is billed or not as the kind says."""
    async with open_api(faults=[Fault(kind)]) as api:
        reply = await api.images()
        assert reply.status == STATUSES[kind]
        assert reply.headers["X-Request-ID"]
        assert billed(api) == KINDS[kind].billed
        assert api.sandbox.ledger.entries[0].fault == kind


@pytest.mark.parametrize("kind", SUCCESSES)
async def test_altered_successes(open_api, kind):
    """An altered success is a 200, and is billed."""
    async with open_api(faults=[Fault(kind)]) as api:
        assert (await api.images(n=2)).status == 200
        assert billed(api)


async def altered(open_api, kind, **fields):
    """The JSON of a success with a fault, and its headers."""
    async with open_api(faults=[Fault(kind)]) as api:
        reply = await api.images(**{"n": 2, **fields})
        return reply.json, reply.headers


async def test_image_counts(open_api):
    """Fewer, more and no images come as they are called."""
    counts = {"fewer_images": 1, "more_images": 3, "zero_images": 0}
    for kind, count in counts.items():
        body, _ = await altered(open_api, kind)
        assert len(body["data"]) == count
    body, _ = await altered(open_api, "missing_data")
    assert "data" not in body


async def test_fewer_images_leaves_one(open_api):
    """Of a single image none is taken away."""
    body, _ = await altered(open_api, "fewer_images", n=1)
    assert len(body["data"]) == 1


async def test_altered_images(open_api):
    """Bytes that are no image, that are not base64, and that claim absurd dimensions."""
    body, _ = await altered(open_api, "not_an_image")
    assert base64.b64decode(body["data"][0]["b64_json"], validate=True).startswith(b"This is not")
    body, _ = await altered(open_api, "huge_dimensions")
    data = base64.b64decode(body["data"][0]["b64_json"], validate=True)
    assert struct.unpack(">II", data[16:24]) == (100_000, 100_000)
    body, _ = await altered(open_api, "undeclared_jpeg")
    assert base64.b64decode(body["data"][0]["b64_json"], validate=True).startswith(b"\xff\xd8\xff")
    for kind in ("garbage_base64", "truncated_base64"):
        body, _ = await altered(open_api, kind)
        with pytest.raises(ValueError, match=r"base64|[Ii]nvalid|padding"):
            base64.b64decode(body["data"][0]["b64_json"], validate=True)


async def test_altered_json(open_api):
    """Null entries, null fields, unknown fields, another order and half a document."""
    body, _ = await altered(open_api, "null_entries")
    assert [entry is None for entry in body["data"]] == [True, False, False, True]
    body, _ = await altered(open_api, "null_fields")
    assert body["cost"] is None
    assert body["data"][0]["url"] is None
    body, _ = await altered(open_api, "unknown_fields")
    assert body["apiVersion"] == 7
    assert body["data"][1]["meta"]["nsfw"] is False
    body, _ = await altered(open_api, "data_last")
    assert list(body)[-1] == "data"
    assert base64.b64decode(body["data"][0]["b64_json"], validate=True).startswith(b"\x89PNG")
    with pytest.raises(json.JSONDecodeError):
        await altered(open_api, "truncated_json")


async def test_altered_money_and_time(open_api):
    """Money and time come in all the forms that have been seen."""
    body, _ = await altered(open_api, "millisecond_created")
    assert body["created"] > 10**12
    body, _ = await altered(open_api, "decimal_string_money")
    assert (body["cost"], body["remainingBalance"]) == ("0.0002", "99.9998")
    body, headers = await altered(open_api, "header_money")
    assert "cost" not in body
    assert (headers["x-cost"], headers["x-remaining-balance"]) == ("0.0002", "99.9998")
    body, headers = await altered(open_api, "nano_money")
    assert (body["paymentSource"], headers["x-nano-cost"]) == ("XNO", "0.0002")
    body, headers = await altered(open_api, "no_money")
    assert "cost" not in body
    assert "x-cost" not in headers
    _, headers = await altered(open_api, "wrong_content_type")
    assert headers["Content-Type"] == "text/plain"


async def test_texts_about_billing(open_api):
    """The two 500s that speak of money say what the ledger says."""
    async with open_api(faults=[Fault("500_billed", times=1), Fault("500_not_billed")]) as api:
        assert "this request has been billed" in (await api.images()).json["error"]["message"]
        assert "You have not been charged" in (await api.images()).json["error"]["message"]
        assert [entry.billed for entry in api.sandbox.ledger.entries] == [True, False]


async def test_retry_after(open_api):
    """429 and 503 carry `Retry-After`: seconds, a date, or the time until 00:00 UTC."""
    waits = {"429": "1", "503": "1", "429_date": "Thu, 09 Oct 2025 08:53:22 GMT", "429_daily": "54400"}
    for kind, wait in waits.items():
        async with open_api(faults=[Fault(kind)], clock=lambda: 1_760_000_000.0) as api:
            assert (await api.images()).headers["Retry-After"] == wait


async def test_redirect(open_api):
    """A redirect points to the second origin; a client that follows it is recorded there with what it sends."""
    async with open_api(faults=[Fault("redirect", times=1)]) as api:
        reply = await api.images()
        assert reply.headers["Location"].startswith(api.sandbox.files_url + "/")
        await api.post(reply.headers["Location"], json={})
        assert "Authorization" in api.sandbox.visits[0].headers


async def test_reset_at_end(open_api):
    """With `reset_at_end` every byte arrives, and the ledger says that the request was answered."""
    async with open_api(faults=[Fault("reset_at_end", times=1)]) as api:
        assert (await api.images()).json["data"]
        await api.until_idle()
        assert api.sandbox.ledger.entries[0].answered


@pytest.mark.parametrize(
    "kind",
    ["stall_before_body", "stall_before_headers", "stall_in_body", "stall_before_last_byte", "slow_drip"],
)
async def test_stalls_that_end(open_api, kind):
    """A stall with `after_s` ends in an ordinary, billed success."""
    async with open_api(faults=[Fault(kind, after_s=0.001)]) as api:
        assert len((await api.images()).json["data"]) == 1
        assert billed(api)


async def test_a_stalled_head_ends_in_a_reset(open_api):
    """With `after_s` a stall within the headers ends the connection: the head cannot be taken back."""
    async with open_api(faults=[Fault("stall_in_headers", after_s=0.001)]) as api:
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await api.images()
        assert billed(api)


@pytest.mark.parametrize("kind", ["stall_before_body", "stall_before_headers", *ENDLESS])
async def test_stalls_until_the_client_goes(open_api, kind):
    """Without `after_s` a stall lasts until the client goes; then nothing of the request is left at work."""
    async with open_api(faults=[Fault(kind)]) as api:
        call = asyncio.create_task(api.images())
        await (api.until_posted() if kind == "stall_before_body" else api.until_billed())
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await api.until_idle()
        assert not any(entry.answered for entry in api.sandbox.ledger.entries)


async def test_closing_ends_stalls(open_api):
    """A sandbox that closes ends its stalls; the client sees a broken connection, not an answer."""
    async with open_api(faults=[Fault("stall_before_headers")]) as api:
        call = asyncio.create_task(api.images())
        await api.until_billed()
        await api.sandbox.__aexit__(None, None, None)
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await call


async def url_reply(open_api, *faults):
    """The first entry of a `url` answer, and the answer to its download and to a second one."""
    async with open_api(faults=faults) as api:
        entry = (await api.openai(response_format="url")).json["data"][0]
        replies = []
        for _ in range(2 if "url" in entry else 0):
            try:
                replies.append(await api.get(entry["url"]))
            except (aiohttp.ClientError, ConnectionError) as error:
                replies.append(error)
        assert billed(api)
        return entry, replies


async def test_dead_urls(open_api):
    """URLs that are gone, expired or answer HTML; the request was billed."""
    _, (gone, _) = await url_reply(open_api, Fault("url_404"))
    _, (expired, _) = await url_reply(open_api, Fault("url_expired"))
    _, (html, _) = await url_reply(open_api, Fault("url_html"))
    assert (gone.status, expired.status, html.status) == (404, 403, 200)
    assert html.headers["Content-Type"] == "text/html"
    entry, _ = await url_reply(open_api, Fault("b64_fallback"))
    assert "b64_json" in entry


async def test_spellings_of_an_image(open_api):
    """A data URL in either field and the other spellings of base64 hold the image; a task has an ID and no data."""
    usual, _ = await altered(open_api, "unknown_fields")
    image = base64.b64decode(usual["data"][0]["b64_json"])
    entry, _ = await url_reply(open_api, Fault("data_url_in_url"))
    assert base64.b64decode(entry["url"].removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    for kind in ("data_url", "unpadded_base64", "urlsafe_base64", "empty_image"):
        document, _ = await altered(open_api, kind)
        text = document["data"][0]["b64_json"].removeprefix("data:image/png;base64,")
        assert (
            base64.urlsafe_b64decode(text.translate(str.maketrans("+/", "-_")) + "=" * (-len(text) % 4))
            == image
        )
    assert document["data"][1] == {"b64_json": ""}
    broken, _ = await altered(open_api, "broken_image")
    assert ["*" in each["b64_json"] for each in broken["data"]] == [True, False]
    task, _ = await altered(open_api, "task_id")
    assert task["task_id"]
    assert "data" not in task


async def test_failing_downloads(open_api):
    """A download that breaks off, is reset or unavailable once is whole the second time."""
    _, (cut, whole) = await url_reply(open_api, Fault("url_cut", times=1))
    assert isinstance(cut, aiohttp.ClientPayloadError)
    assert whole.status == 200
    # aiohttp repeats a GET by itself when the connection breaks before the answer: two resets make one failure.
    _, (reset, whole) = await url_reply(open_api, Fault("url_reset", times=2))
    assert isinstance(reset, (aiohttp.ClientError, ConnectionError))
    assert whole.status == 200
    _, (busy, whole) = await url_reply(open_api, Fault("url_503", times=1))
    assert (busy.status, whole.status) == (503, 200)


@pytest.mark.parametrize("kind", ["url_stall", "url_endless"])
async def test_downloads_without_an_end(open_api, kind):
    """A download that stalls or never ends lasts until the client goes; the next one is whole."""
    async with open_api(faults=[Fault(kind, times=1)]) as api:
        url = (await api.openai(response_format="url")).json["data"][0]["url"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(api.get(url), 0.2)
        assert (await api.get(url)).status == 200


async def test_range_ignored(open_api):
    """`url_no_range` answers 200 with the whole file."""
    async with open_api(faults=[Fault("url_no_range")]) as api:
        url = (await api.openai(response_format="url")).json["data"][0]["url"]
        assert (await api.get(url, headers={"Range": "bytes=5-"})).status == 200


async def test_url_faults_pass_over_base64(open_api):
    """A fault about URLs neither strikes nor counts a request that wants base64."""
    async with open_api(faults=[Fault("url_404", times=1)]) as api:
        await api.images()
        assert api.sandbox.ledger.entries[0].fault is None
        url = (await api.openai(response_format="url")).json["data"][0]["url"]
        assert (await api.get(url)).status == 404


@pytest.mark.parametrize("kind", ["reset_before_body", "reset_in_body", "refuse"])
async def test_early_faults_by_prompt_and_model(open_api, kind):
    """Faults before the body is read can still be aimed, by what has arrived of it."""
    async with open_api(faults=[Fault(kind, prompt_contains="BOOM", model="hidream")]) as api:
        assert (await api.images("BOOM")).status == 200
        assert (await api.images("calm", model="hidream")).status == 200
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await api.images("BOOM", model="hidream")
        assert len(api.sandbox.ledger.entries) == 2


async def test_listings_and_account(open_api):
    """Faults strike listings, metadata and account pages when their route is named, and then no generation."""
    faults = [
        Fault("503", route="catalog", times=1),
        Fault("html_200", route="endpoints"),
        Fault("401", route="account"),
    ]
    async with open_api(faults=faults) as api:
        assert (await api.get("/api/v1/image-models")).status == 503
        assert (await api.get("/api/v1/image-models")).status == 200
        assert (await api.get("/api/v1/images/models/hidream/endpoints")).body.startswith(b"<!DOCTYPE html>")
        assert (await api.post("/api/check-balance")).status == 401
        assert (await api.images()).status == 200


async def test_altered_listings(open_api):
    """A listing can shrink between two calls, hold entries of no shape, be cut, or break off."""
    faults = [Fault("catalog_shrinks", times=1), Fault("catalog_grows", times=1)]
    faults += [Fault(kind, route="catalog", times=1) for kind in ("truncated_json", "reset_in_response_body")]
    async with open_api(faults=faults) as api:
        shrunk, grown, cut = [await api.get("/api/v1/images/models") for _ in range(3)]
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await api.get("/api/v1/images/models")
        whole = await api.get("/api/v1/images/models")
        count = len(whole.json["data"])
        assert len(shrunk.json["data"]) == (count + 1) // 2
        assert None in grown.json["data"]
        assert whole.body.startswith(cut.body)
        assert len(cut.body) == len(whole.body) // 2


async def test_catalogues_that_change(open_api):
    """Between two calls models go by other IDs, are described in unknown words, and become ten thousand."""
    kinds = ("catalog_renames", "catalog_unknown_kinds", "catalog_huge")
    async with open_api(faults=[Fault(kind, times=1) for kind in kinds]) as api:
        renamed, unknown, huge, usual = [
            (await api.get("/api/v1/images/models")).json["data"] for _ in range(4)
        ]
        ids = [entry["id"] for entry in usual]
        assert [entry["id"] for entry in renamed[::2]] == ids[::2]
        assert not {entry["id"] for entry in renamed[1::2]} & set(ids)
        assert all(entry["supported_parameters"]["n"]["type"] == "spectrum" for entry in unknown)
        assert len({entry["id"] for entry in huge}) == 10_000
        assert [entry["id"] for entry in huge[: len(ids)]] == ids


async def test_billed_can_be_set(open_api):
    """A rule may bill where its kind does not, and the reverse; the ledger follows the rule."""
    async with open_api(faults=[Fault("500", billed=True, times=1), Fault("502", billed=False)]) as api:
        assert (await api.images()).status == 500
        assert (await api.images()).status == 502
        assert [entry.billed for entry in api.sandbox.ledger.entries] == [True, False]


def test_every_kind_is_tested():
    """No kind is missing from the tables above."""
    tested = {
        *BROKEN,
        *STATUSES,
        *SUCCESSES,
        *ENDLESS,
        "stall_before_body",
        "stall_before_headers",
        "slow_drip",
    }
    tested |= {"reset_at_end", "b64_fallback", "data_url_in_url"}
    tested |= {kind for kind in KINDS if kind.startswith(("url_", "catalog_"))}
    assert tested == set(KINDS)


def test_every_kind_is_documented():
    """The tables in the documentation have each kind once, with what it bills and what the client sees."""
    page = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text("utf-8")
    found = list[tuple[str, str, str]]()
    for section in page.partition("## Make it fail")[2].split("\n### ")[1:]:
        all_billed = (
            "yes" if "billed in any case" in section or "All of these are billed" in section else "no"
        )
        for row in re.findall(r"^\| `(.+?)` \| (.+) \|$", section, re.MULTILINE):
            billed, bar, effect = row[1].partition(" | ")
            found.append((row[0], billed, effect) if bar else (row[0], all_billed, row[1]))
    free = {FaultStage.FILE, FaultStage.LISTING}
    assert sorted((name, effect) for name, _, effect in found) == sorted(
        (name, kind.effect) for name, kind in KINDS.items()
    )
    assert {name: billed == "yes" for name, billed, _ in found if KINDS[name].stage not in free} == {
        name: kind.billed for name, kind in KINDS.items() if kind.stage not in free
    }
