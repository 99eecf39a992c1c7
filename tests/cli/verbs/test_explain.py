"""`explain`: every error, status and code has a meaning, and says what became of the money."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nanogpt_images import errors
from nanogpt_images.cli.verbs.guide.meanings import explained

from ..conftest import Run

ERRORS = [
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.NanoGPTError)
]
CODES = re.findall(
    r"`([a-z_A-Z]+_[a-z_A-Z]+)`",
    (Path(__file__).parents[3] / "docs/service.md")
    .read_text("utf-8")
    .partition("| status | meaning")[2]
    .partition("\n\n")[0],
)


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_explained(run: Run, name: str) -> None:
    """Each class has a meaning with a word about the money, by any case and with its module."""
    for spelling in (name, name.lower(), f"nanogpt_images.errors.{name}"):
        done = run("explain", spelling)
        assert (done.code, done.err) == (0, "")
        assert name in done.out
        assert "charged" in done.out


@pytest.mark.parametrize("code", [*CODES, *map(str, (400, 401, 402, 403, 404, 408, 413, 429, 500, 503, 504))])
def test_every_documented_code_says_what_to_do(code: str) -> None:
    """Each code and status that the service documents says whether it was charged, and what to do."""
    meanings = explained(code)
    assert meanings
    assert all(meaning.charge and meaning.again and meaning.do for meaning in meanings)


@pytest.mark.parametrize("word", [*"01234", "130", *(charge.value for charge in errors.Charge)])
def test_exit_codes_and_charges_are_explained(run: Run, word: str) -> None:
    """The numbers that the command line ends with, and the values of `charge`, have a meaning as well."""
    done = run("explain", word)
    assert (done.code, done.err) == (0, "")
    assert done.out


def test_the_charge_of_an_error_is_what_its_class_implies() -> None:
    """A class that implies something else than `NOT_SENT` is not explained as free."""
    for name in ERRORS:
        implied = getattr(errors, name)._implied
        for meaning in explained(name):
            known = re.findall(r"NOT_SENT|REJECTED|CHARGED|UNKNOWN", meaning.charge)
            assert (
                not known
                or implied.name in known
                or implied in (errors.Charge.NOT_SENT, errors.Charge.REJECTED)
            )


def test_an_unknown_word_names_near_ones(run: Run) -> None:
    """A misspelt code is bad usage, and names what is spelt like it."""
    done = run("explain", "content_polcy_violation")
    assert done.code == 2
    assert done.err.startswith(
        "error: 'content_polcy_violation' is not an error or a code that is known here."
    )
    assert "Did you mean content_policy_violation" in done.err


def test_as_json(run: Run) -> None:
    """With --json the meanings are one document."""
    document = run("explain", "503", "--json").document
    assert document["code"] == "503"
    (meaning,) = document["meanings"]
    assert (meaning["error"], meaning["charge"]) == ("ServerError", "REJECTED")
