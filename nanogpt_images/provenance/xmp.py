"""The XMP packet in JPEG and WebP files: a record as text that other programs read as well."""

from __future__ import annotations

from typing import Final
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from .record import Provenance

_NAMESPACE: Final = "urn:nanogpt_images:provenance:"
_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DESCRIPTION: Final = (
    '<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{}</rdf:li></rdf:Alt></dc:description>'
)
_PACKET: Final = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}"><rdf:Description rdf:about=""'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
    f' xmlns:ngi="{_NAMESPACE}">{{description}}<xmp:CreatorTool>{{software}}</xmp:CreatorTool>'
    "<ngi:Record>{record}</ngi:Record></rdf:Description></rdf:RDF></x:xmpmeta>"
    '<?xpacket end="w"?>'
)


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
    return _PACKET.format(
        description=description, software=escape(record.software), record=escape(record.to_json())
    ).encode()


def json_of(packet: bytes) -> str | None:
    """Extract a record's JSON text from *packet*, even if another program has rewritten it; None for none."""
    if b"<!" in packet:
        # XMP needs no declarations, and with them a small text can expand without end.
        return None
    try:
        tree = ET.fromstring(packet.strip(b"\0"))  # noqa: S314 - without declarations there is nothing to expand
    except ET.ParseError:
        return None
    for node in tree.iter(f"{{{_RDF}}}Description"):
        text = node.get(f"{{{_NAMESPACE}}}Record") or node.findtext(f"{{{_NAMESPACE}}}Record")
        if text is not None:
            return text
    return None
