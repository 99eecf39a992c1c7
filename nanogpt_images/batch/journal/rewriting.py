"""Images whose files are about to be written again with other bytes: the journal and `results.jsonl` follow."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from . import results
from .database.store import Store

# No list has this length, so the next `results.rewrite` writes it from the journal.
_OUTDATED = -1


@attrs.frozen(kw_only=True)
class Rewrite:
    """What becomes of an image's file."""

    unit_id: str
    file: str
    bytes: int
    sha256: str


def rewrite(store: Store, rewrites: Sequence[Rewrite]) -> None:
    """Record the new sizes and digests; `results.jsonl` is behind until `relist`, or until the next run."""
    store.connection.executemany(
        "UPDATE image SET bytes = ?, sha256 = ? WHERE file = ? AND unit = (SELECT seq FROM unit WHERE id = ?)",
        [(each.bytes, each.sha256, each.file, bytes.fromhex(each.unit_id)) for each in rewrites],
    )
    store.connection.execute("UPDATE stored SET results_bytes = ?", (_OUTDATED,))


def relist(store: Store) -> None:
    """Write `results.jsonl` from the journal, where it is behind. Raises OutputError."""
    results.rewrite(store.connection, store.directory)
