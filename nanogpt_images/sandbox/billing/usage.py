"""`GET /api/v1/usage`: what a key spent, grouped as the service documents it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta

from ..catalog.definitions import SandboxModel
from ..http.refusals import Refusal, refuse
from ..http.responses import JsonObject
from ..ledger import Entry

_MOST_DAYS = 366
_DEFAULT_DAYS = 30
_GROUPINGS = {"day": "day", "model": "model", "day,model": "day,model", "model,day": "day,model"}
_SCOPES = ("current_key", "api_key")


def usage_body(
    entries: Iterable[Entry],
    key: str,
    query: Mapping[str, str],
    models: Mapping[str, SandboxModel],
    now: float,
) -> JsonObject:
    """
    Return the body for *query*: what *key* was billed, by day and by display name of the model.

    Raises:
        Refusal: 400, the range, grouping or scope is not documented.
    """
    first, last = _days(query, datetime.fromtimestamp(now, UTC).date())
    grouping = _GROUPINGS.get(query.get("group_by", "day,model"))
    if grouping is None:
        raise _refused("group_by", "group_by must be day, model or day,model.")
    scope = query.get("scope", _SCOPES[0])
    if scope not in _SCOPES:
        raise _refused("scope", "scope must be current_key or api_key.")
    mine = [
        entry
        for entry in entries
        if entry.billed and entry.key == key and str(first) <= utc_day(entry.started) <= str(last)
    ]

    def label(entry: Entry) -> str:
        model = models.get(entry.model)
        return entry.model if model is None else model.name.strip()

    def day(entry: Entry) -> str:
        return utc_day(entry.started)

    today = utc_day(now)
    days = [str(first + timedelta(days=number)) for number in range((last - first).days + 1)]
    body: JsonObject = {
        "object": "usage",
        "scope": scope,
        "apiKey": {"id": int(key, 16)},
        "from": str(first),
        "to": str(last),
        "timezone": "UTC",
        "groupBy": grouping,
        "asOf": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(now)),
        "source": {
            "rollupDays": [each for each in days if each != today],
            "liveDays": [each for each in days if each == today],
            "missingRollupDays": [],
        },
        "totals": _sums(mine),
    }
    if "day" in grouping:
        body["byDay"] = _grouped(mine, {"date": day})
    if "model" in grouping:
        body["byModel"] = _grouped(mine, {"model": label})
    if grouping == "day,model":
        body["byDayModel"] = _grouped(mine, {"date": day, "model": label})
    return body


def utc_day(seconds: float) -> str:
    """Format the UTC day of a Unix time as `YYYY-MM-DD`."""
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _days(query: Mapping[str, str], today: date) -> tuple[date, date]:
    if "from" not in query and "to" not in query:
        return today - timedelta(days=_DEFAULT_DAYS - 1), today
    if "from" not in query or "to" not in query:
        raise _refused("from", "from and to must be provided together.")
    first, last = _day("from", query["from"]), _day("to", query["to"])
    if last < first:
        raise _refused("to", "to must be on or after from.")
    if last > today:
        raise _refused("to", "to cannot be in the future.")
    if (last - first).days >= _MOST_DAYS:
        raise _refused("from", f"The range is capped at {_MOST_DAYS} days.")
    return first, last


def _day(name: str, text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise _refused(name, f"{name} must be a YYYY-MM-DD date.") from None


def _refused(parameter: str, message: str) -> Refusal:
    # Assumption: the documents give no code for these errors.
    return refuse(400, "invalid_parameter", message, parameter=parameter, route="openai")


def _grouped(entries: Iterable[Entry], by: Mapping[str, Callable[[Entry], str]]) -> list[JsonObject]:
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(tuple(value(entry) for value in by.values()), []).append(entry)
    return [{**dict(zip(by, names, strict=True)), **_sums(groups[names])} for names in sorted(groups)]


def _sums(entries: Iterable[Entry]) -> JsonObject:
    listed = list(entries)
    cost_usd = round(sum(entry.cost_usd for entry in listed), 9)
    refunded_usd = round(sum(entry.refunded_usd for entry in listed), 9)
    return {
        "requests": len(listed),
        "costUsd": cost_usd,
        "refundedUsd": refunded_usd,
        "netCostUsd": round(cost_usd - refunded_usd, 9),
        "inputTokens": 0,
        "outputTokens": 0,
        "reasoningTokens": 0,
        "totalTokens": 0,
    }
