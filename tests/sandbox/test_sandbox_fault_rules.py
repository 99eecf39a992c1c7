"""Fault rules: which requests they strike, and how they are written in a file."""

from __future__ import annotations

import json

import pytest

from nanogpt_images.sandbox import Fault, load_faults
from nanogpt_images.sandbox.faults.kinds import FaultStage
from nanogpt_images.sandbox.faults.rules import FaultPicker, FaultTarget

ALL = frozenset(FaultStage)
FOX = FaultTarget(route="images", model="hidream", prompt="a red fox", delivery="b64_json")


def struck(fault, targets, *, seed=0):
    """Numbers of the targets that *fault* strikes, from 1."""
    picker = FaultPicker([fault], seed)
    return [number for number, target in enumerate(targets, 1) if picker.pick(target, ALL)]


@pytest.mark.parametrize(
    ("conditions", "numbers"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"every": 3}, [3, 6]),
        ({"times": 2}, [1, 2]),
        ({"skip": 5}, [6, 7, 8]),
        ({"skip": 1, "every": 2, "times": 2}, [3, 5]),
        ({"rate": 0.0}, []),
        ({"rate": 1.0}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"prompt_contains": "red"}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"prompt_contains": "blue"}, []),
        ({"model": "hidream"}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"model": "other"}, []),
        ({"route": "openai"}, []),
        ({"route": "images"}, [1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_conditions(conditions, numbers):
    """Conditions strike the requests they describe."""
    assert struck(Fault("500", **conditions), [FOX] * 8) == numbers


def test_every_counts_matching_requests():
    """`every` counts the requests that meet the other conditions, not all requests."""
    other = FaultTarget(route="images", model="other", prompt="x")
    assert struck(Fault("500", every=2, model="hidream"), [FOX, other, other, FOX, other, FOX, FOX]) == [4, 7]


def test_rate_is_repeatable():
    """The same seed draws the same faults; a rate is met in the long run."""
    fault = Fault("500", rate=0.1)
    first = struck(fault, [FOX] * 5000, seed=1)
    assert struck(fault, [FOX] * 5000, seed=1) == first
    assert struck(fault, [FOX] * 5000, seed=2) != first
    assert 400 < len(first) < 600


def test_first_rule_wins():
    """Of several rules the first that strikes decides."""
    picker = FaultPicker([Fault("500", times=1), Fault("502", times=1)], 0)
    kinds = [fault.kind for fault in (picker.pick(FOX, ALL) for _ in range(3)) if fault]
    assert kinds == ["500", "502"]


def test_usual_routes():
    """Without a route, faults strike generations; faults of downloads and listings strike those."""
    routes = ["images", "openai", "catalog", "endpoints", "account", "files"]
    targets = [FaultTarget(route=route) for route in routes]
    assert struck(Fault("500"), targets) == [1, 2]
    assert struck(Fault("url_cut"), targets) == [6]
    assert struck(Fault("catalog_shrinks"), targets) == [3]
    assert struck(Fault("500", route="files"), targets) == [6]


def test_clear_starts_again():
    """After `clear` the same requests meet the same faults."""
    picker = FaultPicker([Fault("500", times=1), Fault("502", rate=0.5)], 0)
    first = [picker.pick(FOX, ALL) for _ in range(9)]
    picker.clear()
    assert [picker.pick(FOX, ALL) for _ in range(9)] == first


def test_unknown_kind():
    """An unknown kind is refused where it is written, with the known ones."""
    with pytest.raises(ValueError, match=r"Unknown fault kind 'explode'.*reset_after_body"):
        Fault("explode")


@pytest.mark.parametrize("wrap", [lambda faults: faults, lambda faults: {"faults": faults}])
def test_file(tmp_path, wrap):
    """A file holds rules as objects, or just a kind as text."""
    path = tmp_path / "faults.json"
    path.write_text(
        json.dumps(
            wrap(["503", {"kind": "reset_after_body", "every": 7, "rate": 1, "billed": True, "model": None}])
        )
    )
    assert load_faults(path) == [Fault("503"), Fault("reset_after_body", every=7, rate=1, billed=True)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("7", "must contain an array"),
        ('{"fault": []}', "must contain an array"),
        ("[7]", "entry 1: a fault must be an object"),
        ('["500", {"every": 2}]', "entry 2: .*kind"),
        ('[{"kind": "nope"}]', "entry 1: Unknown fault kind"),
        ('[{"kind": "500", "evry": 2}]', "entry 1: unknown key 'evry'"),
        ('[{"kind": "500", "every": "2"}]', "entry 1: every cannot be '2'"),
        ('[{"kind": "500", "every": true}]', "entry 1: every cannot be True"),
        ('[{"kind": 500}]', "entry 1: kind cannot be 500"),
        ('[{"kind": "500", "every": 0}]', "entry 1: every must be at least 1"),
        ('[{"kind": "500", "rate": 2}]', "entry 1: rate must be from 0 to 1"),
        ('[{"kind": "500", "route": "nowhere"}]', "entry 1: unknown route 'nowhere'"),
    ],
)
def test_bad_files(tmp_path, text, message):
    """A bad file is refused with the number of the entry and what is wrong with it."""
    path = tmp_path / "faults.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_faults(path)
