"""
Edit an image with a mask through clients of other makers, against the sandbox: what lies outside the mask must not change.

    python tests/clients/run.py litellm           # needs litellm
    python tests/clients/run.py node DIRECTORY    # needs `npm install openai` in DIRECTORY

Run by `.ci/run`, which installs both; neither is a dependency of the tests.
"""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "support"))

from pictures import changed_outside, clear_mask, plain

from nanogpt_images.sandbox import BlockingSandbox, Sandbox

MODEL = "flux-lora/inpainting"


def edited_by_litellm(sandbox: BlockingSandbox) -> bytes:
    """The edit that litellm gets."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # nothing is fetched from elsewhere
    import litellm

    answer = litellm.image_edit(
        model=f"openai/{MODEL}",
        prompt="a hat",
        image=io.BytesIO(plain()),
        mask=io.BytesIO(clear_mask()),
        api_base=f"{sandbox.url}/v1",
        api_key=sandbox.api_key,
    )
    return base64.b64decode(answer.data[0].b64_json)


def edited_by_node(sandbox: BlockingSandbox, modules: Path) -> bytes:
    """The edit that the `openai` package of npm gets."""
    script = modules / "edit.mjs"
    script.write_text(Path(__file__).with_name("edit.mjs").read_text())
    with tempfile.TemporaryDirectory() as directory:
        image, mask = Path(directory) / "in.png", Path(directory) / "mask.png"
        image.write_bytes(plain())
        mask.write_bytes(clear_mask())
        command = ["node", str(script), f"{sandbox.url}/v1", sandbox.api_key, MODEL, str(image), str(mask)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60)
    return base64.b64decode(done.stdout)


def main(arguments: list[str]) -> int:
    """Edit once, and say whether all is as it should be."""
    with Sandbox.in_thread(requests_per_second=None) as sandbox:
        if arguments[0] == "litellm":
            data = edited_by_litellm(sandbox)
        else:
            data = edited_by_node(sandbox, Path(arguments[1]))
        (entry,) = sandbox.ledger.billed
        outside = changed_outside(data)
    print(f"{arguments[0]}: {entry.route} of {entry.model}, {outside} pixels changed outside the mask")
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
