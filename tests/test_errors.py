"""The errors: their facts, their tree, and that they survive pickling."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from nanogpt_images import errors
from nanogpt_images.errors import Charge, NanoGPTError, StatusError

CLASSES = sorted(
    (value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, NanoGPTError)),
    key=lambda cls: cls.__name__,
)
FACTS: dict[str, object] = {
    "charge": Charge.UNKNOWN,
    "request_id": "req-1",
    "status": 418,
    "model": "gpt-image-2",
    "parameter": "size",
    "json_path": "$.data[1].b64_json",
    "excerpt": '{"error":',
    "expired": True,
    "code": "teapot",
    "type": "invalid_request_error",
    "retry_after_s": 2.5,
    "details": {"requiredBalance": 0.0035, "accepted": [{"asset": "XNO"}]},
    "line": 7,
}


def with_all_facts(cls: type[NanoGPTError]) -> NanoGPTError:
    """An error of *cls* with each of its facts other than the default."""
    names = [name for name in inspect.signature(cls).parameters if name not in ("message", "partial")]
    return cls("what happened", **{name: FACTS[name] for name in names})


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_every_error_survives_pickling(cls: type[NanoGPTError], protocol: int) -> None:
    """Class, text, every fact and notes come through a pickle."""
    error = with_all_facts(cls)
    error.add_note("row 3")
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is cls
    assert again.args == error.args
    assert vars(again) == vars(error)
    assert (str(again), again.message, again.__notes__) == ("what happened", "what happened", ["row 3"])
    for name in inspect.signature(cls).parameters:
        if name in FACTS:
            assert getattr(again, name) == FACTS[name]


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if "partial" in inspect.signature(cls).parameters])
def test_a_partial_result_stays_behind(cls: type[NanoGPTError]) -> None:
    """What holds open resources is not pickled; the copy says that there is none."""
    error = cls("what happened", partial=(part for part in "cannot be pickled"))
    assert pickle.loads(pickle.dumps(error)).partial is None
    assert error.partial is not None


def test_a_copy_is_an_error_of_its_own() -> None:
    """Copying an error leaves the first one alone."""
    error = with_all_facts(StatusError)
    again = copy.copy(error)
    again.request_id = None
    assert error.request_id == "req-1"


@pytest.mark.parametrize(
    ("cls", "charge"),
    [
        (errors.ConfigurationError, Charge.NOT_SENT),
        (errors.ParameterError, Charge.NOT_SENT),
        (errors.ReferenceImageError, Charge.NOT_SENT),
        (errors.OutputError, Charge.NOT_SENT),
        (errors.TransportError, Charge.NOT_SENT),
        (errors.ResponseDecodeError, Charge.CHARGED),
        (errors.DownloadError, Charge.CHARGED),
        (errors.ServerError, Charge.REJECTED),
        (errors.ManifestError, Charge.NOT_SENT),
    ],
)
def test_the_charge_when_nothing_else_is_said(cls: type[NanoGPTError], charge: Charge) -> None:
    """An error made without a charge has the one that its class implies."""
    needed = {"status": 500} if issubclass(cls, StatusError) else {}
    assert cls("x", **needed).charge is charge


@pytest.mark.parametrize(
    ("charge", "sentence"),
    [
        (Charge.NOT_SENT, "Nothing was sent."),
        (Charge.REJECTED, "Nothing was charged."),
        (Charge.CHARGED, "It was charged."),
        (Charge.UNKNOWN, "It may have been charged."),
    ],
)
def test_every_charge_has_a_sentence(charge: Charge, sentence: str) -> None:
    """A person reads what became of the money."""
    assert charge.sentence == sentence


def test_a_wrong_parameter_is_a_value_error() -> None:
    """Code that knows nothing of this package catches a bad value as Python has it."""
    with pytest.raises(ValueError, match="what happened"):
        raise with_all_facts(errors.ParameterError)


def test_details_are_the_errors_own() -> None:
    """Changing the mapping that an error was made with does not change the error."""
    details: dict[str, object] = {"requiredBalance": 1}
    error = StatusError("x", status=402, details=details)
    details.clear()
    assert error.details == {"requiredBalance": 1}
    assert StatusError("x", status=402).details == {}
