"""A ledger kept in bounds, and its files compared with what was paid for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from ...errors import LedgerError, ParameterError
from .blobs import read_checked
from .ledger_store import LedgerStore, described
from .paid_entries import LedgerEntry


@attrs.frozen(kw_only=True)
class LedgerCheck:
    """
    What a look at all of a ledger's files found.

    Attributes:
        calls: Calls in the ledger.
        images: Images of theirs whose bytes are those that were paid for.
        changed: Files that are missing or whose bytes are others, with what is wrong.
        orphans: Files in the folder of images that no call has.
    """

    calls: int
    images: int
    changed: tuple[str, ...]
    orphans: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether every stored image is as it was paid for."""
        return not self.changed


@attrs.frozen(kw_only=True)
class Pruned:
    """
    What was removed to make room.

    Attributes:
        calls: Calls whose images are gone: those of automatic keys are forgotten, those of a caller's key stay paid.
        files: Files removed, orphans included.
        bytes: Their size.
    """

    calls: int
    files: int
    bytes: int


def check(folder: Path, entries: Sequence[LedgerEntry]) -> LedgerCheck:
    """Compare every image of *entries* in *folder* with its digest, and find files that no call has. Blocking."""
    changed: dict[str, str] = {}
    sound = set[str]()
    for entry in entries:
        for image in () if entry.pruned else entry.images:
            if image.file not in sound and image.file not in changed:
                try:
                    read_checked(folder, image, described(entry.name))
                except LedgerError as error:
                    changed[image.file] = str(error)
                else:
                    sound.add(image.file)
    known = {image.file for entry in entries for image in entry.images}
    orphans = sorted(
        path.name
        for path in folder.iterdir()
        if path.is_file() and path.name[0] != "." and path.name not in known
    )
    return LedgerCheck(
        calls=len(entries), images=len(sound), changed=tuple(changed.values()), orphans=tuple(orphans)
    )


def prune(store: LedgerStore, *, max_bytes: int | None, max_age_s: float | None) -> int:
    """
    Let go of images until the bounds hold, the oldest first.

    Args:
        store: The ledger, in a transaction.
        max_bytes: Most bytes of all images together.
        max_age_s: Seconds for which images are kept.

    Returns:
        How many calls lost their images.

    Raises:
        ParameterError: A bound is negative.
    """
    for name, bound in (("max_bytes", max_bytes), ("max_age_s", max_age_s)):
        if bound is not None and not bound >= 0:
            raise ParameterError(f"{name} must be 0 or more, not {bound}.", parameter=name)
    oldest = None if max_age_s is None else store.clock() - max_age_s
    found = store.connection.execute(
        "SELECT seq, name, ended_at, (SELECT coalesce(sum(bytes), 0) FROM image WHERE entry = seq) FROM entry"
        " WHERE state = 'done' AND pruned = 0 ORDER BY ended_at, seq"
    ).fetchall()
    total = sum(size for *_, size in found)
    calls = 0
    for seq, name, ended_at, size in found:
        too_old = oldest is not None and ended_at < oldest
        if not too_old and (max_bytes is None or total <= max_bytes):
            continue
        total -= size
        calls += 1
        if name.startswith("key:"):
            store.connection.execute("UPDATE entry SET pruned = 1 WHERE seq = ?", (seq,))
            store.connection.execute("DELETE FROM image WHERE entry = ?", (seq,))
        else:
            store.drop([seq])
    return calls


def sweep(store: LedgerStore) -> list[int]:
    """Remove the files that no call has, unless a call in flight may have written them; return their sizes."""
    under_way = store.connection.execute(
        "SELECT EXISTS (SELECT 1 FROM entry WHERE state IN ('sent', 'linked'))"
    ).fetchone()[0]
    if under_way:
        return []
    known = {
        f"{sha256}{suffix}" for sha256, suffix in store.connection.execute("SELECT sha256, suffix FROM image")
    }
    removed: list[int] = []
    for path in store.folder.iterdir():
        if path.is_file() and path.name[0] != "." and path.name not in known:
            removed.append(path.stat().st_size)
            path.unlink()
    return removed
