"""Measure the structure of the package; fail where a number is worse than its limit."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "nanogpt_images"
MOST = {
    "entries at the root": 25,
    "entries in a folder": 16,
    "layers": 12,
    "circles between folders of the root": 0,
    "repeated file names": 12,
    "repeated class names": 5,
    "type ignores": 14,
}
LEAST = {"functions whose docstring begins with a verb, in percent": 85}
LAZY_DOORS = ("nanogpt_images.integrations.jupyter", "nanogpt_images.integrations.pillow")
"""Loaded inside a function, by `_base.display`, `types.result` and `sync.client` (see docs/architecture.md)."""

_VERBS = """
accept acquire add admit adopt allow answer append apply ask assert await begin bill bind block bound break
build cache call cancel carry change check choose claim clean clear close collect combine come commit compare
complete compose compute configure connect consume continue convert copy count create cut decide decode
deliver describe detect determine discard display divide do download drain draw drive drop edit embed encode end
ensure enter escape estimate evaluate exclude execute exit expand expire explain export extract fail fetch
fill filter find finish fit flush follow forget format forward generate get give go grant group guard guess
handle have hide hold identify ignore import include index install introduce invoke iterate join journal keep
label leave let limit list listen load lock log look lower make map mark match measure merge move name
normalise note notify observe offer open order pace pack pad parse pass pause pay pick place plan poll prepare
preserve price print publish put queue quote raise read rebuild receive recognise record recover redact refuse
refund register release remove rename render reopen repeat replace replay report request require reserve reset
resolve respond restore resume retry return reuse rewrite round run sample save say scan schedule search
select send separate serve set settle share shorten show shrink sign skip sleep sort split spool stand start
state stop store stream strip structure submit subtract sum switch sync take test throttle time translate trim
truncate try turn update upload use validate verify wait walk warn work wrap write yield
"""


def main() -> int:
    """Print each number beside its limit; return 1 where one is worse."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    numbers = {
        "entries at the root": len(_entries(PACKAGE)),
        "entries in a folder": max(len(_entries(folder)) for folder in _folders() if folder != PACKAGE),
        "layers": _layers(),
        "circles between folders of the root": len(_circles(trees)),
        "repeated file names": _repeated(path.name for path in trees if path.name != "__init__.py"),
        "repeated class names": _repeated(_classes(trees)),
        "type ignores": sum(
            len(re.findall(r"#.*(?:type|pyright): ignore", path.read_text("utf-8"))) for path in trees
        ),
        "functions whose docstring begins with a verb, in percent": _verb_first_percent(trees),
    }
    worse = [name for name, most in MOST.items() if numbers[name] > most]
    worse += [name for name, least in LEAST.items() if numbers[name] < least]
    for name, number in numbers.items():
        limit = f"at most {MOST[name]}" if name in MOST else f"at least {LEAST[name]}"
        print(f"{number:>6}  {name} ({limit}){'  WORSE' if name in worse else ''}")
    print(f"{sum(_lines()):>6}  lines of the package, assets included")
    for circle in _circles(trees):
        print("circle:", " -> ".join(circle))
    return 1 if worse else 0


def _folders() -> Iterator[Path]:
    yield PACKAGE
    yield from (path for path in PACKAGE.rglob("*") if path.is_dir() and path.name != "__pycache__")


def _entries(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != "__pycache__" and _holds_files(path)]


def _holds_files(path: Path) -> bool:
    """Whether *path* is a file, or a folder that git would keep."""
    return path.is_file() or any(
        entry.is_file() for entry in path.rglob("*") if "__pycache__" not in entry.parts
    )


def _lines() -> Iterator[int]:
    for path in PACKAGE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.read_bytes().count(b"\n")


def _layers() -> int:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    return max(len(contract["layers"]) for contract in contracts if contract["type"] == "layers")


def _repeated(names: Iterator[str]) -> int:
    return sum(number > 1 for number in Counter(names).values())


def _classes(trees: dict[Path, ast.Module]) -> Iterator[str]:
    for tree in trees.values():
        yield from (
            node.name
            for node in tree.body
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        )


def _verb_first_percent(trees: dict[Path, ast.Module]) -> int:
    verbs = frozenset(_VERBS.split())
    documented = [text for tree in trees.values() for text in _docstrings(tree)]
    verb_first = [text for text in documented if re.split(r"[ .,:;]", text)[0].lower() in verbs]
    return 100 * len(verb_first) // len(documented)


def _docstrings(tree: ast.Module) -> Iterator[str]:
    """The docstrings of functions; a property is read like an attribute, so its docstring may name a thing."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if any("property" in ast.unparse(decorator) for decorator in node.decorator_list):
            continue
        if (text := ast.get_docstring(node)) is not None:
            yield text


def _circles(trees: dict[Path, ast.Module]) -> list[tuple[str, str]]:
    """Pairs of root entries that import each other, over however many steps."""
    arrows: defaultdict[str, set[str]] = defaultdict(set)
    for path, tree in trees.items():
        module = ("nanogpt_images", *path.relative_to(PACKAGE).with_suffix("").parts)
        for target in _imports(tree, module):
            parts = target.split(".")
            if len(module) > 1 and len(parts) > 1 and not target.startswith(LAZY_DOORS):
                arrows[module[1]].add(parts[1])
    reached = {name: _reachable(name, arrows) for name in arrows}
    return sorted(
        (one, other)
        for one, seen in reached.items()
        for other in seen
        if one < other and one in reached.get(other, ())
    )


def _imports(tree: ast.Module, module: tuple[str, ...]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = module[: len(module) - node.level]
            stem = ".".join((*base, *((node.module,) if node.module else ())))
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def _reachable(start: str, arrows: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in arrows.get(waiting.pop(), set()) - seen:
            seen.add(name)
            waiting.append(name)
    return seen


if __name__ == "__main__":
    sys.exit(main())
