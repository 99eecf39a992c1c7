"""The names that the package offers, and what importing it costs."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import nanogpt_images as ngi
from nanogpt_images import errors


def _names_for_type_checkers() -> dict[str, str]:
    """Name → module of the imports under `if TYPE_CHECKING`."""
    tree = ast.parse(Path(ngi.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    return {
        alias.asname or "": node.module or ""
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_every_public_name_can_be_had() -> None:
    """Each name of `__all__` loads from the module that the table names, and is listed by dir()."""
    for name in ngi.__all__:
        module = import_module(f"nanogpt_images.{ngi._MODULE_OF[name]}")
        assert getattr(ngi, name) is getattr(module, name)
    assert set(ngi.__all__) <= set(dir(ngi))


def test_type_checkers_and_the_run_time_see_the_same_names() -> None:
    """The imports for type checkers and the lazy table hold the same names, from the same modules."""
    assert _names_for_type_checkers() == ngi._MODULE_OF
    assert ngi.__all__ == sorted(_names_for_type_checkers())


def test_every_error_is_public() -> None:
    """Each exception class of the tree is importable from the package."""
    tree = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert tree <= set(ngi.__all__)


def _drawn_tree() -> dict[str, str]:
    """Class → parent, out of the drawing in the docstring of `errors`."""
    parents: dict[str, str] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        if not line.startswith("    "):
            continue
        depth = len(line) - len(line.lstrip(" │├└─"))
        names = [part.split()[0] for part in line.strip(" │├└─").split(" ─ ")]
        above = {level: name for level, name in above.items() if level < depth}
        for parent, name in zip([*above.values()][-1:] + names, names, strict=False):
            parents[name] = parent
        above[depth] = names[0]
    return parents


def test_the_tree_of_errors_is_as_drawn() -> None:
    """The drawing in the docstring of `errors` holds every class under its parent, and no other."""
    classes = {
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, errors.NanoGPTError)
    }
    real = {cls.__name__: cls.__base__.__name__ for cls in classes - {errors.NanoGPTError}}
    drawn = {name: parent for name, parent in _drawn_tree().items() if name != "NanoGPTError"}
    assert drawn == real


def test_every_public_function_and_method_is_documented() -> None:
    """Each public class, function and method has a docstring of its own."""
    bare: list[str] = []
    for name in ngi.__all__:
        value = getattr(ngi, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        if not value.__doc__:
            bare.append(name)
        members = vars(value).items() if inspect.isclass(value) else ()
        bare += [f"{name}.{m}" for m, f in members if inspect.isfunction(f) and m[0] != "_" and not f.__doc__]
    assert bare == []


def test_importing_loads_nothing_heavy() -> None:
    """`import nanogpt_images` leaves every dependency for when it is needed."""
    code = "import sys, nanogpt_images; print(*sorted(name.partition('.')[0] for name in sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {
        "PIL",
        "aiohttp",
        "anyio",
        "asyncio",
        "attr",
        "cachetools",
        "cattrs",
        "click",
        "pybase64",
        "rich",
        "sqlite3",
    }
    assert heavy.isdisjoint(loaded)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name fails as for any module."""
    with pytest.raises(AttributeError, match="AsyncCleint"):
        ngi.AsyncCleint  # type: ignore[attr-defined]  # noqa: B018


def test_a_star_import_gives_the_public_names() -> None:
    """`from nanogpt_images import *` works with the lazy names."""
    code = "from nanogpt_images import *; print(AsyncClient.__name__, split_count.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["AsyncClient", "split_count"]


REFERENCE = Path(__file__).parents[1] / "docs" / "reference.md"


def test_the_reference_names_public_paths_only() -> None:
    """Whatever the reference documents can be imported from the package, under the name that it has there."""
    documented = re.findall(r"^\.\. auto(?:class|function|data):: (\S+)$", REFERENCE.read_text("utf-8"), re.M)
    assert set(documented) <= set(ngi.__all__)


def test_the_types_of_what_a_caller_gets_are_public() -> None:
    """The classes that public values and callbacks are made of can be named in a caller's annotations."""
    assert {"Account", "Balance", "ModelUsage", "Usage"} <= set(ngi.__all__)
    assert {"BatchState", "ModelEstimate", "Problem", "OnEvent", "write_gallery"} <= set(ngi.__all__)
    assert issubclass(ngi.Estimate, ngi.ModelEstimate)
    assert ngi.BatchState("done") is ngi.BatchState.DONE
