"""`nanogpt-images`, also as `python -m nanogpt_images`."""

from __future__ import annotations

import importlib.util
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    if importlib.util.find_spec("click") is None:
        sys.stderr.write("error: the command line needs click and rich: pip install 'nanogpt_images[cli]'\n")
        sys.exit(2)
    from .cli.app import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
