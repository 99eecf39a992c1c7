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
    names = [name for name in inspect.signature(cls).parameters if name not in ("message", "partial")]
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
    assert (str(again), again.args) == ("what happened", error.args)
    assert vars(again) == vars(error)
    again.request_id = "another"
    assert error.request_id != "another"


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if "partial" in inspect.signature(cls).parameters])
def test_what_an_error_holds_open_stays_behind(cls: type[NanoGPTError]) -> None:
    """A partial result, which can hold open resources, is not pickled with its error; there is none then."""
    error = cls("full", partial=(piece for piece in "cannot be pickled"))
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


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_is_its_text(cls: type[NanoGPTError]) -> None:
    """`str(error)` is the message alone; without a word about the charge, its class implies one."""
    error = cls("what happened", status=418) if issubclass(cls, StatusError) else cls("what happened")
    assert str(error) == error.message == "what happened"
    assert error.charge is CHARGES[cls]
    assert error.request_id is None


def test_every_charge_has_a_sentence() -> None:
    """What to tell a person about the money exists for each charge, and differs."""
    assert len({charge.sentence for charge in Charge}) == len(Charge)
