"""`to_dict()`: JSON types only, for everything that a caller gets."""

from __future__ import annotations

import copy
import json
import math
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
from fakes import PNG, connected
from fastapi.encoders import jsonable_encoder

import nanogpt_images as ngi
from nanogpt_images._base.jsonable import Jsonable, json_value
from nanogpt_images.types.result import Downloader

WITH_TO_DICT = [
    ngi.GenerationResult, ngi.BlockingResult, ngi.Image, ngi.BlockingImage, ngi.Model, ngi.ImageModel, ngi.ListedModel,
    ngi.Listing, ngi.ModelEndpoints, ngi.Endpoint, ngi.BatchReport, ngi.BatchFailure, ngi.BatchEvent, ngi.Estimate,
    ngi.ModelEstimate, ngi.Problem, ngi.AttemptEnded, ngi.GenerationStarted, ngi.GenerationEnded, ngi.Balance, ngi.Usage,
    ngi.ExportReport,
]  # fmt: skip


def round_trip(value: Jsonable) -> dict[str, object]:
    """The dictionary of *value*, which JSON gives back as it is."""
    found = value.to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


@pytest.mark.parametrize("kind", WITH_TO_DICT)
def test_every_value_of_a_caller_has_it(kind: type[Jsonable]) -> None:
    """Results, models, reports, plans and events all have the method; no field of theirs is called like it."""
    assert issubclass(kind, Jsonable)
    assert "to_dict" not in attrs.fields_dict(kind)


async def test_the_encoder_of_fastapi_gives_the_same() -> None:
    """A handler may return a result, a listing or a report as it is: FastAPI makes of it what `to_dict()` does."""
    async with connected() as (client, _):
        result = await client.images.generate("a fox", model="tiny-and-fast")
        listing = await client.catalog.models()
        report = await client.run_batch(["a fox"], model="tiny-and-fast")
        for value in (result, result.images[0], listing, report, await client.account.usage()):
            assert jsonable_encoder(value) == value.to_dict()
            assert copy.copy(value).to_dict() == value.to_dict()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        (math.inf, None),
        (1.5, 1.5),
        (True, True),
        (Path("a") / "b", str(Path("a") / "b")),
        (datetime(2026, 11, 21, tzinfo=UTC), "2026-11-21T00:00:00+00:00"),
        (ngi.Charge.UNKNOWN, ngi.Charge.UNKNOWN.value),
        ({1: (2, {"a": {3}})}, {"1": [2, {"a": [3]}]}),
        ({None: 1, ngi.BatchState.DONE: 2}, {"None": 1, "done": 2}),
        (b"abc", "3 bytes"),
        (ngi.EnumSpec(("a", "b")), {"values": ["a", "b"], "default": None}),
    ],
)
def test_values_without_a_json_form(value: object, expected: object) -> None:
    """Each kind of value has one JSON form, inside containers too."""
    assert json_value(value) == expected
    assert json_value([value]) == [expected]


def test_an_object_of_a_caller_is_a_short_text() -> None:
    """A reference image that is a Pillow image, say, does not break a log line."""
    assert isinstance(json_value(object()), str)


def test_an_error_says_what_is_known() -> None:
    """An error is its class, its text, the money and the service's facts, whatever its class is."""
    error = ngi.DailyLimitError("too much", status=429, code="daily", request_id="r", retry_after_s=60.0)
    assert json_value(error) == {
        "type": "DailyLimitError",
        "message": str(error),
        "charge": error.charge.value,
        "status": 429,
        "code": "daily",
        "request_id": "r",
        "retry_after_s": 60.0,
    }
    assert json_value(KeyError("k")) == {
        "type": "KeyError", "message": "'k'", "charge": None, "status": None, "code": None, "request_id": None,
        "retry_after_s": None,
    }  # fmt: skip


def test_an_image_without_its_bytes() -> None:
    """The bytes and the client stay behind; a signed URL is whole, because it is the way to the image."""
    url = "https://files.example/a.png?sig=secret"
    found = round_trip(ngi.Image(data=PNG, url=url, path=Path("fox.png"), downloader=Downloader()))
    assert found["url"] == url
    assert found["path"] == "fox.png"
    assert {"data", "downloader", "portal"}.isdisjoint(found)


async def test_what_a_client_gives(tmp_path: Path) -> None:
    """A result, a listing, a plan, a report and the events of a batch and of a client come through JSON unchanged."""
    seen: list[ngi.ClientEvent] = []
    events: list[ngi.BatchEvent] = []
    rows = [
        ngi.BatchRow("a fox", "tiny-and-fast", key="fox"),
        ngi.BatchRow("a fox", "tiny-and-fast", key="odd", resolution="9x9"),
    ]
    async with connected() as (client, _):
        client.observe(seen.append)
        result = await client.images.generate("a fox", model="tiny-and-fast")
        models = await client.catalog.image_models()
        report = await client.run_batch(rows, out=tmp_path, on_event=events.append)
    found = round_trip(result)
    assert found["model"] == "tiny-and-fast"
    assert isinstance(found["images"], list)
    assert round_trip(models)["data"] == [round_trip(model) for model in models]
    assert round_trip(ngi.estimate(rows, models)) == ngi.estimate(rows, models).to_json()
    assert "samples" not in round_trip(report)
    assert {str(round_trip(event)["key"]) for event in events} == {"fox", "odd"}
    failed = next(round_trip(event) for event in events if event.key == "odd")
    assert isinstance(failed["error"], dict)
    assert failed["error"]["type"] == "ParameterError"
    assert len([round_trip(event) for event in seen]) == len(seen) > 2
