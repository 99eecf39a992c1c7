"""ExifTool, which reads an image's metadata with none of this package's code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

REQUIRED = "NANOGPT_TEST_EXIFTOOL"
TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"

# Where the variable is set, as in .ci/run, the tests fail without the program instead of being skipped.
needs_exiftool = pytest.mark.skipif(
    shutil.which("exiftool") is None and os.environ.get(REQUIRED) != "required",
    reason="exiftool is not installed (Debian: libimage-exiftool-perl)",
)


def tags_of(*paths: Path) -> list[dict[str, str]]:
    """The source type and the other tags that are asked for, of each file; what ExifTool finds wrong is in `Validate`."""
    tags = ["-XMP-iptcExt:DigitalSourceType#", "-Description", "-Software", "-CreatorTool", "-Warning"]
    found = subprocess.run(
        ["exiftool", "-json", "-validate", "-a", *tags, *paths], capture_output=True, check=True, timeout=60
    )
    return json.loads(found.stdout)
