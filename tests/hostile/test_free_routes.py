"""Every fault where nothing is paid for: the catalogue before a generation, and the download after it."""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread
import pytest
from cells import ASKED, MODEL, PROMPT, Cell, settle
from leaks import assert_idle, nothing_left_open, unfinished_files

import nanogpt_images as ngi
from nanogpt_images.sandbox import BlockingSandbox, Fault
from nanogpt_images.sandbox.faults.kinds import KINDS, FaultStage

ANSWERED = (FaultStage.WIRE, FaultStage.INSTEAD)
# Not here: stalls (a listing has a limit of time of its own, which no option shortens), an empty listing (an answer
# like another), and a reset after the answer, which can just as well strike the POST that follows on its connection.
ON_LISTINGS = [
    kind
    for kind, about in KINDS.items()
    if about.stage in (*ANSWERED, FaultStage.PAYLOAD)
    and not kind.startswith(("stall", "zero", "reset_at_end", "url_"))
]
ON_DOWNLOADS = [kind for kind, about in KINDS.items() if about.stage in (*ANSWERED, FaultStage.FILE)]


@pytest.mark.parametrize("kind", ON_LISTINGS)
async def test_generation_while_the_catalogue_fails(kind: str, service: BlockingSandbox) -> None:
    """A catalogue that cannot be had, or read, keeps nobody from a generation, and it is paid for once."""
    service.reset()
    service.set_faults(Fault(kind, route="catalog", after_s=0.001 if kind == "slow_drip" else None))
    async with nothing_left_open():
        async with ngi.AsyncClient(**Cell(kind, service).options) as client:
            result = await client.images.generate(PROMPT, model=MODEL, n=ASKED)
            assert_idle(client)
    assert len(result.images) == ASKED
    assert len(service.ledger.posts) == len(service.ledger.billed) == 1


@pytest.mark.parametrize("kind", ON_DOWNLOADS)
async def test_downloads_that_fail(kind: str, service: BlockingSandbox, tmp_path: Path) -> None:
    """A download ends with the image or a DownloadError, is never paid for again, and works once the fault is gone."""
    service.reset()
    cell = Cell(kind, service)
    service.set_faults(Fault(kind, route="files", times=2, after_s=0.001 if kind == "slow_drip" else None))
    async with nothing_left_open():
        async with ngi.AsyncClient(**cell.options) as client:
            result = await client.images.generate_openai(PROMPT, model=MODEL, response_format="url")
            (image,) = result.images
            charge = None
            try:
                assert await image.read()
            except ngi.DownloadError as error:
                charge = error.charge
            assert charge in (None, ngi.Charge.CHARGED)
            service.set_faults()
            path = await image.save(tmp_path / "fox")
            assert_idle(client)
        await anyio.to_thread.run_sync(settle, service)
    assert [path] == list(tmp_path.iterdir())
    assert not unfinished_files(tmp_path)
    assert len(service.ledger.posts) == 1
    assert not any("authorization" in {name.lower() for name in visit.headers} for visit in service.visits)
