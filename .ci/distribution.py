"""Whether what is published is complete, and the same in two builds: `python .ci/distribution.py BUILD BUILD`."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path


def main(first: Path, second: Path) -> int:
    faults: list[str] = []
    names = sorted(path.name for path in first.iterdir())
    if names != sorted(path.name for path in second.iterdir()) or len(names) != 2:
        faults.append(
            f"two builds have the files {names} and {sorted(path.name for path in second.iterdir())}"
        )
    faults += [
        f"{name} differs between two builds" for name in names if not _same(first / name, second / name)
    ]
    (wheel,) = first.glob("*.whl")
    (sdist,) = first.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True).stdout.split()
    package = {name for name in tracked if name.startswith("nanogpt_images/")}
    base = wheel.name.rsplit("-", 3)[0]
    needed = package | {f"{base}.dist-info/licenses/LICENSE", f"{base}.dist-info/entry_points.txt"}
    assert {"nanogpt_images/py.typed", "nanogpt_images/sandbox/catalog/models.json"} <= package
    faults += [f"{name} is not in the wheel" for name in needed - in_wheel]
    strangers = {name for name in in_wheel if not name.startswith(f"{base}.dist-info/")} - package
    faults += [f"{name} is in the wheel and not in the repository" for name in strangers]
    kept = (
        "nanogpt_images/",
        "tests/",
        "docs/",
        "benchmarks/",
        "examples/",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "AGENTS.md",
        "llms.txt",
        "Containerfile",
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "pyproject.toml",
    )
    faults += [
        f"{name} is not in the sdist" for name in tracked if name.startswith(kept) and name not in in_sdist
    ]
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(f"{len(in_wheel)} files in the wheel, {len(in_sdist)} in the sdist, twice the same bytes")
    return bool(faults)


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.read_bytes() == other.read_bytes()


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
