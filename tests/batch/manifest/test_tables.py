"""Files of Parquet and Arrow, packed files, and data frames."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nanogpt_images import read_manifest
from nanogpt_images.batch.manifest.reader import ManifestRows, rows_from
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.errors import ManifestError

FRAME = pd.DataFrame(
    {
        "Prompt": ["a red fox", 'an owl;\nat "dusk"\tor so', "a hare"],
        "seed": [1.0, np.nan, 3.0],
        "Category": ["Animals", None, "Food"],
        "resolution": ["1k", "2k", None],
    }
)
EXPECTED = [
    BatchRow("a red fox", "m", seed=1, resolution="1k", metadata={"Category": "Animals"}),
    BatchRow('an owl;\nat "dusk"\tor so', "m", resolution="2k"),
    BatchRow("a hare", "m", seed=3, metadata={"Category": "Food"}),
]


def write(path: Path) -> None:
    name = path.name
    table = pa.Table.from_pandas(FRAME)
    images = table.append_column("image", pa.array([{"bytes": b"\x89PNG", "path": "x"}] * 3))
    match name:
        case "shards":
            (path / "data").mkdir(parents=True)
            for part in range(3):
                pq.write_table(images.slice(part, 1), path / "data" / f"train-0000{part}-of-00003.parquet")
        case "m.parquet":
            pq.write_table(images, path, row_group_size=2)
        case "m.arrow":
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, images.schema) as stream:
                stream.write_table(images, max_chunksize=2)
        case "m.feather":
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, images.schema) as stream:
                stream.write_table(images, max_chunksize=2)
        case "m.jsonl" | "m.jsonl.gz" | "m.jsonl.zst":
            FRAME.to_json(path, orient="records", lines=True, compression=None)
        case "m.json":
            FRAME.to_json(path, orient="records")
        case "m.tsv":
            FRAME.to_csv(path, sep="\t", index=False)
        case "spreadsheet.csv":
            FRAME.to_csv(path, sep=";", index=False, encoding="utf-16", lineterminator="\r\n")
        case _:
            FRAME.to_csv(path, compression=None)
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    if name.endswith(".zst"):
        data = path.read_bytes()
        with pa.CompressedOutputStream(str(path), "zstd") as packed:
            packed.write(data)


@pytest.mark.parametrize(
    "name",
    [
        *("shards", "m.parquet", "m.arrow", "m.feather", "m.jsonl", "m.jsonl.gz", "m.jsonl.zst", "m.json"),
        *("m.tsv", "spreadsheet.csv", "m.csv", "m.csv.gz", "m.csv.zst"),
    ],
)
def test_what_pandas_and_spreadsheets_write_is_read(tmp_path: Path, name: str) -> None:
    """The same rows come of every format: numbers are whole, missing cells are left out, bytes are not read."""
    path = tmp_path / name
    write(path)
    rows = ManifestRows(path)
    assert rows.count() == 3
    found = list(read_manifest(path, model="m"))
    assert found == EXPECTED
    assert [row.number for row in found] == [1, 2, 3]


@pytest.mark.parametrize("kind", ["pandas", "arrow", "batches", "reader"])
def test_data_frames_are_rows(kind: str) -> None:
    """A frame of pandas and a table of Arrow are read by what they can do."""
    table = pa.Table.from_pandas(FRAME)
    given = {
        "pandas": FRAME,
        "arrow": table,
        "batches": table.to_batches()[0],
        "reader": pa.RecordBatchReader.from_batches(table.schema, table.to_batches()),
    }[kind]
    assert [BatchRow.of(row, model="m") for row in rows_from(given)] == EXPECTED


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("m.parquet", b"PAR1", "cannot be read as a table"),
        ("m.arrow", b"ARROW1", "cannot be read as a table"),
        ("m.jsonl.gz", gzip.compress(b'{"prompt": "a"}\n' * 99, mtime=0)[:-9], "is not whole"),
        ("m.jsonl.gz", b'{"prompt": "a"}', "is not whole"),
        ("m.txt.zst", b"\x28\xb5\x2f\xfd\x04\x58\x11\x00\x00a", "cannot be read"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    """Where a file is cut or no such file at all, not even its number of rows is told."""
    (tmp_path / name).write_bytes(content)
    rows = ManifestRows(tmp_path / name)
    with pytest.raises(ManifestError, match=text):
        list(rows.scan())
    with pytest.raises(ManifestError, match=text):
        rows.count()


def test_a_table_without_prompts_is_refused(tmp_path: Path) -> None:
    """The error names the columns, and a column can be named as the prompt's or the key's."""
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"text": ["a"], "id": [7.0], "mode": ["x"], "oil": ["y"]}), path)
    with pytest.raises(ManifestError, match="no prompt column; the columns are 'text', 'id', 'mode', 'oil'"):
        list(read_manifest(path, model="m", columns={"mode": "metadata"}))
    named = {"prompt_column": "Text", "key_column": "id", "columns": {"oil": "style"}}
    with pytest.raises(ManifestError, match="did you mean 'model'"):
        list(read_manifest(path, model="m", **named))
    named["columns"] = {"oil": "style", "mode": "metadata"}
    (row,) = read_manifest(path, model="m", **named)
    assert row == BatchRow("a", "m", key="7", style="y", metadata={"mode": "x"})
    with pytest.raises(ManifestError, match="two columns are to be 'prompt'"):
        read_manifest(path, prompt_column="a", columns={"b": "prompt"})
    with pytest.raises(ManifestError, match="there is no column 'none'"):
        list(read_manifest(path, prompt_column="none"))
