"""The ledger adds up, and the account agrees with it."""

from __future__ import annotations

import asyncio
import math

from nanogpt_images.sandbox import Fault, Ledger


async def test_entries_and_totals(open_api):
    """Each accepted request is one entry; totals and balance are the sum of what was billed."""
    async with open_api() as api:
        await api.images("one", model="gpt-image-2", n=3)
        await api.openai("two", model="hidream")
        await api.images("refused", model="hidream", n=9)
        document = (await api.get("/_sandbox/ledger")).json
        assert [
            (e["prompt"], e["route"], e["n"], e["images"], e["cost_usd"]) for e in document["entries"]
        ] == [
            ("one", "images", 3, 3, 0.19653),
            ("two", "openai", None, 1, 0.014),
        ]
        assert document["totals"] == {"requests": 2, "images": 4, "cost_usd": 0.21053}
        assert document["posts"] == 3
        assert all(
            entry["billed"] and entry["answered"] and entry["status"] == 200 for entry in document["entries"]
        )
        assert api.sandbox.balance_usd() == 99.78947
        assert api.sandbox.ledger.total_usd == 0.21053


async def test_request_id_of_the_answer(open_api):
    """An entry and its answer carry the same request ID."""
    async with open_api() as api:
        reply = await api.images()
        assert api.sandbox.ledger.entries[0].request_id == reply.headers["X-Request-ID"]


async def test_no_key_in_the_ledger(open_api):
    """The ledger shows a label of the key, never the key."""
    async with open_api() as api:
        await api.images()
        assert api.sandbox.api_key.encode() not in (await api.get("/_sandbox/ledger")).body
        assert api.sandbox.ledger.entries[0].key


async def test_totals_only(open_api):
    """`entries=0` leaves the single entries out."""
    async with open_api() as api:
        await api.images()
        document = (await api.get("/_sandbox/ledger?entries=0")).json
        assert (document["entries"], document["totals"]["requests"]) == ([], 1)


async def test_reset(open_api):
    """A reset empties the ledger and restores the balance."""
    async with open_api() as api:
        await api.images()
        assert (await api.post("/_sandbox/reset")).json == {"reset": True}
        assert api.sandbox.ledger.entries == api.sandbox.ledger.posts == []
        assert api.sandbox.balance_usd() == 100.0


async def test_client_gone_before_the_body(open_api):
    """A client that leaves with its body incomplete is not billed."""
    async with open_api() as api:
        host, port = api.sandbox.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /api/v1/images HTTP/1.1\r\nHost: {host}\r\nx-api-key: {api.sandbox.api_key}\r\nContent-Length: 99\r\n\r\n{{"
        writer.write(head.encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await api.until_idle()
        assert api.sandbox.ledger.entries == []


async def test_client_gone_while_drawing(open_api):
    """A client that leaves while its images are drawn is billed, and the ledger says that it was not answered."""
    gate = Fault("stall_before_headers")
    async with open_api(faults=[gate]) as api:
        call = asyncio.create_task(api.images())
        await api.until_billed()
        call.cancel()
        await api.until_idle()
        (entry,) = api.sandbox.ledger.entries
        assert (entry.billed, entry.answered) == (True, False)


async def test_balance_is_held_while_drawing(open_api):
    """Two requests at once cannot spend the same balance."""
    async with open_api(balance_usd=0.07, latency_s=0.01) as api:
        replies = await asyncio.gather(*(api.images(model="gpt-image-2") for _ in range(4)))
        assert sorted(reply.status for reply in replies) == [200, 402, 402, 402]
        assert math.isclose(api.sandbox.balance_usd(), 0.07 - 0.06551)


async def test_in_flight(open_api):
    """The ledger knows how many requests were at work at once."""
    async with open_api(latency_s=0.05) as api:
        await asyncio.gather(*(api.images(str(i)) for i in range(7)))
        assert (api.sandbox.ledger.max_in_flight, api.sandbox.ledger.in_flight) == (7, 0)


def test_starts_in_any_second():
    """The busiest second is found wherever it begins, its end excluded."""
    ledger = Ledger()
    assert ledger.max_starts_in_any_second() == 0
    ledger.posts += [0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 3.0]
    assert ledger.max_starts_in_any_second() == 4  # 0.5 to 1.25; the one at 1.5 is a second later


async def test_balance_page(open_api):
    """`check-balance` gives what is left, for a key only."""
    async with open_api() as api:
        await api.images(model="gpt-image-2")
        reply = await api.post("/api/check-balance", headers={"x-api-key": api.sandbox.api_key})
        assert float(reply.json["usd_balance"]) == 99.93449
        assert (await api.post("/api/check-balance", headers={})).status == 401


async def test_usage_page(open_api):
    """Usage adds up the UTC days asked for, by model, and leaves out what was not billed."""
    now = [1_760_000_000.0]  # 2025-10-09
    async with open_api(clock=lambda: now[0], faults=[Fault("500", prompt_contains="fail")]) as api:
        await api.images(model="gpt-image-2")
        await api.images("fail", model="gpt-image-2")
        now[0] += 86_400
        await api.images(model="gpt-image-2", n=2)
        await api.images(model="hidream")
        key = {"headers": {"x-api-key": api.sandbox.api_key}}
        both = await api.get("/api/v1/usage?from=2025-10-09&to=2025-10-10&group_by=model", **key)
        tokens = dict.fromkeys(("inputTokens", "outputTokens", "reasoningTokens", "totalTokens"), 0)
        money = {"costUsd": 0.21053, "refundedUsd": 0.0, "netCostUsd": 0.21053}
        assert both.json["totals"] == {"requests": 3, **money, **tokens}
        assert [(line["model"], line["requests"]) for line in both.json["byModel"]] == [
            ("GPT Image 2", 2),
            ("HiDream", 1),
        ]
        first = await api.get("/api/v1/usage?from=2025-10-09&to=2025-10-09", **key)
        assert first.json["totals"]["costUsd"] == 0.06551
        assert (await api.get("/api/v1/usage")).status == 401
