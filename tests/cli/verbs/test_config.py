"""`config`: defaults from the environment and from a file, and what each verb takes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..conftest import Run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No configuration file but one that a test writes."""
    for variable in ("HOME", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    file = tmp_path / "config.toml"
    file.write_text("")
    monkeypatch.setenv("NANOGPT_CONFIG", str(file))
    return file


def values(run: Run, **variables: str) -> dict[str, tuple[str, str]]:
    settings = run("config", "--json", **variables).document["settings"]
    return {name: (setting["value"], setting["from"]) for name, setting in settings.items()}


def test_an_option_beats_a_variable_and_a_variable_the_file(run: Run, home: Path, manifest: Path) -> None:
    """The file fills what nothing else says."""
    home.write_text('model = "hidream"\nrequests_per_second = 3\n')
    shown = values(run, NANOGPT_MODEL="tiny-and-fast")
    assert shown["model"] == ("tiny-and-fast", "NANOGPT_MODEL")
    assert shown["requests_per_second"] == ("3", str(home))
    assert shown["out"][1] == "default"
    plan = ("plan", manifest, "--sandbox", "--json")
    assert set(run(*plan).document["per_model"]) == {"hidream"}
    assert set(run(*plan, NANOGPT_MODEL="tiny-and-fast").document["per_model"]) == {"tiny-and-fast"}
    assert set(run(*plan, "-m", "hidream", NANOGPT_MODEL="tiny-and-fast").document["per_model"]) == {
        "hidream"
    }


def test_a_default_directory_serves_generate_and_batch(run: Run, home: Path, tmp_path: Path) -> None:
    """`-o` and `-m` may be left out once both are set."""
    home.write_text('model = "tiny-and-fast"\nout = "pictures"\n')
    assert run("generate", "a red fox", "--sandbox").code == 0
    assert (tmp_path / "pictures" / "a-red-fox.png").exists()
    (tmp_path / "prompts.txt").write_text("an owl\n")
    assert run("batch", "prompts.txt", "--sandbox", "--no-gallery", NANOGPT_OUT="job").code == 0
    assert (tmp_path / "job" / "journal.db").exists()


def test_the_rate_of_the_sandbox_is_its_own(run: Run) -> None:
    """`requests_per_second` paces what is sent; the option of that name of `sandbox` limits what is received."""
    from nanogpt_images.cli.app import cli
    from nanogpt_images.cli.verbs.guide.defaults import defaults_of

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NANOGPT_REQUESTS_PER_SECOND", "7")
        found = {
            verb: defaults_of(cli.get_command(None, verb))  # type: ignore[arg-type]
            for verb in ("batch", "plan", "retry", "sandbox", "demo")
        }
    paced = {verb for verb, defaults in found.items() if defaults == {"requests_per_second": "7"}}
    assert paced == {"batch", "plan", "retry"}
    assert found["sandbox"] == found["demo"] == {}


def test_the_key_is_named_but_not_shown(run: Run) -> None:
    """`config` says whether there is a key; it never prints it."""
    done = run("config", NANOGPT_API_KEY="sk-nano-secret")
    assert "sk-nano-secret" not in done.out + done.err
    assert values(run, NANOGPT_API_KEY="sk-nano-secret")["api_key"] == ("set", "NANOGPT_API_KEY")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("modle = 'x'", "'modle' is not a setting; the settings are model, requests_per_second, out."),
        ("model = 3", "model must be a text, not 3."),
        ("requests_per_second = 'x'", "requests_per_second must be a number, not 'x'."),
        (
            "api_key = 'sk-nano-secret'",
            "contains an API key; set NANOGPT_API_KEY in the environment instead.",
        ),
        ("model =", "is not valid TOML"),
    ],
)
def test_a_file_that_is_wrong_is_named(run: Run, home: Path, text: str, says: str) -> None:
    """A setting that is not known, or of the wrong type, ends every verb with one line; help still works."""
    home.write_text(text)
    for verb in (["config"], ["models", "--sandbox"]):
        done = run(*verb)
        assert done.code == 2
        assert str(home) in done.err
        assert says in done.err
        assert "sk-nano-secret" not in done.err
    assert run("models", "--help").code == 0


def test_a_file_that_is_named_must_exist(run: Run) -> None:
    """NANOGPT_CONFIG that points nowhere is an error, not an empty file."""
    done = run("config", NANOGPT_CONFIG="absent.toml")
    assert done.code == 2
    assert "there is no file absent.toml, which NANOGPT_CONFIG names." in done.err


def test_no_file_is_no_fault(run: Run, tmp_path: Path) -> None:
    """Without the variable the file of the user's home is looked for, and may be absent."""
    done = run("config", NANOGPT_CONFIG="")
    assert done.code == 0
    assert "(not there)" in done.out
