"""`edit`, and the edits of a folder."""

from __future__ import annotations

import json
from pathlib import Path

from pictures import mask, plain

from nanogpt_images.cli.app import run


def test_edit(tmp_path: Path, capsys) -> None:
    """An image is edited with a mask into a file that tells its parent; `show` says it."""
    (tmp_path / "in.png").write_bytes(plain())
    (tmp_path / "mask.png").write_bytes(mask())
    given = ["--image", str(tmp_path / "in.png"), "--mask", str(tmp_path / "mask.png"), "-o", str(tmp_path)]
    options = ["-m", "flux-lora/inpainting", "--name", "out", "--sandbox", "--provenance"]
    assert run(["edit", "a hat", *given, *options, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["images"][0]["file"] == str(tmp_path / "out.png")
    assert (document["images"][0]["width"], document["cost_usd"]) == (64, 0.035)
    assert run(["show", str(tmp_path / "out.png")]) == 0
    shown = capsys.readouterr().out
    assert "edit" in shown
    assert "parents" in shown


def test_edit_without_a_model(tmp_path: Path, capsys) -> None:
    """The service takes a model that edits; further parameters go along."""
    (tmp_path / "in.png").write_bytes(plain())
    arguments = ["edit", "a hat", "--image", str(tmp_path / "in.png"), "-o", str(tmp_path), "--sandbox"]
    assert run([*arguments, "--param", "strength=0.5", "--param", "quality=high", "--delivery", "url"]) == 0
    assert "cost $0.025" in capsys.readouterr().out


def test_bad_input(tmp_path: Path, capsys) -> None:
    """One line and exit code 2, with nothing sent."""
    (tmp_path / "in.png").write_bytes(plain())
    (tmp_path / "mask.png").write_bytes(mask((3, 3)))
    image = ["--image", str(tmp_path / "in.png"), "-o", str(tmp_path), "--sandbox"]
    cases = {
        ("edit", "a hat", *image, "--mask", str(tmp_path / "mask.png")): "the mask is 3x3",
        ("edit", "a hat", *(image * 16), "-m", "qwen-image-edit"): "it takes at most 3",
        ("edit", "a hat", *image, "-m", "qwen-image-edt"): "near matches: qwen-image-edit",
        (
            "batch",
            str(tmp_path / "empty"),
            "-m",
            "restyle",
            "-o",
            str(tmp_path / "out"),
            "--sandbox",
        ): "has neither images nor .parquet files",
    }
    (tmp_path / "empty").mkdir()
    for arguments, said in cases.items():
        assert run(arguments) == 2, arguments
        captured = capsys.readouterr()
        assert said in captured.err
        assert "Nothing was sent" in captured.err


def test_plan_of_a_folder(tmp_path: Path, capsys) -> None:
    """A folder is a manifest: one edit for each of its images."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(plain())
    arguments = ["plan", str(tmp_path), "-m", "restyle", "--prompt", "a hat", "--sandbox", "--json"]
    assert run(arguments) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert (numbers["rows"], numbers["requests"], numbers["cost_usd"]) == (2, 2, 0.024)
