"""The XMP packet: a record, and the mark that the image is generated, as text that other programs read as well."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from .record import Provenance
from .steps import UnfitError

_NAMESPACE: Final = "urn:nanogpt_images:provenance:"
_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DESCRIPTION: Final = (
    '<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{}</rdf:li></rdf:Alt></dc:description>'
)
_IPTC: Final = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_TERMS: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_START: Final = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">'
)
_END: Final = '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
_MARK: Final = (
    '<{rdf}:Description {rdf}:about="{about}"'
    f' xmlns:Iptc4xmpExt="{_IPTC}"><Iptc4xmpExt:DigitalSourceType>{_TERMS}{{term}}'
    "</Iptc4xmpExt:DigitalSourceType></{rdf}:Description>"
)
_RECORD: Final = (
    '<rdf:Description rdf:about=""'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
    f' xmlns:ngi="{_NAMESPACE}">{{description}}<xmp:CreatorTool>{{software}}</xmp:CreatorTool>'
    "<ngi:Record>{record}</ngi:Record></rdf:Description>"
)
_LAST_RDF: Final = re.compile(rb"</([A-Za-z_][\w.-]*):RDF\s*>(?!.*</[A-Za-z_][\w.-]*:RDF\s*>)", re.DOTALL)
_ABOUT: Final = re.compile(rb"""[\w.-]+:about\s*=\s*["']([^"'<>&]*)["']""")


def packet_of(record: Provenance, *, max_bytes: int | None = None) -> bytes:
    """
    Encode *record* as an XMP packet in UTF-8.

    Args:
        record: The record to write.
        max_bytes: A larger packet contains the prompt once instead of twice.
    """
    whole = _packet(record, _DESCRIPTION.format(escape(record.description)))
    return whole if max_bytes is None or len(whole) <= max_bytes else _packet(record, "")


def _packet(record: Provenance, description: str) -> bytes:
    body = _RECORD.format(
        description=description, software=escape(record.software), record=escape(record.to_json())
    )
    return f"{_START}{body}{_mark(record.source_type)}{_END}".encode()


def mark_packet(term: str) -> bytes:
    """Write a packet that says no more than where the image comes from: *term* of IPTC's `DigitalSourceType`."""
    return f"{_START}{_mark(term)}{_END}".encode()


def with_mark(packet: bytes, term: str) -> bytes | None:
    """
    Add *term* to *packet*, which any program may have written; None where it names a source of the image already.

    Raises:
        UnfitError: It is not a packet that can be added to.

    Source: XMP Specification Part 1, 7.4 "Data model"; IPTC Photo Metadata Standard, "Digital Source Type".
    """
    if source_type_of(packet) is not None:
        return None
    end, about = _LAST_RDF.search(packet), _ABOUT.search(packet)
    if end is None:
        raise UnfitError("its XMP metadata cannot be added to")
    mark = _mark(
        term, rdf=end[1].decode(), about="" if about is None else about[1].decode("utf-8", "replace")
    )
    return packet[: end.start()] + mark.encode() + packet[end.start() :]


def _mark(term: str, *, rdf: str = "rdf", about: str = "") -> str:
    return _MARK.format(rdf=rdf, about=about, term=term)


def source_type_of(packet: bytes) -> str | None:
    """Return the term of `DigitalSourceType` in *packet*, without IPTC's address before it; None where there is none."""
    for node in _descriptions(packet):
        name = f"{{{_IPTC}}}DigitalSourceType"
        found = node.find(name)
        linked = None if found is None else found.get(f"{{{_RDF}}}resource") or found.text
        if (text := node.get(name) or linked) is not None:
            return text.strip().removeprefix(_TERMS)
    return None


def json_of(packet: bytes) -> str | None:
    """The record's JSON text in *packet*, also after another program has rewritten it; None where there is none."""
    for node in _descriptions(packet):
        text = node.get(f"{{{_NAMESPACE}}}Record") or node.findtext(f"{{{_NAMESPACE}}}Record")
        if text is not None:
            return text
    return None


def _descriptions(packet: bytes) -> Iterator[ET.Element]:
    if b"<!" in packet:
        # No XMP needs declarations, and with them small texts can be made to grow without end.
        return
    try:
        tree = ET.fromstring(packet.strip(b"\0"))  # noqa: S314 - without declarations there is nothing to expand
    except ET.ParseError:
        return
    yield from tree.iter(f"{{{_RDF}}}Description")
