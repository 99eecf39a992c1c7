"""Which manifests the rows of a job come from, and how far each was read: facts in `meta`, beside the service."""

from __future__ import annotations

import hashlib
import json
from typing import Final

import attrs

from .database.store import Store
from .records import ManifestRecord

_PREFIX: Final = "manifest "


def follow(store: Store, manifest: ManifestRecord, *, beside_others: bool) -> ManifestRecord:
    """
    Begin a pass over the rows of *manifest*: those that are admitted from now on are its rows, from the first one.

    Args:
        store: The journal.
        manifest: The manifest. What was read of the same rows in an earlier pass stays read.
        beside_others: Keep what is known of other manifests; otherwise the job is about this one alone.

    Returns:
        The record as it is kept.
    """
    name = _name(manifest)
    earlier = dict(_recorded(store))
    for known, record in earlier.items():
        if not beside_others or record.path == manifest.path:
            store.connection.execute("DELETE FROM meta WHERE name = ?", (known,))
    if name in earlier:
        found = earlier[name]
        planned = found.planned_nano if manifest.planned_nano is None else manifest.planned_nano
        manifest = attrs.evolve(manifest, read=found.read, planned_nano=planned)
    text = json.dumps(attrs.asdict(manifest))
    store.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, text))
    if store.connection.execute("DELETE FROM pass").rowcount:
        store.is_new = False
    store.followed, store.followed_rows = name, 0
    return manifest


def advance(store: Store, rows: int) -> None:
    """Count *rows* more of the manifest that is followed, if one is."""
    if store.followed is None:
        return
    store.followed_rows += rows
    store.connection.execute(
        "UPDATE meta SET value = json_set(value, '$.read', max(json_extract(value, '$.read'), ?)) WHERE name = ?",
        (store.followed_rows, store.followed),
    )


def recorded(store: Store) -> tuple[ManifestRecord, ...]:
    """Return the manifests of the job."""
    return tuple(record for _, record in _recorded(store))


def _recorded(store: Store) -> list[tuple[str, ManifestRecord]]:
    found = store.connection.execute(
        "SELECT name, value FROM meta WHERE name GLOB ? ORDER BY name", (f"{_PREFIX}*",)
    )
    return [(name, ManifestRecord(**json.loads(value))) for name, value in found.fetchall()]


def _name(manifest: ManifestRecord) -> str:
    # The same bytes read with other options are other rows.
    what = json.dumps([manifest.sha256, manifest.options], sort_keys=True)
    return f"{_PREFIX}{hashlib.sha256(what.encode()).hexdigest()[:16]}"
