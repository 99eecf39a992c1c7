"""The group of verbs: help, version, usage errors, missing extras, closed pipes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from nanogpt_images._version import __version__
from nanogpt_images.cli.app import cli, run
from nanogpt_images.cli.common import VerbCommand

from .conftest import Run, command, environment

VERBS = (
    "models",
    "model",
    "generate",
    "show",
    "regenerate",
    "explain",
    "config",
    "plan",
    "batch",
    "status",
    "export",
    "retry",
    "sandbox",
    "demo",
)


def test_version(spawn: Run) -> None:
    """`--version` prints name and version."""
    done = spawn("--version")
    assert (done.code, done.out) == (0, f"nanogpt-images {__version__}\n")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_overview_names_every_verb(flag: str) -> None:
    """The help lists each verb, under either spelling of the option."""
    shown = CliRunner().invoke(cli, [flag])
    assert shown.exit_code == 0
    for verb in VERBS:
        assert f"  {verb} " in shown.output


def test_overview_loads_no_verb() -> None:
    """`--help` loads nothing of the package beside the group itself, and nothing heavy."""
    script = (
        "import sys; from nanogpt_images.cli.app import run; run(['--help']);"
        "print([n for n in sys.modules if n.startswith('nanogpt_images')], file=sys.stderr);"
        "print([n for n in ('aiohttp', 'attrs', 'anyio', 'rich', 'asyncio') if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(), check=False
    )
    package, heavy = done.stderr.splitlines()
    assert sorted(eval(package)) == [
        "nanogpt_images",
        "nanogpt_images._version",
        "nanogpt_images.cli",
        "nanogpt_images.cli.app",
    ]
    assert heavy == "[]"


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_has_an_example(verb: str) -> None:
    """Each verb's help ends in an example of that verb, and each takes --base-url and --json."""
    shown = CliRunner().invoke(cli, [verb, "--help"], prog_name="nanogpt-images")
    assert shown.exit_code == 0
    assert f"Example:\n    nanogpt-images {verb}" in shown.output
    assert "--base-url" in shown.output
    assert "--json" in shown.output
    options = [line.split()[0] for line in shown.output.splitlines() if line.startswith("  -")]
    assert options[-3:] == ["--base-url", "--json", "-h,"]


def _options() -> Iterator[tuple[str, click.Option]]:
    ctx = click.Context(cli, info_name="nanogpt-images", **cli.context_settings)
    for verb in cli.list_commands(ctx):
        command = cli.get_command(ctx, verb)
        assert command is not None
        yield from ((verb, option) for option in command.params if isinstance(option, click.Option))


def test_a_short_option_means_the_same_for_every_verb() -> None:
    """One letter stands for one thing, and what has a letter has it wherever it is an option."""
    letters = {
        "-m": {"--model"},
        "-n": {"--count"},
        "-o": {"--out"},
        "-r": {"--resolution", "--size"},
        "-i": {"--image", "--ref"},
        "-q": {"--quiet"},
        "-y": {"--yes"},
    }
    long_of = {name: letter for letter, names in letters.items() for name in names}
    for verb, option in _options():
        short = {name for name in option.opts if not name.startswith("--")}
        assert short == {long_of[name] for name in option.opts if name in long_of}, (verb, option.opts)


@pytest.mark.parametrize("verb", ["plan", "batch"])
def test_many_options_stand_under_titles(verb: str) -> None:
    """Every option of a long help has a title that says what it is for; only what every verb has comes last."""
    command = cli.get_command(click.Context(cli), verb)
    assert isinstance(command, VerbCommand)
    ctx = click.Context(command, help_option_names=["-h", "--help"])
    sections = dict(command.sections(ctx))
    assert {option.name for option in sections.pop("Everywhere")} <= {
        *("sandbox", "quiet", "base_url", "as_json", "help", "_click_default_help")
    }
    assert all(1 <= len(options) <= 12 for options in sections.values())


def test_every_option_says_what_it_is_in_a_sentence() -> None:
    """A help text begins with a capital, ends with a full stop, and names no other option first."""
    for verb, option in _options():
        text = (option.help or "").partition("  [")[0]
        assert text[:1].isupper() or option.hidden, (verb, option.opts, text)
        assert text.endswith("."), (verb, option.opts, text)


@pytest.mark.parametrize(
    ("typed", "near"), [("bacth", "batch"), ("Generate", "generate"), ("modles", "models")]
)
def test_a_misspelt_verb_is_recognised(run: Run, typed: str, near: str) -> None:
    """A verb that does not exist names the one that is spelt like it."""
    done = run(typed)
    assert done.code == 2
    assert f"Did you mean '{near}'" in done.err


def test_the_overview_is_grouped(run: Run) -> None:
    """The verbs stand under what they are for, in the order of use."""
    lines = run("--help").out.splitlines()
    titles = [line.removesuffix(":") for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Options", "Make images", "Look", "Keep", "Try"]
    verbs = [line.split()[0] for line in lines if line.startswith("  ") and line.split()[0] in VERBS]
    assert verbs.index("plan") < verbs.index("batch") < verbs.index("models") < verbs.index("demo")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["models", "--bogus"], "No such option"),
        (["generate", "a fox"], "Missing option '-m'"),
        (["batch", "x.jsonl", "-o", "out", "--delivery", "url"], "--delivery goes with --route openai"),
        (["batch", "x.jsonl", "-o", "out", "--param", "seed"], "is not NAME=VALUE"),
        (["sandbox", "--latency", "5-1"], "neither SECONDS nor LOW-HIGH"),
    ],
)
def test_bad_usage_is_one_line(run: Run, args: list[str], text: str) -> None:
    """Bad usage gives one line on stderr and exit code 2."""
    done = run(*args)
    assert done.code == 2
    assert done.out == ""
    assert text in done.err
    assert len(done.err.splitlines()) == 1


def test_bad_usage_as_json(run: Run) -> None:
    """With --json a usage error is the one document on stdout."""
    done = run("generate", "a fox", "--json")
    assert done.code == 2
    assert done.err == ""
    error = done.document["error"]
    assert set(error) == {"type", "message", "charge", "status", "code", "request_id", "hint"}
    assert error["type"] == "UsageError"
    assert error["charge"] == "not_sent"


def test_without_click() -> None:
    """Without click there is one line that names the extra, and exit code 2."""
    script = (
        "import importlib.util as u, sys; find = u.find_spec;"
        "u.find_spec = lambda name, *a: None if name == 'click' else find(name, *a);"
        "from nanogpt_images.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 2
    assert 'pip install "click>=' in done.stderr
    assert "(extra 'cli')" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_closed_pipe_is_quiet() -> None:
    """A reader that goes away early (`| head`) causes neither a traceback nor a failure."""
    with subprocess.Popen(
        command("models", "--sandbox", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(30) == 0
    assert errors == ""


@pytest.mark.parametrize(
    "call",
    [
        ["generate", "a fox", "-m", "tiny-and-fast", "--sandbox", "-o"],
        ["batch", "prompts.jsonl", "-m", "tiny-and-fast", "--sandbox", "-o"],
        ["demo", "-o"],
        ["status"],
        ["retry", "--sandbox"],
    ],
    ids=lambda call: call[0],
)
def test_a_directory_that_cannot_be_is_bad_usage(run: Run, manifest: Path, call: list[str]) -> None:
    """A name that the operating system refuses ends in one line and exit code 2, from every verb."""
    done = run(*call, "x" * 300)
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (["plan", "absent.txt", "-m", "tiny-and-fast"], False),
        (["batch", "absent.txt", "-m", "tiny-and-fast", "-o", "out"], True),
    ],
)
def test_a_verb_that_sends_nothing_does_not_say_so(run: Run, call: list[str], says: bool) -> None:
    """The same fault ends with the sentence about money only where money could have been spent."""
    done = run(*call)
    assert "there is no file absent.txt" in done.err
    assert ("Nothing was sent." in done.err) is says


@pytest.mark.parametrize(
    ("misspelt", "near"),
    [("batc", "'batch'"), ("stats", "'status'"), ("GENERATE", "'generate'"), ("galery", "'gallery'")],
)
def test_a_misspelt_verb_gets_its_near_match(
    misspelt: str, near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names the verb that was meant; the exit code is that of bad usage."""
    assert run([misspelt, "x"]) == 2
    assert f"No such command '{misspelt}'. Did you mean {near}" in capsys.readouterr().err


def test_a_word_that_is_like_no_verb(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no verb is near, none is guessed."""
    assert run(["zzzz"]) == 2
    assert "Did you mean" not in capsys.readouterr().err
