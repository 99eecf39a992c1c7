"""A call with a key is paid for once, whoever makes it."""

from __future__ import annotations

import asyncio
import io
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import PNG

import nanogpt_images as ngi
from nanogpt_images.resources.ledger.ledger_store import LedgerStore
from nanogpt_images.sandbox import Fault, Sandbox

MODEL = "tiny-and-fast"
OpenClient = Callable[..., ngi.AsyncClient]


async def test_the_same_key_gives_the_same_result(client: ngi.AsyncClient, sandbox: Sandbox) -> None:
    """The second call sends nothing, and what it gets is equal in every field."""
    first = await client.images.generate("a fox", model=MODEL, key="order-42")
    again = await client.images.generate("a fox", model=MODEL, key="order-42")
    assert again == first
    assert again.images[0].data == first.images[0].data
    assert first.cost_usd == pytest.approx(sandbox.ledger.total_usd)
    assert len(sandbox.ledger.posts) == 1


async def test_a_hit_needs_no_network(file: Path) -> None:
    """A client that has opened the ledger gets the images although the service is gone."""
    async with Sandbox(requests_per_second=None) as sandbox:
        client = ngi.AsyncClient(sandbox.api_key, sandbox.url, ledger=file)
        first = await client.images.generate("a fox", model=MODEL, key="k")
    async with client:
        assert await client.images.generate("a fox", model=MODEL, key="k") == first


async def test_callers_at_once_pay_once(open_client: OpenClient, sandbox: Sandbox) -> None:
    """Twenty callers in four clients share one POST."""
    clients = [open_client() for _ in range(4)]
    calls = [client.images.generate("a fox", model=MODEL, key="k") for client in clients * 5]
    results = await asyncio.gather(*calls)
    assert all(result == results[0] for result in results)
    assert len(sandbox.ledger.posts) == 1


async def test_another_request_under_the_same_key(client: ngi.AsyncClient, sandbox: Sandbox) -> None:
    """It is refused, and what differs is named."""
    await client.images.generate("a fox", model=MODEL, key="k", seed=1)
    with pytest.raises(
        ngi.ParameterError, match=r"prompt was 'a fox' and is 'a hare'; seed was 1 and is not given"
    ):
        await client.images.generate("a hare", model=MODEL, key="k")
    with pytest.raises(ngi.ParameterError, match="route was 'images' and is 'openai'"):
        await client.images.generate_openai("a fox", model=MODEL, key="k", seed=1)
    assert len(sandbox.ledger.posts) == 1


async def test_an_unknown_outcome_comes_back(client: ngi.AsyncClient, sandbox: Sandbox) -> None:
    """It is told with the facts of the first attempt, and nothing is sent, until the key is forgotten."""
    sandbox.set_faults(Fault("reset_after_body", times=1))
    with pytest.raises(ngi.TransportError) as first:
        await client.images.generate("a fox", model=MODEL, key="k")
    assert first.value.charge is ngi.Charge.UNKNOWN
    with pytest.raises(ngi.OutcomeUnknownError, match="Nothing was sent now") as again:
        await client.images.generate("a fox", model=MODEL, key="k")
    assert type(first.value).__name__ in str(again.value)
    assert len(sandbox.ledger.posts) == 1
    assert [entry.key for entry in await client.ledger.entries(unknown=True)] == ["k"]
    assert await client.ledger.forget("k")
    assert (await client.images.generate("a fox", model=MODEL, key="k")).images
    assert not await client.ledger.forget("never used")


async def test_a_failure_that_cost_nothing_may_be_tried_again(
    client: ngi.AsyncClient, sandbox: Sandbox
) -> None:
    """A refusal by the service leaves the key free for the same request."""
    sandbox.set_faults(Fault("402", times=1))
    with pytest.raises(ngi.InsufficientBalanceError):
        await client.images.generate("a fox", model=MODEL, key="k")
    assert (await client.images.generate("a fox", model=MODEL, key="k")).images
    assert len(sandbox.ledger.billed) == 1


async def test_a_charged_failure_is_not_paid_for_again(client: ngi.AsyncClient, sandbox: Sandbox) -> None:
    """An answer without images was charged: it fails again without a request."""
    sandbox.set_faults(Fault("zero_images", times=1))
    for _ in range(2):
        with pytest.raises(ngi.ResponseDecodeError) as failure:
            await client.images.generate("a fox", model=MODEL, key="k")
        assert failure.value.charge is ngi.Charge.CHARGED
    assert len(sandbox.ledger.posts) == 1


async def test_a_looser_policy_leaves_no_false_refusal(open_client: OpenClient, sandbox: Sandbox) -> None:
    """Where an earlier attempt may have been charged, the refusal of the last one does not free the key."""
    client = open_client(retry=ngi.RetryPolicy.documented())
    sandbox.set_faults(Fault("504", times=1), Fault("402", times=1))
    with pytest.raises(ngi.NanoGPTError):
        await client.images.generate("a fox", model=MODEL, key="k")
    with pytest.raises(ngi.OutcomeUnknownError):
        await client.images.generate("a fox", model=MODEL, key="k")


async def test_a_cancelled_call_is_unknown(client: ngi.AsyncClient, sandbox: Sandbox) -> None:
    """A caller that goes away after the request has left does not free the key."""
    sandbox.set_faults(Fault("stall_before_headers", times=1))
    call = asyncio.create_task(client.images.generate("a fox", model=MODEL, key="k"))
    while not sandbox.ledger.billed:
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    with pytest.raises(ngi.OutcomeUnknownError, match="CancelledError"):
        await client.images.generate("a fox", model=MODEL, key="k")
    assert len(sandbox.ledger.posts) == 1


@pytest.mark.parametrize("at", [1, 2, 3, 4])
@pytest.mark.parametrize("form", ["b64_json", "url"])
async def test_a_call_cancelled_while_it_is_written_down_blocks_no_other(
    client: ngi.AsyncClient, open_client: OpenClient, sandbox: Sandbox, at: int, form: str
) -> None:
    """Whatever the ledger was about to record, the next caller gets an answer although this client lives on."""
    ledger, writes = client.ledger, 0
    write = ledger.write

    async def cancelling(*args: object) -> object:
        nonlocal writes
        writes += 1
        if writes == at:
            asyncio.get_running_loop().call_soon(call.cancel)
        return await write(*args)

    ledger.write = cancelling
    made = client.images.generate_openai("a fox", model=MODEL, response_format=form, key="k")
    call = asyncio.create_task(made)
    await asyncio.wait([call])
    ledger.write = write
    for caller in (open_client(), client):
        again = caller.images.generate_openai("a fox", model=MODEL, response_format=form, key="k")
        assert (await asyncio.wait_for(again, 60)).images
    assert len(sandbox.ledger.billed) == 1


async def test_a_call_cancelled_between_two_attempts_is_not_unknown(
    client: ngi.AsyncClient, sandbox: Sandbox
) -> None:
    """Every attempt was refused, and none is under way: the key is free."""
    sandbox.set_faults(Fault("429", times=1))
    call = asyncio.create_task(client.images.generate("a fox", model=MODEL, key="k"))

    async def cancelled(_: float) -> None:
        call.cancel()
        await asyncio.sleep(0)

    client._sender._sleep = cancelled
    await asyncio.wait([call])
    assert call.cancelled()
    assert (await client.images.generate("a fox", model=MODEL, key="k")).images
    assert len(sandbox.ledger.billed) == 1


async def test_an_end_that_cannot_be_written_down_blocks_no_other(
    client: ngi.AsyncClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk is full once the images have come, the next call of the client finds the key unknown."""

    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(LedgerStore, "done", full)
        with pytest.raises(ngi.LedgerError):
            await client.images.generate("a fox", model=MODEL, key="k")
    with pytest.raises(ngi.OutcomeUnknownError, match="could not be written down"):
        await asyncio.wait_for(client.images.generate("a fox", model=MODEL, key="k"), 60)
    assert len(sandbox.ledger.posts) == 1


@pytest.mark.parametrize("size", [1, 100_000])
async def test_an_image_that_gets_no_name_is_handed_out(
    client: ngi.AsyncClient, file: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """The error brings the image that was paid for, and the ledger lists no file that is not there."""

    def broken(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("nanogpt_images.resources.ledger.blobs.INLINE_BYTES", size)
    with monkeypatch.context() as disk:
        disk.setattr(os, "replace", broken)
        with pytest.raises(ngi.OutputError, match=r"Input/output error.*charged") as caught:
            await client.images.generate("a fox", model=MODEL, key="k")
    assert caught.value.partial.images[0].data.startswith(b"\x89PNG")
    assert list(file.with_name("paid.db.images").iterdir()) == []
    assert (await client.ledger.verify()).is_sound


async def test_files_are_delivered_again(client: ngi.AsyncClient, sandbox: Sandbox, tmp_path: Path) -> None:
    """A redelivered order finds its file, gets a lost one again, and never writes over another image."""
    out = tmp_path / "out"

    async def order() -> Path:
        result = await client.images.generate_to(
            out, "a fox", model=MODEL, name="fox", key="k", provenance=True
        )
        return result.images[0].path

    path = await order()
    assert await order() == path == out / "fox.png"
    path.unlink()
    assert await order() == path
    path.write_bytes(PNG)
    with pytest.raises(ngi.OutputError, match="holds another image"):
        await order()
    assert path.read_bytes() == PNG
    assert len(sandbox.ledger.posts) == 1
    assert sorted(file.name for file in out.iterdir()) == ["fox.png"]


async def test_urls_are_kept_as_bytes(client: ngi.AsyncClient, sandbox: Sandbox) -> None:
    """A signed URL lives an hour; under a key its image stays."""
    ask = {"model": MODEL, "response_format": "url", "key": "k"}
    first = await client.images.generate_openai("a fox", **ask)
    assert first.images[0].url is not None
    await client.aclose()
    async with ngi.AsyncClient(sandbox.api_key, sandbox.url, ledger=client.ledger.path) as later:
        again = await later.images.generate_openai("a fox", **ask)
    assert again == first
    assert again.images[0].data == first.images[0].data is not None
    assert len(sandbox.ledger.posts) == 1


async def test_a_download_is_repeated_without_paying(client: ngi.AsyncClient, sandbox: Sandbox) -> None:
    """Where the URL cannot be fetched for now the caller has it, and the next call fetches it."""
    sandbox.set_faults(Fault("url_404", times=1))
    ask = {"model": MODEL, "response_format": "url", "key": "k"}
    first = await client.images.generate_openai("a fox", **ask)
    assert first.images[0].data is None
    assert (await client.ledger.entry("k")).state.value == "linked"
    with pytest.raises(ngi.DownloadError):
        await client.images.generate_openai("a fox", **ask)
    assert len(sandbox.ledger.posts) == 1


async def test_automatic_keys(client: ngi.AsyncClient, sandbox: Sandbox) -> None:
    """A seed or a sample makes a request a cache entry; without both each call is another image."""
    for _ in range(2):
        await client.images.generate("a fox", model=MODEL, key=ngi.AUTO)
    assert len(sandbox.ledger.posts) == 2
    for options in ({"seed": 7}, {"extra": {"seed": 8}}, {"sample": 0}, {"sample": 1}):
        before = len(sandbox.ledger.posts)
        first = await client.images.generate("a fox", model=MODEL, key=ngi.AUTO, **options)
        assert await client.images.generate("a fox", model=MODEL, key=ngi.AUTO, **options) == first
        assert len(sandbox.ledger.posts) == before + 1


async def test_references_count_by_their_bytes(
    client: ngi.AsyncClient, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A file and its bytes are one reference; a file that was written over is another."""
    model = next(
        m.id for m in await client.catalog.list() if m.references is not None and m.references.max_items
    )
    path = tmp_path / "in.png"
    path.write_bytes(PNG)
    ask = {"model": model, "key": "k", "validate": False}
    first = await client.images.generate("a fox", input_references=path, **ask)
    assert await client.images.generate("a fox", input_references=PNG, **ask) == first
    path.write_bytes(PNG + b" ")
    with pytest.raises(ngi.ParameterError, match="references was"):
        await client.images.generate("a fox", input_references=path, **ask)
    assert len(sandbox.ledger.posts) == 1


async def test_edits_count_by_the_bytes_of_their_images(
    client: ngi.AsyncClient, sandbox: Sandbox, tmp_path: Path
) -> None:
    """An edit with a key is paid for once, in memory and to files; another image or mask is another request."""
    path = tmp_path / "in.png"
    path.write_bytes(PNG)
    ask = {"model": "restyle", "key": "e", "validate": False}
    first = await client.images.edit("a hat", image=path, **ask)
    assert await client.images.edit("a hat", image=PNG, **ask) == first
    files = await client.images.edit_to(tmp_path / "out", "a hat", image=PNG, **ask)
    assert files.images[0].path is not None
    assert files.images[0].path.read_bytes() == first.images[0].data
    for other in ({"image": PNG + b" "}, {"image": PNG, "mask": PNG}):
        with pytest.raises(ngi.ParameterError, match="was"):
            await client.images.edit("a hat", **other, **ask)
    assert len(sandbox.ledger.posts) == 1


async def test_misuse_sends_nothing(
    client: ngi.AsyncClient, open_client: OpenClient, sandbox: Sandbox
) -> None:
    """A key without a ledger, a sample without a key, and keys that cannot be any."""
    plain = open_client(ledger=None)
    with pytest.raises(ngi.ConfigurationError, match="ledger"):
        await plain.images.generate("a fox", model=MODEL, key="k")
    with pytest.raises(ngi.ConfigurationError, match="ledger"):
        _ = plain.ledger
    with pytest.raises(ngi.ParameterError, match="sample goes with key"):
        await client.images.generate("a fox", model=MODEL, sample=1)
    for key in ("", "x" * 10_000, 7):
        with pytest.raises(ngi.ParameterError, match="key"):
            await client.images.generate("a fox", model=MODEL, key=key)
    assert sandbox.ledger.posts == []


async def test_a_stored_image_that_changed(client: ngi.AsyncClient, sandbox: Sandbox) -> None:
    """Its bytes are not handed out, nothing is sent, and the copy that comes back is taken."""
    first = await client.images.generate("a fox", model=MODEL, key="k")
    (stored,) = [path for path in client.ledger.folder.iterdir() if path.is_file()]
    assert stored.stem == first.images[0].sha256
    stored.write_bytes(PNG)
    with pytest.raises(ngi.LedgerError, match="holds other bytes"):
        await client.images.generate("a fox", model=MODEL, key="k")
    assert not (await client.ledger.verify()).is_sound
    stored.unlink()
    with pytest.raises(ngi.LedgerError, match="cannot be read"):
        await client.images.generate("a fox", model=MODEL, key="k")
    stored.write_bytes(first.images[0].data)
    assert await client.images.generate("a fox", model=MODEL, key="k") == first
    assert len(sandbox.ledger.posts) == 1


def _newer(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def _garbage(file: Path) -> None:
    file.write_bytes(b"no database at all" * 1_000)


def _foreign(file: Path) -> None:
    file.unlink()
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE other (x)")
    connection.close()


def _of_another_service(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE meta SET value = 'https://nano-gpt.com'")
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_newer, "newer version"),
        (_garbage, "damaged"),
        (_foreign, "not a ledger"),
        (_of_another_service, "was made with https://nano-gpt.com"),
    ],
)
async def test_a_ledger_that_cannot_be_used(
    open_client: OpenClient, sandbox: Sandbox, file: Path, spoil: object, text: str
) -> None:
    """One clear error, nothing sent, and the file as it was."""
    first = open_client()
    await first.images.generate("a fox", model=MODEL, key="k")
    await first.aclose()
    spoil(file)  # type: ignore[operator]
    before = file.read_bytes()
    for _ in range(2):
        with pytest.raises(ngi.LedgerError, match=text):
            await open_client().images.generate("a hare", model=MODEL, key="other")
    assert file.read_bytes() == before
    assert len(sandbox.ledger.posts) == 1


async def test_a_full_disk_stops_the_call_before_it_is_paid_for(
    client: ngi.AsyncClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The intent cannot be written, so nothing leaves; the next call with room pays once."""
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorname = "SQLITE_FULL"

    def begin(*_: object, **__: object) -> None:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(LedgerStore, "begin", begin)
        with pytest.raises(ngi.LedgerError, match="Free space"):
            await client.images.generate("a fox", model=MODEL, key="k")
    assert sandbox.ledger.posts == []
    assert (await client.images.generate("a fox", model=MODEL, key="k")).images


async def test_bounds(client: ngi.AsyncClient, sandbox: Sandbox) -> None:
    """Pruning forgets cache entries, and keeps what a caller's key was paid for."""
    for number in range(3):
        await client.images.generate(f"fox {number}", model=MODEL, key=ngi.AUTO, sample=0)
    kept = await client.images.generate("a fox", model=MODEL, key="k")
    size = kept.images[0].size_bytes
    pruned = await client.ledger.prune(max_bytes=size)
    assert (pruned.calls, pruned.files) == (3, 3)
    assert await client.images.generate("a fox", model=MODEL, key="k") == kept
    pruned = await client.ledger.prune(max_age_s=0)
    assert (pruned.calls, pruned.files, pruned.bytes) == (1, 1, size)
    with pytest.raises(ngi.LedgerError, match="were pruned"):
        await client.images.generate("a fox", model=MODEL, key="k")
    assert len(sandbox.ledger.posts) == 4
    with pytest.raises(ngi.ParameterError):
        await client.ledger.prune(max_bytes=-1)


async def test_one_copy_of_each_image(client: ngi.AsyncClient) -> None:
    """Two keys with the same image share its file, and files that no call has are found."""
    for key in ("a", "b"):
        await client.images.generate("a fox", model=MODEL, key=key, seed=1)
    (client.ledger.folder / ("0" * 64 + ".png")).write_bytes(PNG)
    found = await client.ledger.verify()
    assert (found.calls, found.images, found.orphans) == (2, 1, ("0" * 64 + ".png",))


def test_blocking(tmp_path: Path) -> None:
    """The blocking client has the same."""
    with Sandbox.in_thread(requests_per_second=None) as sandbox:
        with ngi.Client(sandbox.api_key, sandbox.url, ledger=tmp_path / "paid.db") as client:
            first = client.images.generate("a fox", model=MODEL, key="k")
            assert client.images.generate("a fox", model=MODEL, key="k") == first
            assert io.BytesIO(first.images[0].read()).getbuffer()[:4] == b"\x89PNG"
            assert [entry.key for entry in client.ledger.entries()] == ["k"]
            assert client.ledger.forget("k")
        assert len(sandbox.ledger.posts) == 1
