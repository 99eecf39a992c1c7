"""`--provenance`, `show` and `regenerate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes import PNG

from nanogpt_images import Provenance, read_provenance
from nanogpt_images._version import __version__
from nanogpt_images.outputs import DirectoryStore
from nanogpt_images.sandbox import BlockingSandbox

from .conftest import Run

FOX = ("generate", "a red fox", "-m", "tiny-and-fast", "-r", "64x64", "--seed", "7", "--name", "fox")


def test_generate_show_and_regenerate(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """A file that was written with --provenance tells how it was made, and is made again just so."""
    assert run(*FOX, "--provenance", "--base-url", service.url).code == 0
    shown = run("show", "fox.png", "--json").document
    assert shown["provenance"] == {
        "prompt": "a red fox",
        "model": "tiny-and-fast",
        "route": "images",
        "parameters": {"resolution": "64x64"},
        "seed": 7,
        "left_out": [],
        "request_id": service.ledger.billed[0].request_id,
        "service": service.url,
        "version": __version__,
    }
    again = run("regenerate", "fox.png", "--name", "again", "--budget", "1", "--base-url", service.url)
    assert again.code == 0
    assert "plan: 1 image of tiny-and-fast · cost $0.0001 · budget $1.00" in again.err
    first, second = service.ledger.billed
    assert (first.prompt, first.model, first.cost_usd) == (second.prompt, second.model, second.cost_usd)
    assert read_provenance(tmp_path / "again.png") is None


def test_show_as_text(run: Run, service: BlockingSandbox) -> None:
    """Prompt, model, seed and parameters stand in lines."""
    run(*FOX, "--provenance", "--base-url", service.url)
    done = run("show", "fox.png")
    assert done.code == 0
    lines = {line.split("  ")[0]: line.split("  ")[-1].strip() for line in done.out.splitlines()}
    assert lines["prompt"] == "a red fox"
    assert (lines["model"], lines["seed"], lines["parameters"]) == (
        "tiny-and-fast",
        "7",
        'resolution="64x64"',
    )


def test_the_key_is_in_no_file(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """What is written into an image is not the key."""
    run(*FOX, "--provenance", "--base-url", service.url, NANOGPT_API_KEY=service.api_key)
    assert service.api_key.encode() not in (tmp_path / "fox.png").read_bytes()


def test_without_the_option_nothing_is_written(run: Run, service: BlockingSandbox) -> None:
    """By default a file is what the service sent, and says nothing."""
    run(*FOX, "--base-url", service.url)
    shown, again = run("show", "fox.png"), run("regenerate", "fox.png", "--base-url", service.url)
    assert (shown.code, again.code) == (1, 2)
    assert "--provenance" in shown.err
    assert "Nothing was sent" in again.err
    assert run("show", "fox.png", "--json").document == {"file": "fox.png", "provenance": None}
    assert len(service.ledger.posts) == 1


def test_show_of_no_file(run: Run) -> None:
    """A file that is not there is an error in one line."""
    done = run("show", "fox.png")
    assert done.code == 2
    assert done.err.startswith("error: cannot read fox.png: No such file")


def test_regenerate_keeps_to_its_budget(run: Run, service: BlockingSandbox) -> None:
    """What could cost more than --budget is not sent, and the exit code says so."""
    run(*FOX, "--provenance", "--base-url", service.url)
    done = run("regenerate", "fox.png", "--name", "b", "--budget", "0.00001", "--base-url", service.url)
    assert done.code == 3
    assert len(service.ledger.posts) == 1


@pytest.mark.parametrize("route", ["images", "openai"])
def test_regenerate_needs_the_input_images(
    run: Run, service: BlockingSandbox, tmp_path: Path, route: str
) -> None:
    """Input images are not in the file, so regenerate asks for them by name."""
    run("generate", "a hare", "-m", "tiny-and-fast", "--name", "input", "--base-url", service.url)
    made = run(
        "generate", "a fox", "-m", "gpt-image-2", "--route", route, "--ref", "input.png", "--name", "fox", "--provenance",
        "--base-url", service.url,
    )  # fmt: skip
    assert made.code == 0, made.err
    assert b"input.png" not in (tmp_path / "fox.png").read_bytes()
    without = run("regenerate", "fox.png", "--name", "again", "--base-url", service.url)
    assert without.code == 2
    assert "--ref" in without.err
    again = run("regenerate", "fox.png", "--name", "again", "--ref", "input.png", "--base-url", service.url)
    assert again.code == 0, again.err
    assert len(service.ledger.billed) == 3


def test_a_strangers_record_reads_no_file_of_ours(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """A record that names a local file as an input image is none, and nothing is sent."""
    record = Provenance(prompt="a fox", model="gpt-image-2", parameters={"input_references": "prompts.jsonl"})
    store = DirectoryStore(tmp_path, lambda index, total: "fox", provenance=record)
    store.open(0).write(PNG)
    assert store.finish([0])[0].problem is None
    done = run("regenerate", "fox.png", "--name", "again", "--base-url", service.url)
    assert done.code == 2
    assert "does not say how it was made" in done.err
    assert service.ledger.posts == []


def test_batch_and_its_journal(run: Run, service: BlockingSandbox, tmp_path: Path, manifest: Path) -> None:
    """Each image of a batch tells of its own request; the results list the files as they are on disk."""
    done = run(
        "batch",
        manifest,
        "-m",
        "tiny-and-fast",
        "-o",
        "out",
        "--provenance",
        "--no-pacing",
        "--base-url",
        service.url,
    )
    assert done.code == 0, done.err
    lines = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert len(lines) == 8
    for line in lines:
        file = tmp_path / "out" / line["file"]
        record = read_provenance(file)
        assert record is not None
        assert (record.prompt, record.request_id) == (line["prompt"], line["request_id"])
        assert file.stat().st_size == line["bytes"]
