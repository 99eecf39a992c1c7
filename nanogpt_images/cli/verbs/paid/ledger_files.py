"""`ledger`: what calls with a key were paid for, from the ledger's file alone."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from ....errors import ParameterError
from ....resources.ledger.ledger_store import LedgerStore
from ....resources.ledger.paid_entries import EntryState, LedgerEntry
from ....resources.ledger.upkeep import check, prune, sweep
from ... import common as _common
from ...errors import FAILED
from ...output import count, money, note, one_line, say, say_fields, say_json, say_table, size

_SHOWN = 100


@click.group("ledger")
def command() -> None:
    """Look after FILE, a ledger of calls that were paid for (ledger=FILE, --reuse FILE). Nothing is sent."""


_file = click.argument("file", metavar="FILE")


@contextmanager
def _opened(file: str, *, read_only: bool = True) -> Generator[LedgerStore]:
    with closing(LedgerStore(Path(file), service=None, read_only=True)) as store:
        if read_only:
            yield store
            return
    with closing(LedgerStore(Path(file), service=None)) as store, store.transaction():
        yield store


@_common.verb("list", example="ledger list paid.db")
@_file
@click.option("--unknown", is_flag=True, help="List only calls whose outcome is not known.")
def list_calls(file: str, unknown: bool, base_url: str | None, as_json: bool) -> int:
    """
    List the calls in FILE.

    The exit code is 1 where an outcome is not known.
    """
    del base_url
    with _opened(file) as store:
        entries, service = store.listed(unknown=unknown), store.service()
    unknowns = sum(entry.state.value == "unknown" for entry in entries)
    if as_json:
        say_json({"ledger": file, "service": service, "calls": [_document(entry) for entry in entries]})
    elif not entries:
        say("no call")
    else:
        rows = [
            [
                one_line(entry.key or "(automatic)", 40),
                _state(entry),
                _time(entry.sent_at),
                _cost(entry),
                f"{len(entry.images)}",
                one_line(f"{entry.model}: {entry.prompt}", 60),
            ]
            for entry in entries[-_SHOWN:]
        ]
        say_table(["key", "state", "sent", "cost", "images", "request"], rows, right=(3, 4), wrap=(5,))
        if len(entries) > _SHOWN:
            say(f"and {count(len(entries) - _SHOWN, 'earlier call')}; --json lists all")
    if unknowns and not as_json:
        note(f"{count(unknowns, 'call')} may have been charged: 'nanogpt-images settle {one_line(file)}'")
    return FAILED if unknowns else 0


@_common.verb("show", example="ledger show paid.db order-42")
@_file
@click.argument("key", metavar="KEY")
def show_call(file: str, key: str, base_url: str | None, as_json: bool) -> int:
    """Show what is known about the call with KEY, or with the digest of an automatic key."""
    del base_url
    with _opened(file) as store:
        found = [entry for entry in store.listed() if key in (entry.key, entry.content)]
        folder = store.folder
    if not found:
        raise _no_such_key(file, key)
    if as_json:
        say_json({"ledger": file, "calls": [_document(entry) for entry in found]})
        return 0
    for entry in found:
        say_fields(
            {
                "key": one_line(entry.key or "(automatic)"),
                "content": entry.content,
                "sample": "" if entry.sample is None else str(entry.sample),
                "state": _state(entry),
                "sent": f"{_time(entry.sent_at)}, {count(entry.attempts, 'attempt')}",
                "cost": _cost(entry),
                "request": one_line(entry.request_id or ""),
                "error": one_line(f"{entry.error_type}: {entry.error_text}") if entry.error_type else "",
                "asked for": [one_line(f"{name}={value}") for name, value in entry.request.items()],
                "images": [f"{folder / image.file} ({size(image.bytes)})" for image in entry.images]
                or ("pruned" if entry.pruned else ""),
            }
        )
    return 0


@_common.verb("verify", example="ledger verify paid.db")
@_file
def verify_files(file: str, base_url: str | None, as_json: bool) -> int:
    """
    Compare each image of FILE with its digest, and name files that belong to no call.

    The exit code is 1 where an image is missing or has changed.
    """
    del base_url
    with _opened(file) as store:
        found = check(store.folder, store.listed())
    if as_json:
        say_json(
            {
                "ledger": file,
                "calls": found.calls,
                "images": found.images,
                "changed": found.changed,
                "orphans": found.orphans,
            }
        )
    else:
        say(f"{count(found.calls, 'call')}, {count(found.images, 'image')} as paid for")
        for text in found.changed:
            say(f"changed  {one_line(text)}")
        for name in found.orphans:
            say(f"orphan  {one_line(name)}")
    return 0 if found.is_sound else FAILED


@_common.verb("prune", example="ledger prune paid.db --max-bytes 10000000000")
@_file
@click.option(
    "--max-bytes",
    type=click.IntRange(min=0),
    metavar="N",
    help="Most bytes that all images together may take.",
)
@click.option(
    "--max-age",
    "--max-age-s",
    "max_age_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Age above which images are removed.",
)
def prune_images(
    file: str, max_bytes: int | None, max_age_s: float | None, base_url: str | None, as_json: bool
) -> int:
    """
    Remove the oldest images of FILE until it is within the bounds, and files that belong to no call.

    A call with an automatic key is forgotten with its images; a key of yours stays paid for.
    """
    del base_url
    with _opened(file, read_only=False) as store:
        calls = prune(store, max_bytes=max_bytes, max_age_s=max_age_s)
    with _opened(file, read_only=False) as store:
        sizes = sweep(store)
    if as_json:
        say_json({"ledger": file, "calls": calls, "files": len(sizes), "bytes": sum(sizes)})
    else:
        say(f"{count(calls, 'call')} let go, {count(len(sizes), 'file')} removed ({size(sum(sizes))})")
    return 0


@_common.verb("forget", example="ledger forget paid.db order-42")
@_file
@click.argument("key", metavar="KEY")
def forget_call(file: str, key: str, base_url: str | None, as_json: bool) -> int:
    """Forget the call with KEY: the next one with it is paid for again."""
    del base_url
    with _opened(file, read_only=False) as store:
        if not store.forget(f"key:{key}"):
            raise _no_such_key(file, key)
    if as_json:
        say_json({"ledger": file, "forgotten": key})
    else:
        say(f"forgot {one_line(key)}: the next call with this key pays")
    return 0


for _command in (list_calls, show_call, verify_files, prune_images, forget_call):
    command.add_command(_command)


def _no_such_key(file: str, key: str) -> ParameterError:
    return ParameterError(
        f"{file} has no call with key {key!r}.",
        advice=f"'nanogpt-images ledger list {one_line(file)}' lists them.",
        parameter="key",
    )


def _state(entry: LedgerEntry) -> str:
    """Its state; of one that failed, what became of the money too."""
    if entry.state is not EntryState.FAILED:
        return str(entry.state.value)
    return "failed, not charged" if entry.may_be_tried_again else "failed, charged"


def _known_cost_usd(entry: LedgerEntry) -> float | None:
    """What it cost; None while that is not known."""
    is_free = entry.state is EntryState.FAILED and entry.may_be_tried_again
    return entry.cost_usd if entry.cost_nano or is_free or entry.state is EntryState.DONE else None


def _cost(entry: LedgerEntry) -> str:
    cost_usd = _known_cost_usd(entry)
    return "?" if cost_usd is None else money(cost_usd)


def _document(entry: LedgerEntry) -> dict[str, object]:
    return {
        "key": entry.key,
        "content": entry.content,
        "sample": entry.sample,
        "state": entry.state.value,
        "charge": entry.charge.value if entry.charge is not None else None,
        "cost_usd": _known_cost_usd(entry),
        "request_id": entry.request_id,
        "error": entry.error_type,
        "message": entry.error_text,
        "attempts": entry.attempts,
        "sent_at": _time(entry.sent_at),
        "request": dict(entry.request),
        "pruned": entry.pruned,
        "images": [
            {"file": image.file, "sha256": image.sha256, "bytes": image.bytes, "media_type": image.media_type}
            for image in entry.images
        ],
    }


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
