"""`nanogpt-images`, also as `python -m nanogpt_images`."""

from __future__ import annotations

import signal
import sys
from types import FrameType

_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with its code; SIGINT and SIGTERM at any moment exit with 130."""
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        code = _run()
    except KeyboardInterrupt:
        code = _INTERRUPTED
    # What the code says is done; an interrupt while the interpreter exits has nothing left to stop.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def _run() -> int:
    # Imports take a while, in which an interrupt can come as well.
    import importlib.util

    if importlib.util.find_spec("click") is None:
        from ._base.display import install_hint

        sys.stderr.write(f"error: the command line needs click and rich: {install_hint('cli')}\n")
        return 2
    from .cli.app import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    main()
