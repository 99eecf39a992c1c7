"""The errors: their facts, what they imply of money, and that they cross process borders."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable

import pytest

from nanogpt_images import errors
from nanogpt_images.errors import Charge, NanoGPTError, ParameterError, StatusError

CLASSES = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, NanoGPTError)
]


def test_a_parameter_error_is_a_value_error() -> None:
    """Code that catches ValueError catches wrong parameters."""
    assert issubclass(ParameterError, ValueError)


def made(cls: type[NanoGPTError]) -> NanoGPTError:
    """An error with every keyword of its class filled in."""
    values: dict[str, object] = {
        "status": 418,
        "charge": Charge.UNKNOWN,
        "request_id": "r-1",
        "expired": True,
        "line": 7,
        "retry_after_s": 2.5,
        "details": {"requiredBalance": 1},
    }
    base = inspect.signature(NanoGPTError).parameters
    names = [
        name
        for name in {**base, **inspect.signature(cls).parameters}
        if name not in ("message", "partial", "facts")
    ]
    return cls("what happened", **{name: values.get(name, f"the {name}") for name in names})


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("duplicate", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy])
def test_errors_cross_process_borders(
    cls: type[NanoGPTError], duplicate: Callable[[NanoGPTError], NanoGPTError]
) -> None:
    """Pickling and copying keep class, text, notes and every fact, in an error of its own."""
    error = made(cls)
    error.add_note("row 3")
    again = duplicate(error)
    assert type(again) is cls
    assert (str(again), repr(again), again.args) == (str(error), repr(error), error.args)
    assert str(error) == "what happened. It may have been charged. the advice"
    assert vars(again) == vars(error)
    again.request_id = "another"
    assert error.request_id != "another"


@pytest.mark.parametrize("cls", CLASSES)
def test_what_an_error_holds_open_stays_behind(cls: type[NanoGPTError]) -> None:
    """A partial result, which can hold open resources, is not pickled with its error; there is none then."""
    status = {"status": 418} if issubclass(cls, StatusError) else {}
    error = cls("full", partial=(piece for piece in "cannot be pickled"), **status)
    assert pickle.loads(pickle.dumps(error)).partial is None
    assert error.partial is not None


def test_details_are_the_errors_own() -> None:
    """Changing the mapping that an error was made with does not change the error."""
    details: dict[str, object] = {"requiredBalance": 1}
    error = StatusError("x", status=402, details=details)
    details.clear()
    assert error.details == {"requiredBalance": 1}


CHARGES = dict.fromkeys(CLASSES, Charge.NOT_SENT)
CHARGES |= {cls: Charge.REJECTED for cls in CLASSES if issubclass(cls, StatusError)}
CHARGES |= {errors.ResponseDecodeError: Charge.CHARGED, errors.DownloadError: Charge.CHARGED}
CHARGES |= {errors.TaskPendingError: Charge.UNKNOWN}


# These can be about anything; where it is a request that was not sent, whoever raises them says so.
SILENT = {
    NanoGPTError,
    errors.ConfigurationError,
    errors.OutputError,
    errors.LedgerError,
    errors.BatchError,
    errors.JournalError,
}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_is_its_text(cls: type[NanoGPTError]) -> None:
    """`str(error)` says what happened and what became of the money; without a word about it, the class implies that."""
    error = cls("what happened", status=418) if issubclass(cls, StatusError) else cls("what happened")
    silent = cls in SILENT
    assert str(error) == ("what happened" if silent else f"what happened. {CHARGES[cls].sentence}")
    assert repr(error) == f"{cls.__name__}({str(error)!r})"
    assert error.message == "what happened"
    assert error.charge is CHARGES[cls]
    assert (error.request_id, error.partial) == (None, None)


@pytest.mark.parametrize(
    ("message", "advice", "silent", "text"),
    [
        ("it broke", "", "it broke", "it broke. {}"),
        ("it broke.", "", "it broke.", "it broke. {}"),
        ("did you mean a?", "", "did you mean a?", "did you mean a? {}"),
        ("it broke", "Try again.", "it broke. Try again.", "it broke. {} Try again."),
    ],
)
@pytest.mark.parametrize("charge", Charge)
def test_the_sentence_about_money_stands_before_the_advice(
    charge: Charge, message: str, advice: str, silent: str, text: str
) -> None:
    """The charge alone decides what is said about the money; `message` is the text without that."""
    error = NanoGPTError(message, charge=charge, advice=advice, says_charge=True)
    assert str(error) == text.format(charge.sentence)
    assert error.message == silent


def test_an_error_of_a_free_request_says_nothing_about_money() -> None:
    """A class that is about paid requests can stand for a free one."""
    assert str(errors.ConnectError("no connection.", says_charge=False)) == "no connection."
    assert str(StatusError("answered 404", status=404, charge=Charge.NOT_SENT)) == "answered 404"


def test_every_charge_has_a_sentence() -> None:
    """What to tell a person about the money exists for each charge, and differs."""
    assert len({charge.sentence for charge in Charge}) == len(Charge)
