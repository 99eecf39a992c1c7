"""
Claim: a place in the window that the processes of a job share costs a fraction of a request, also at raised limits.

    python benchmarks/pacing_window.py [--json]

CPU of one start (a place, and the word that its request left) at limits of 25 to 10,000 per second, on a simulated clock.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from nanogpt_images.transport.pacing.shared_window import SharedWindow

STARTS = 5_000
LIMITS = (25, 1_000, 10_000)


def cpu_ms(limit: int) -> float:
    """Return the CPU of one start, in milliseconds, where the window is full."""
    now = 1_000.0
    starts = 0
    with tempfile.TemporaryDirectory() as directory:
        window = SharedWindow(Path(directory) / ".pace", limit, clock=lambda: now)
        for _ in range(limit):
            window.try_start()
            now += 1 / limit
        cpu = time.process_time()
        while starts < STARTS:
            if wait_s := window.try_start(open_s=10.0):
                now += wait_s
                continue
            starts += 1
            now += 1 / limit
            window.started()
        cpu = time.process_time() - cpu
        window.close()
    return cpu / STARTS * 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = {str(limit): round(cpu_ms(limit), 4) for limit in LIMITS}
    if arguments.json:
        print(json.dumps(found))
        return
    for limit, value in found.items():
        print(f"{int(limit):>7,} starts per second: {value:.3f} ms each")


if __name__ == "__main__":
    main()
