"""`GET /api/v1/usage` of the sandbox, held against what the service documents."""

from __future__ import annotations

import pytest

# Source: https://docs.nano-gpt.com/api-reference/endpoint/usage, "Field Reference" and "Grouping".
TOP = {"object", "scope", "apiKey", "from", "to", "timezone", "groupBy", "asOf", "source", "totals"}
SUMS = {"requests", "costUsd", "refundedUsd", "netCostUsd"} | {
    "inputTokens",
    "outputTokens",
    "reasoningTokens",
    "totalTokens",
}
ARRAYS = {"byDay": SUMS | {"date"}, "byModel": SUMS | {"model"}, "byDayModel": SUMS | {"date", "model"}}
NOW = 1_790_000_000.0  # 2026-09-21


async def usage(open_api, query: str = "", *, generate: bool = True):
    """The answer for *query*, after one generation today."""
    async with open_api(clock=lambda: NOW) as api:
        if generate:
            await api.images(model="gpt-image-2")
        return await api.get(f"/api/v1/usage{query}", headers={"x-api-key": api.sandbox.api_key})


@pytest.mark.parametrize(
    ("query", "grouping", "arrays"),
    [
        ("", "day,model", {"byDay", "byModel", "byDayModel"}),
        ("?group_by=day,model", "day,model", {"byDay", "byModel", "byDayModel"}),
        ("?group_by=model,day", "day,model", {"byDay", "byModel", "byDayModel"}),
        ("?group_by=day", "day", {"byDay"}),
        ("?group_by=model", "model", {"byModel"}),
    ],
)
async def test_shape_and_grouping(open_api, query, grouping, arrays):
    """Every documented property is there, and of the arrays those of the grouping."""
    body = (await usage(open_api, query)).json
    assert set(body) == TOP | arrays
    assert (body["object"], body["scope"], body["timezone"]) == ("usage", "current_key", "UTC")
    assert body["groupBy"] == grouping
    assert isinstance(body["apiKey"]["id"], int)
    assert set(body["source"]) == {"rollupDays", "liveDays", "missingRollupDays"}
    assert set(body["totals"]) == SUMS
    for name in arrays:
        (line,) = body[name]
        assert set(line) == ARRAYS[name]
        assert line["requests"] == 1
        assert line.get("model", "GPT Image 2") == "GPT Image 2"
        assert line.get("date", "2026-09-21") == "2026-09-21"


async def test_the_last_thirty_days_are_the_default(open_api):
    """Without a range it is the last 30 UTC days, today included and live."""
    body = (await usage(open_api)).json
    assert (body["from"], body["to"]) == ("2026-08-23", "2026-09-21")
    assert len(body["source"]["rollupDays"]) == 29
    assert body["source"]["liveDays"] == ["2026-09-21"]


async def test_to_is_inclusive(open_api):
    """A range that ends today has what was spent today; one that ended yesterday has not."""
    today = await usage(open_api, "?from=2026-09-21&to=2026-09-21")
    yesterday = await usage(open_api, "?from=2026-09-20&to=2026-09-20")
    assert today.json["totals"]["requests"] == 1
    assert (yesterday.json["totals"]["requests"], yesterday.json["source"]["liveDays"]) == (0, [])


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?from=2026-09-01", 400),
        ("?to=2026-09-01", 400),
        ("?from=2026-09-02&to=2026-09-01", 400),
        ("?from=2026-09-01&to=2026-09-22", 400),
        ("?from=2025-09-20&to=2026-09-21", 400),  # 367 days
        ("?from=2025-09-21&to=2026-09-21", 200),  # 366 days
        ("?from=21.9.2026&to=2026-09-21", 400),
        ("?group_by=hour", 400),
        ("?scope=account", 400),
        ("?scope=api_key", 200),
    ],
)
async def test_what_is_refused(open_api, query, status):
    """Half a range, one that is reversed, in the future or too long, and unknown groupings are 400."""
    assert (await usage(open_api, query, generate=False)).status == status
