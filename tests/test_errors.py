"""The error tree: as it is drawn, and across process borders."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from nanogpt_images import errors
from nanogpt_images.errors import Charge, NanoGPTError, OutputError, ParameterError, StatusError

CLASSES = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, NanoGPTError)
]


def drawn_tree() -> dict[str, str | None]:
    """Class → parent, out of the drawing in the module's docstring."""
    parents: dict[str, str | None] = {}
    path: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        if not line.startswith("    "):
            continue
        depth = len(line) - len(line.lstrip(" │├└─"))
        names = [part.split()[0] for part in line.strip(" │├└─").split(" ─ ")]
        above = [path[level] for level in sorted(path) if level < depth]
        parent = above[-1] if above else None
        path = {level: name for level, name in path.items() if level < depth} | {depth: names[0]}
        for name in names:
            parents[name], parent = parent, name
    return parents


def test_the_tree_is_as_drawn() -> None:
    """The drawing at the top of the module holds every class under its parent, and no other."""
    assert {cls.__name__: cls.__base__.__name__ for cls in CLASSES if cls is not NanoGPTError} == {
        name: parent for name, parent in drawn_tree().items() if parent is not None
    }
    assert len(CLASSES) > 20


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
def test_errors_cross_process_borders(cls: type[NanoGPTError]) -> None:
    """Pickling and copying keep class, text and every fact."""
    error = made(cls)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is cls
        assert (str(again), again.args) == ("what happened", error.args)
        assert vars(again) == {name: value for name, value in vars(error).items() if name != "partial"}


def test_what_an_error_holds_open_stays_behind() -> None:
    """A partial result, which can hold open resources, is not pickled with its error."""
    error = OutputError("full", partial=object())
    assert getattr(pickle.loads(pickle.dumps(error)), "partial", None) is None


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_is_its_text(cls: type[NanoGPTError]) -> None:
    """`str(error)` is the message alone, and every error says what is known of the money."""
    error = cls("what happened", status=418) if issubclass(cls, StatusError) else cls("what happened")
    assert str(error) == error.message == "what happened"
    assert error.charge in Charge
    assert error.request_id is None


def test_every_charge_has_a_sentence() -> None:
    """What to tell a person about the money exists for each charge, and differs."""
    assert len({charge.sentence for charge in Charge}) == len(Charge)
