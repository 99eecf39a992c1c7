"""File names made from keys and prompts, safe on every operating system."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

MAX_NAME_BYTES: Final = 100
MAX_SLUG_CHARACTERS: Final = 40

_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?<!\.)")
# Windows opens a device for these, whatever follows the first dot.
_RESERVED: Final = re.compile(r"(?:con|prn|aux|nul|(?:com|lpt)[0-9¹²³])(?:\.|$)", re.IGNORECASE)
# Eight hex digits with a letter among them, so that a key which ends in a date is not taken for a marked one.
_MARK: Final = r"(?=[0-9]{0,7}[a-f])[0-9a-f]{8}"
_MARKED: Final = re.compile(rf"-{_MARK}$")
_SLUG_BREAK: Final = re.compile(r"[^a-z0-9]+")


def safe_name(key: str) -> str:
    """
    Return a file stem for *key*: one path component, at most `MAX_NAME_BYTES` long in UTF-8.

    A plain key is its own name. Letters and digits of any script are kept; everything else but `.`, `_`
    and `-` becomes `_`. A name that differs from its key ends in `-` and eight hex digits of the key's
    SHA-256, so distinct keys keep distinct names; so does a key that looks as if it ended in such a mark.
    """
    normal = unicodedata.normalize("NFC", key)
    name = normal if _PLAIN.fullmatch(normal) else "".join(map(_kept, normal))
    name = _cut(name.lstrip(".-").rstrip("."), MAX_NAME_BYTES)
    if _RESERVED.match(name):
        name = f"_{name}"
    if name == key and name and not _MARKED.search(name):
        return name
    return f"{_cut(name, MAX_NAME_BYTES - 9) or 'image'}-{_mark(key)}"


def prompt_slug(prompt: str) -> str:
    """Return a short, readable ASCII stem for *prompt*: lower case, words joined by `-`; `image` when nothing is left."""
    # Decomposing can multiply a text's length; what stands beyond this is never part of the slug.
    head = unicodedata.normalize("NFKD", prompt[:400]).encode("ascii", "ignore").decode().lower()
    slug = _SLUG_BREAK.sub("-", head).strip("-")
    if len(slug) > MAX_SLUG_CHARACTERS:
        whole_words = slug[: MAX_SLUG_CHARACTERS + 1].rpartition("-")[0]
        slug = whole_words or slug[:MAX_SLUG_CHARACTERS]
    return f"image-{slug}" if _RESERVED.match(slug) else slug or "image"


def image_stem(name: str, index: int, total: int) -> str:
    """Return the stem of image *index* of *total*: `fox` for an only image, else `fox-0`, `fox-1` …"""
    return name if total == 1 else f"{name}-{index}"


def _kept(character: str) -> str:
    # Letters, marks and numbers: separators, their look-alikes, controls and format characters are none of them.
    return character if character in "._-" or unicodedata.category(character)[0] in "LMN" else "_"


def _cut(name: str, max_bytes: int) -> str:
    return name.encode()[:max_bytes].decode(errors="ignore").rstrip(".")


def _mark(key: str) -> str:
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    found = re.search(_MARK, digest)
    # A digest without any letter has a chance of 1 in 10^13; its first digits serve as well.
    return found[0] if found else digest[:8]
