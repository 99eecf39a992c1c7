"""`demo`: a bulk job on the sandbox, from prompts that come with the package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

from .. import common as _common
from ..batch_run import BatchJob, work
from ..client import require_sandbox, run_async
from ..manifests.manifest import Manifest
from ..output import command_line, count, money, note, say
from ..summary import close

MANIFEST: Final = Path(__file__).with_name("demo.jsonl")
_DIRECTORY: Final = "nanogpt-demo"


@_common.verb("demo", example="demo -o nanogpt-demo")
@click.option(
    "-o", "--out", default=_DIRECTORY, show_default=True, metavar="DIR", help="Directory to write to."
)
@_common.no_gallery
@_common.quiet
def command(out: str, no_gallery: bool, quiet: bool, base_url: str | None, as_json: bool) -> int:
    """Run a bulk job against the sandbox: real image files, no key, no network, no charge."""
    require_sandbox()
    directory = Path(out)
    silent = quiet or as_json
    if os.path.exists(directory) and not silent:
        note(f"{directory} exists: its finished images are not made again")
    job = BatchJob(
        manifest=Manifest(path=MANIFEST),
        directory=directory,
        again=("demo", *(("-o", out) if out != _DIRECTORY else ())),
        base_url=base_url,
        sandbox=True,
        requests_per_second=None,
        gallery=not no_gallery,
        quiet=quiet,
        silent=silent,
        as_json=as_json,
    )
    closing = run_async(lambda: work(job))
    code = close(closing, as_json=as_json)
    totals = closing.outcome.totals
    if not as_json and totals is not None:
        say()
        say(
            f"{count(totals.images, 'image')} in {directory / 'images'}; the service would have charged {money(totals.spent_usd)}."
        )
        if closing.gallery is not None:
            say(f"Look at them in a browser: {closing.gallery}")
        again = command_line("batch", "prompts.txt", "-m", "MODEL", "-o", "out")
        say(f"Your own prompts, with NANOGPT_API_KEY set: {again}")
    return code
