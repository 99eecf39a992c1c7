"""Cutting images out of a response body that arrives in pieces."""

from __future__ import annotations

import base64
import binascii
import io
import itertools
import json
import pickle
import re
import tracemalloc
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nanogpt_images.wire.b64stream import ImageStream, StreamDecodeError


class Recorder:
    """Sinks by index; a sink that is opened again starts empty."""

    def __init__(self) -> None:
        self.sinks: dict[int, io.BytesIO] = {}
        self.opened: list[int] = []

    def __call__(self, index: int) -> io.BytesIO:
        self.opened.append(index)
        self.sinks[index] = io.BytesIO()
        return self.sinks[index]


def feed_all(stream: ImageStream, chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        stream.feed(chunk)


Images = dict[int, bytes | None]
"""Images by index; None for one that cannot be used."""


def decode(chunks: Iterable[bytes], **options: int) -> tuple[Images, bytes]:
    """Feed *chunks*; return the images and the rest, with the sizes checked."""
    recorder = Recorder()
    stream = ImageStream(recorder, **options)
    feed_all(stream, chunks)
    rest = stream.close()
    images: Images = {index: recorder.sinks[index].getvalue() for index in stream.sizes}
    assert stream.sizes == {index: len(data or b"") for index, data in images.items()}
    assert len(stream.sizes) == len(images)
    return images | dict.fromkeys(stream.broken), rest


def fault(chunks: Iterable[bytes], index: int = 0, **options: int) -> str:
    """Why the image at *index* of a body cannot be used."""
    stream = ImageStream(Recorder(), **options)
    feed_all(stream, chunks)
    stream.close()
    assert index not in stream.sizes
    return stream.broken[index]


def image_of(text: str) -> bytes | None:
    """What the standard library makes of the base64 of an image, None where it is none."""
    text = re.sub(r"^\s*data:[^,]*;base64\s*,", "", text[:256], flags=re.I) + text[256:]
    text = "".join(text.split()).translate(str.maketrans("-_", "+/"))
    padded = text + "=" * (-len(text) % 4)
    try:
        if text == padded and len(text.rstrip("=")) % 4 == 1:
            return None  # binascii lets one "=" too many pass
        data = binascii.a2b_base64(padded, strict_mode=True)
    except ValueError:
        return None
    cut = text != padded and base64.b64encode(data)[-4:] != padded[-4:].encode()
    return None if cut else data or None


def expected(body: bytes) -> tuple[Images, Any]:
    """What the standard library makes of the whole body: images, and the document with `true` for them."""
    document = json.loads(body)
    images: Images = {}
    data = document.get("data")
    for index, entry in enumerate(data if isinstance(data, list) else []):
        if not isinstance(entry, dict):
            continue
        for key in ("url", "b64_json"):
            value = entry.get(key)
            if isinstance(value, str) and (key == "b64_json" or value.startswith("data:image/png;base64,")):
                images[index] = image_of(value)
                entry[key] = True
    return images, document


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def cut(body: bytes, *at: int) -> list[bytes]:
    bounds = [0, *sorted(at), len(body)]
    return [body[start:stop] for start, stop in itertools.pairwise(bounds)]


def refusal(chunks: Iterable[bytes], **options: int) -> StreamDecodeError:
    with pytest.raises(StreamDecodeError) as caught:
        decode(chunks, **options)
    return caught.value


TRICKY = (
    '\r\n {"cost" : 0.5,\t"note":"\\"b64_json\\":\\"AAAA\\" é\\\\", "x":{"data":[{"b64_json":"!"}]},\n'
    '"b64_json":"?", "data"\n:\n[ null , {"url":"https://a/b?c=[{,\\u002f"}, [{"b64_json":"no"}],'
    ' {"b6":"b64_json", "b64_json" : "AAEC\\/\\u002BA=", "meta":{"b64_json":"no"}} ,'
    '{"b64\\u005fjson":"AAEC\\r\\nAwQ\\u003d","z":"日本"}, {"b64_json":""},{"b64_json":null}] , "é":[true]} \n'
).encode()


def test_tricky_body_is_what_the_standard_library_reads() -> None:
    """One body holds every decoy, and its images and rest are those of json and base64."""
    images, rest = decode([TRICKY])
    assert (images, json.loads(rest)) == expected(TRICKY)
    assert images == {3: b"\x00\x01\x02\xff\xe0", 4: b"\x00\x01\x02\x03\x04", 5: None}


@pytest.mark.parametrize(
    "widths",
    [(0, 1, 2, 3, 5, 8, 13, 21), pytest.param(range(25), marks=pytest.mark.long)],
    ids=["some", "all"],
)
def test_every_two_point_split_gives_the_same(widths: Iterable[int]) -> None:
    """No chunk between two others, wherever it begins, changes an image or the rest."""
    whole = decode([TRICKY])
    for first in range(len(TRICKY)):
        for width in widths:
            assert decode(cut(TRICKY, first, min(first + width, len(TRICKY)))) == whole


@pytest.mark.parametrize("slice_bytes", [4, 8, 64])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11])
def test_small_pieces_give_the_same(size: int, slice_bytes: int) -> None:
    """A body that drips in, decoded in the smallest slices, gives the same images and rest."""
    assert decode(pieces(TRICKY, size), slice_bytes=slice_bytes) == decode([TRICKY])


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["b64_json", "data", '"', "\\"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=3) | st.sampled_from(["b64_json", "data", "url"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@st.composite
def image_texts(draw: st.DrawFn) -> str:
    """The JSON spelling of one image: plain, or with escapes and line breaks."""
    text = base64.b64encode(draw(st.binary(max_size=90))).decode()
    spelled: list[str] = []
    for char in text:
        style = draw(st.integers(0, 19))
        if style == 0:
            spelled.append(f"\\u{ord(char):04x}")
        elif char == "/" and style < 10:
            spelled.append("\\/")
        else:
            spelled.append(char)
        if style == 19:
            spelled.append(draw(st.sampled_from(["\\n", "\\r\\n", " ", "\\u000a"])))
    return '"' + "".join(spelled) + '"'


@st.composite
def objects(draw: st.DrawFn, own: list[tuple[str, str]]) -> str:
    """A JSON object with the members *own* among others, in any order, with white space."""
    others = draw(
        st.dictionaries(
            st.text(max_size=3).filter(lambda key: key not in ("data", "b64_json")), json_values, max_size=3
        )
    )
    ascii_only = draw(st.booleans())
    members = own + [
        (json.dumps(k, ensure_ascii=ascii_only), json.dumps(v, ensure_ascii=ascii_only))
        for k, v in others.items()
    ]
    blank = st.sampled_from(["", "", " ", "\r\n\t"])
    text = ",".join(
        f"{draw(blank)}{key}{draw(blank)}:{draw(blank)}{value}{draw(blank)}"
        for key, value in draw(st.permutations(members))
    )
    return "{" + text + "}"


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    key = st.sampled_from(['"b64_json"', '"b64_json"', '"b64\\u005Fjson"'])
    entries: list[str] = []
    for _ in range(draw(st.integers(0, 4))):
        value = draw(image_texts() | st.sampled_from(["null", "true", "[]"]) | st.none())
        if value is None:
            entries.append(json.dumps(draw(json_values.filter(lambda v: not isinstance(v, dict)))))
        else:
            entries.append(draw(objects([(draw(key), value)])))
    text = draw(objects([('"data"', "[" + ",".join(entries) + "]")]))
    return text.encode("utf-8", "replace")


@given(body=bodies(), data=st.data())
def test_any_split_of_any_body_is_what_the_standard_library_reads(body: bytes, data: st.DataObject) -> None:
    """However a body is cut, images and rest are those of json and base64 on the whole."""
    at = data.draw(st.lists(st.integers(0, len(body)), max_size=12))
    images, rest = decode(cut(body, *at), slice_bytes=data.draw(st.sampled_from([4, 16, 65536])))
    want_images, want_document = expected(body)
    assert images == want_images
    assert json.loads(rest) == want_document


ALPHABET = st.sampled_from(
    [*'{}[]:,"\\/ \nA=+1', '"data":[', '{"b64_json":"', "AAAA", '"}', "\\u002f", "true", "é"]
)


@given(parts=st.lists(ALPHABET, max_size=40), wrapped=st.booleans(), size=st.integers(1, 9))
@example(parts=['{"data":[{"b64_json":-"', "AAAA", '"}', "]}"], wrapped=False, size=3)
@example(parts=['{"data":[{"b64_json":"', "AAAA", '"', '"b"', "}]}"], wrapped=False, size=3)
def test_what_is_accepted_is_what_the_standard_library_accepts(
    parts: list[str], wrapped: bool, size: int
) -> None:
    """On token soup the stream raises StreamDecodeError, or its rest fails in json, exactly where the whole body does."""
    body = (
        ('{"data":[{"b64_json":"' if wrapped else "") + "".join(parts) + ('"}]}' if wrapped else "")
    ).encode()
    try:
        want: object = expected(body)
    except (ValueError, AttributeError):  # not JSON, not an object
        want = None
    try:
        images, rest = decode(pieces(body, size))
        got: object = (images, json.loads(rest))
    except ValueError:
        got = None
    else:
        # The text of an image that cannot be used need not be a JSON string, also where a later key replaced it.
        got = None if want is None and b'"b64_json":"' in body else got
    assert got == want


@given(chunks=st.lists(st.binary(max_size=40), max_size=8))
def test_noise_never_raises_anything_else(chunks: list[bytes]) -> None:
    """Bytes that are no body at all are refused with StreamDecodeError only."""
    error = refusal([*chunks, b"\x00"])
    assert len(error.excerpt) <= 200
    assert error.excerpt.isprintable()


IMAGE = b'{"data":[{"b64_json":"%b"}]}'


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is empty"),
        (b" \r\n", "the body is empty"),
        (b"<html>504 Gateway Time-out</html>", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        ('{"data":[]}'.encode("utf-16-be"), "not a JSON object"),
        (b'{"data":[', "the body is truncated"),
        (b'{"data":"', "the body is truncated"),
        (b'{"data":[{"b64_json"', "the body is truncated"),
        (b'{"data":[{"b64_json": ', "the body is truncated"),
        (b'{"data":[{"b64_json":"', "the body ends inside an image"),
        (b'{"data":[{"b64_json":"AAAA', "the body ends inside an image"),
        (b'{"data":[{"b64_json":"AAAA"}]', "the body is truncated"),
        (b'{"data":[]} {', "goes on after its JSON object"),
        (b'{"data":[]}x', "goes on after its JSON object"),
    ],
)
def test_refused_body_says_why(body: bytes, reason: str, size: int) -> None:
    """Each malformed body is refused with its reason, whatever the chunks."""
    assert reason in refusal(pieces(body, size)).reason


BROKEN: list[tuple[bytes, str]] = [
    (b"", "empty"),
    (rb"\n \r\n", "empty"),
    (b"AAAA" * 40 + b"*", "alphabet"),
    (b"AAAA" * 100, "larger than 256 bytes"),
    (rb"AAAA*\"\\", "does not belong"),
    (rb"AAAA*\\\"\",\"b64_json\":\"", "does not belong"),
    (b"AAAAAAAAA", "not a multiple of four"),
    (b"AAAAAAB", "not a multiple of four"),  # its last bits are of a byte that is missing
    (b"AAAAAB", "not a multiple of four"),
    (b"A", "not a multiple of four"),
    (b"AA==AAAA", "padding"),
    (b"AA==AA==", "padding"),
    (b"A===", "padding"),
    (b"====", "padding"),
    (b"AAAA\xc3\xa9AA", "alphabet"),
    (b"AAAA\nAAAA", "alphabet"),
    (b"data:image/png,AAAA", "alphabet"),
    (b"data:image/png;base64,", "empty"),
    (rb"AAAA\"AAA", "does not belong"),
    (rb"AAAA\\\/AAA", "does not belong"),
    (rb"AAAA\u005c/AAA", "does not belong"),
    (rb"AAAA\u005cu002fAAA", "does not belong"),
    (rb"AAAA\u00e9AAA", "does not belong"),
    (rb"AAAA\xAA", "does not belong"),
    (rb"AAAA\u00", "does not belong"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("text", "reason"), BROKEN)
def test_a_broken_image_takes_no_other_along(text: bytes, reason: str, size: int) -> None:
    """An image that cannot be used is named with its reason, whatever the chunks; those around it and the rest arrive."""
    body = b'{"data":[{"b64_json":"AAEC"},{"b64_json":"%b","n":1},{"b64_json":"AwQ="}],"cost":1}' % text
    options = {"max_image_bytes": 256}
    assert reason in fault(pieces(body, size), 1, **options)
    images, rest = decode(pieces(body, size), **options)
    assert images == {0: b"\x00\x01\x02", 1: None, 2: b"\x03\x04"}
    assert json.loads(rest) == {
        "data": [{"b64_json": True}, {"b64_json": True, "n": 1}, {"b64_json": True}],
        "cost": 1,
    }


def test_broken_images_are_read_up_to_a_limit() -> None:
    """An image without an end does not keep the stream reading for ever, in whatever chunks it comes."""
    for size in (1, 7, 1000):
        stream = ImageStream(Recorder(), max_image_bytes=10)
        with pytest.raises(StreamDecodeError, match="larger than 10 bytes"):
            feed_all(stream, pieces(IMAGE % (b"A" * 40), size))
        assert decode(pieces(IMAGE % (b"A" * 28), size), max_image_bytes=10)[0] == {0: None}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("text", "data"),
    [
        (b"data:image/png;base64,AAECAwQ=", b"\x00\x01\x02\x03\x04"),
        (rb"data:image\/svg+xml;charset=utf-8;base64,AAECAwQ", b"\x00\x01\x02\x03\x04"),
        (rb"\u0064ATA:;Base64, \n-_8", b"\xfb\xff"),
        (rb"AAEC\n-_\u005f_AA", b"\x00\x01\x02\xfb\xff\xff\x00"),
        (b"AAECAwQ", b"\x00\x01\x02\x03\x04"),
        (b"AAECAw", b"\x00\x01\x02\x03"),
        (b"AAECAw=", b"\x00\x01\x02\x03"),
        (b"data", b"u\xabZ"),
    ],
)
def test_other_spellings_of_an_image(text: bytes, data: bytes, size: int) -> None:
    """A data URL, missing padding and the URL-safe alphabet are read like the usual form."""
    assert decode(pieces(IMAGE % text, size))[0] == {0: data}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("entry", "images", "left"),
    [
        (rb'"url":"data:image\/png;base64,AAEC"', {0: b"\x00\x01\x02"}, {"url": True}),
        (b'"url":"data:image/png;base64,AAE*"', {0: None}, {"url": True}),
        (b'"url":"data:image/svg+xml,%3Csvg"', {}, {"url": "data:image/svg+xml,%3Csvg"}),
        (
            b'"url":"https://h/data:image/png;base64,AAEC"',
            {},
            {"url": "https://h/data:image/png;base64,AAEC"},
        ),
        (b'"url":"data"', {}, {"url": "data"}),
        (b'"url":"data:;base64,AAEC","b64_json":null', {0: b"\x00\x01\x02"}, {"url": True, "b64_json": None}),
        (b'"b64_json":null,"url":"data:;base64,AAEC"', {0: b"\x00\x01\x02"}, {"url": True, "b64_json": None}),
        (b'"b64_json":"AAEC","url":null', {0: b"\x00\x01\x02"}, {"url": None, "b64_json": True}),
        (
            b'"b64_json":"AAEC","url":"https://h"',
            {0: b"\x00\x01\x02"},
            {"url": "https://h", "b64_json": True},
        ),
        (b'"url":"data:;base64,AAEC","url":"https://h"', {}, {"url": "https://h"}),
        (b'"url":"data:;base64,AAEC","b64_json":"AwQ="', {0: b"\x03\x04"}, {"url": True, "b64_json": True}),
    ],
)
def test_a_data_url_in_url_is_an_image(entry: bytes, images: Images, left: object, size: int) -> None:
    """base64 behind `data:` in `url` is cut out of the body too; other URLs, and null beside an image, stay text."""
    found, rest = decode(pieces(b'{"data":[{%b}]}' % entry, size))
    assert (found, json.loads(rest)) == (images, {"data": [left]})


def test_error_names_image_offset_and_excerpt() -> None:
    """An error carries the image's index, the bytes fed and the start of the rest, and prints the first two."""
    start = b'{"a":"\x1b[0m", "data":[{"b64_json":"AAAA"},{"b64_json":"'
    error = refusal([start, b"AAAA", b"!!!!!!"], max_image_bytes=3)
    assert (error.index, error.offset) == (1, 64)
    assert error.excerpt == '{"a":"\ufffd[0m", "data":[{"b64_json":true},{"b64_json":true'
    assert str(error).endswith("(after 64 bytes, image 1)")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_excerpt_of_a_page_is_short() -> None:
    """An HTML answer is shown by its first 200 bytes, and no image is named."""
    error = refusal([b"<html>" + b"x" * 5000])
    assert error.excerpt == "<html>" + "x" * 194
    assert error.index is None


def test_dead_stream_refuses() -> None:
    """After a refusal neither more chunks nor the end are accepted."""
    stream = ImageStream(Recorder())
    with pytest.raises(StreamDecodeError):
        stream.feed(b"[")
    with pytest.raises(StreamDecodeError, match="failed before"):
        stream.feed(b"{}")
    with pytest.raises(StreamDecodeError, match="failed before"):
        stream.close()


def test_closed_stream_refuses() -> None:
    """The rest is handed over once."""
    stream = ImageStream(Recorder())
    stream.feed(b"{}")
    assert stream.close() == b"{}"
    with pytest.raises(StreamDecodeError, match="ended"):
        stream.close()


@pytest.mark.parametrize("where", ["open", "write"])
def test_failing_sink_passes_through_and_ends_the_stream(where: str) -> None:
    """What the caller's sink raises, ValueError included, is the caller's; the stream is dead then."""

    class Full:
        def write(self, data: bytes) -> None:
            raise ValueError("disk full")

    def open_sink(index: int) -> Full:
        if where == "open":
            raise ValueError("disk full")
        return Full()

    stream = ImageStream(open_sink)
    with pytest.raises(ValueError, match="disk full") as caught:
        stream.feed(IMAGE % b"AAAA")
    assert not isinstance(caught.value, StreamDecodeError)
    with pytest.raises(StreamDecodeError, match="failed before"):
        stream.feed(b'"}]}')


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_image_limit_is_exact(size: int) -> None:
    """An image of the largest size passes, one byte more is refused before it reaches the sink."""
    body = IMAGE % base64.b64encode(bytes(100))
    images, _ = decode(pieces(body, size), max_image_bytes=100)
    assert len(images[0]) == 100
    recorder = Recorder()
    stream = ImageStream(recorder, max_image_bytes=99)
    feed_all(stream, pieces(body, size))
    assert "larger than 99 bytes" in stream.broken[0]
    assert len(recorder.sinks[0].getvalue()) <= 99
    assert stream.sizes == {}


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize(
    "body", [b'{"a":"%b"}' % (b"x" * 92), b'{"a":"%b"}' % (b'\\"' * 46), b'{"abc":%b}' % (b"1" * 92)]
)
def test_rest_limit_is_exact(body: bytes, size: int) -> None:
    """A rest of the largest length passes, one byte more is refused."""
    assert decode(pieces(body, size), max_rest_bytes=len(body)) == ({}, body)
    assert "longer than" in refusal(pieces(body, size), max_rest_bytes=len(body) - 1).reason


def test_nesting_limit() -> None:
    """Nesting up to the limit passes, one level more is refused."""
    body = b'{"a":' + b"[" * 63 + b"]" * 63 + b"}"
    assert decode([body]) == ({}, body)
    assert "nested deeper than 64" in refusal([body.replace(b"[]", b"[[]]")]).reason


@pytest.mark.parametrize("slice_bytes", [0, -4, 6])
def test_slice_must_be_whole_groups(slice_bytes: int) -> None:
    """A slice that is no positive multiple of four is a mistake of the caller."""
    with pytest.raises(ValueError, match="multiple of four"):
        ImageStream(Recorder(), slice_bytes=slice_bytes)


@pytest.mark.parametrize(
    ("body", "images", "opened"),
    [
        (b'{"data":[{"b64_json":"AAAA","b64_json":"BBBB"}]}', {0: b"\x04\x10\x41"}, [0, 0]),
        (b'{"data":[{"b64_json":"AAAA","b64_json":null}]}', {}, [0]),
        (
            b'{"data":[{"b64_json":"AAAA"},{"b64_json":"AAAA"}],"data":[{"b64_json":"BBBB"}]}',
            {0: b"\x04\x10\x41"},
            [0, 1, 0],
        ),
        (b'{"data":[{"b64_json":"AAAA"}],"data":7}', {}, [0]),
    ],
)
def test_last_of_duplicate_keys_wins(body: bytes, images: dict[int, bytes], opened: list[int]) -> None:
    """Duplicate keys count as in json: the last value is the one that is there."""
    recorder = Recorder()
    stream = ImageStream(recorder)
    stream.feed(body)
    assert json.loads(stream.close()) == expected(body)[1]
    assert {index: recorder.sinks[index].getvalue() for index in stream.sizes} == images
    assert recorder.opened == opened


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":{"b64_json":"AAAA"}}',
        b'{"data":{"x":{"b64_json":"AAAA"}}}',
        b'{"b64_json":"AAAA","data":null}',
        b'{"data":["b64_json","AAAA"]}',
        b'{"data":[["b64_json"],"data"]}',
        b'{"data":[{"x":{"b64_json":"AAAA"}}]}',
        b'{"data":[[{"b64_json":"AAAA"}]]}',
        b'{"data":[{"a":"b64_json","c":"AAAA"}]}',
        b'{"data":[{"B64_json":"AAAA"}]}',
        b'{"Data":[{"b64_json":"AAAA"}]}',
        b'{"data":[{"b64_json":["AAAA"]}]}',
        b'{"data":[{"b64_json":null}]}',
        b'{"data":1,"other":[{"b64_json":"AAAA"}]}',
        b'{"data":[],"other":[{"b64_json":"AAAA"}]}',
        b'{"a":{"data":[{"b64_json":"AAAA"}]}}',
        b'{"a":"{\\"data\\":[{\\"b64_json\\":\\"AAAA\\"}]}"}',
        b'{"data":[{"b64_json":true,"u":"\xff\xfe"}],"n":NaN}',
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_decoy_stays_in_the_rest(body: bytes, size: int) -> None:
    """What only looks like an image stays in the rest, byte for byte, and opens no sink."""
    assert decode(pieces(body, size)) == ({}, body)


@pytest.mark.parametrize("size", [1, 1000])
def test_key_in_escapes_only(size: int) -> None:
    """A key is compared by its meaning, however long its spelling."""
    key = "".join(f"\\u{ord(char):04x}" for char in "b64_json").encode()
    assert decode(pieces(b'{"data":[{"%b":"AAAA"}]}' % key, size))[0] == {0: bytes(3)}


def test_byte_order_mark_is_skipped() -> None:
    """A byte order mark does not cost a paid image."""
    assert decode(pieces(b"\xef\xbb\xbf" + IMAGE % b"AAAA", 1))[0] == {0: bytes(3)}


def test_open_index_follows_the_images() -> None:
    """The stream says which image it is in, and records each when it is complete."""
    stream = ImageStream(Recorder())
    stream.feed(b'{"data":[null,{"b64_json":"AAAA')
    assert (stream.open_index, stream.sizes) == (1, {})
    stream.feed(b'"},')
    assert (stream.open_index, stream.sizes) == (None, {1: 3})


@pytest.mark.parametrize("size", [4093, 64 * 1024, 256 * 1024, 10_000_000])
def test_large_images_arrive_whole(size: int) -> None:
    """Images longer than a chunk and a slice are decoded exactly, wherever the chunks end, one after another."""
    pictures = [bytes(range(256)) * 4000 + b"%d" % index for index in range(3)]
    entries = b",".join(b'{"b64_json":"%b"}' % base64.b64encode(picture) for picture in pictures)
    body = b'{"data":[%b],"pad":"%b"}' % (entries, b"p" * 1000)
    images, rest = decode(pieces(body, size))
    assert images == dict(enumerate(pictures))
    assert len(rest) < 1100


def test_mistake_late_in_a_long_text_is_found() -> None:
    """A single wrong character far from any end is refused, and what followed it is not decoded."""
    text = bytearray(base64.b64encode(bytes(900_000)))
    text[700_001] = ord("*")
    recorder = Recorder()
    stream = ImageStream(recorder)
    feed_all(stream, pieces(IMAGE % bytes(text), 200_000))
    assert "alphabet" in stream.broken[0]
    assert len(recorder.sinks[0].getvalue()) < 700_001 * 3 // 4


def test_escapes_in_a_long_text() -> None:
    """Escaped slashes and line breaks all over a long text are read, whatever the chunks."""
    picture = binascii.unhexlify("fbefbefffffe00") * 40_000
    text = (
        base64.encodebytes(picture).replace(b"/", rb"\/").replace(b"\n", rb"\r\n").replace(b"+", rb"\u002b")
    )
    for size in (1021, 100_000):
        assert decode(pieces(IMAGE % text, size))[0] == {0: picture}


def test_memory_does_not_grow_with_the_image() -> None:
    """Decoding a long image holds a few slices, not the image."""

    class Nowhere:
        def write(self, data: bytes) -> None:
            pass

    chunk = base64.b64encode(bytes(192 * 1024))
    stream = ImageStream(lambda index: Nowhere())
    tracemalloc.start()
    try:
        stream.feed(b'{"data":[{"b64_json":"A')  # every chunk is out of step
        for _ in range(40):
            stream.feed(chunk)
        stream.feed(b'AAA"}]}')
        stream.close()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stream.sizes == {0: 40 * 192 * 1024 + 3}
    assert peak_bytes < 4 * len(chunk)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 10_000])
@pytest.mark.parametrize("key", [b"url", b"b64_json"])
def test_base64_in_a_url_may_be_percent_encoded(size: int, key: bytes) -> None:
    """RFC 3986 has `%2B`, `%2F` and `%3D` for what base64 needs; JSON may escape them once more."""
    data = b"\xfb\xef\xff\xfe" * 10
    text = quote(base64.b64encode(data), safe="").encode()
    for spelt in (text, text.replace(b"%2B", b"\\u00252\\u0042")):
        for slice_bytes in (4, 8, 2**18):
            body = b'{"data":[{"%b":"data:image/png;base64,%b"}]}' % (key, spelt)
            assert decode(pieces(body, size), slice_bytes=slice_bytes)[0] == {0: data}


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize(
    "text", [b"AAA%", b"AAA%4", b"AAA%zz", b"AAA%252B", b"AA%5Cu0041", b"%22AAA", b"%25"]
)
def test_an_escape_that_means_no_base64_is_refused(text: bytes, size: int) -> None:
    """Nothing is decoded twice, wherever the chunks end."""
    body = b'{"data":[{"url":"data:;base64,%b"},{"b64_json":"AAAA"}]}' % text
    assert decode(pieces(body, size))[0] == {0: None, 1: bytes(3)}
    assert decode(pieces(b'{"data":[{"b64_json":"AAA%2B"}]}', size))[0] == {0: None}
