"""`models` and `model`."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanogpt_images.sandbox import BlockingSandbox

from ..conftest import Run


def test_table(run: Run, service: BlockingSandbox) -> None:
    """The table has a line per model with its count rule and price, and needs no key."""
    done = run("models", "--base-url", service.url)
    assert done.code == 0
    header, *lines = done.out.splitlines()
    assert header.split() == ["ID", "NAME", "IMAGES", "RESOLUTIONS", "PRICE", "INPUTS"]
    assert len(lines) == len(service.sandbox.models)
    grid = next(line for line in lines if line.startswith("midjourney-like/grid"))
    assert "always 4" in grid
    assert "$0.0125" in grid


def test_address_from_the_environment(run: Run, service: BlockingSandbox) -> None:
    """NANOGPT_BASE_URL stands in for --base-url."""
    done = run("models", "--search", "krea", "--json", NANOGPT_BASE_URL=service.url)
    assert [model["id"] for model in done.document["models"]] == ["krea-v2/turbo"]


def test_json(run: Run, service: BlockingSandbox) -> None:
    """--json gives one document with the facts as values."""
    done = run("models", "--search", "midjourney", "--json", "--base-url", service.url)
    (model,) = done.document["models"]
    assert model["images_per_request"]["fixed"] == 4
    assert model["resolutions"] == ["1024x1024"]
    assert (model["price_low_usd"], model["price_high_usd"]) == (0.0125, 0.0125)
    assert done.err == ""


def test_search_without_a_find(run: Run, service: BlockingSandbox) -> None:
    """A search that finds nothing says so on stderr and leaves stdout empty."""
    done = run("models", "--search", "no such thing", "--base-url", service.url)
    assert (done.code, done.out) == (0, "")
    assert "no such thing" in done.err


def test_model(run: Run, service: BlockingSandbox) -> None:
    """`model` shows count rule, prices per resolution and aspect ratios of an ID with a slash."""
    done = run("model", "krea-v2/turbo", "--base-url", service.url)
    assert done.code == 0
    for text in (
        "1 to 4 per request",
        "$0.008 at 1k",
        "$0.016 at 2k",
        "16:9",
        "generate 'a red fox' -m krea-v2/turbo",
    ):
        assert text in done.out


def test_model_as_json(run: Run, service: BlockingSandbox) -> None:
    """`model --json` holds the raw parameters and the endpoint metadata too."""
    document = run("model", "gpt-image-2", "--json", "--base-url", service.url).document
    assert document["id"] == "gpt-image-2"
    assert document["prices_usd"]["per_image"]["1024x1024"] == 0.06551
    assert document["supported_parameters"]
    assert document["endpoints"]


def test_unknown_model(run: Run, service: BlockingSandbox) -> None:
    """An unknown ID is bad usage, and near matches are named."""
    done = run("model", "gpt-image-3", "--base-url", service.url)
    assert done.code == 2
    assert "gpt-image-2" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("url", "code", "text"),
    [
        ("http://example.invalid", 2, "not https"),
        ("ftp://127.0.0.1", 2, "base_url"),
    ],
)
def test_bad_address(run: Run, tmp_path: Path, url: str, code: int, text: str) -> None:
    """An address that cannot be used gives one line."""
    done = run("models", "--base-url", url)
    assert done.code == code
    assert text in done.err
    assert len(done.err.splitlines()) == 1
