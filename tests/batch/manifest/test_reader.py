"""Files of prompts."""

import contextlib
import csv
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.batch.manifest.formats import Lines
from nanogpt_images.batch.manifest.reader import count_rows, read_manifest, scan_manifest
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.errors import ManifestError


@pytest.fixture
def write(tmp_path: Path):
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def prompts(path: Path) -> list[tuple[int | None, str]]:
    return [(row.line, row.prompt) for row in read_manifest(path, model="m")]


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".JSONL"])
def test_jsonl_holds_a_row_per_line(write, suffix: str) -> None:
    """Each object is a row; blank lines are skipped and still counted."""
    path = write(f"m{suffix}", '{"prompt": "a", "seed": 3}\n\n{"prompt": "b", "model": "own", "count": 2}')
    rows = list(read_manifest(path, model="m"))
    assert rows == [BatchRow("a", "m", seed=3), BatchRow("b", "own", count=2)]
    assert [row.line for row in rows] == [1, 3]


def test_csv_records_may_span_lines(write) -> None:
    """A quoted prompt may hold separators, doubled quotes and newlines; its row is where it starts."""
    path = write("m.csv", 'prompt,seed\r\n"a, ""big""\r\nfox",1\r\n\r\nthe "PEACE" sign,2\r\n')
    rows = list(read_manifest(path, model="m"))
    assert [(row.line, row.prompt) for row in rows] == [(2, 'a, "big"\r\nfox'), (5, 'the "PEACE" sign')]
    assert [row.parameters for row in rows] == [{"seed": 1}, {"seed": 2}]


@pytest.mark.parametrize(
    ("cell", "prompt"),
    [
        ('"G I G G L E" painted on a wall', '"G I G G L E" painted on a wall'),
        ('the word "PEACE"', 'the word "PEACE"'),
        ('"one" and "two"', '"one" and "two"'),
        ('"a ""quoted"" cell"', 'a "quoted" cell'),
        ('""', None),
        ("it's", "it's"),
    ],
)
def test_a_quote_in_tsv_is_literal_unless_it_encloses_the_cell(write, cell: str, prompt: str | None) -> None:
    """Prompts with quote characters come out verbatim; a properly quoted cell is unquoted."""
    path = write("m.tsv", f"Prompt\tNote\n{cell}\tx\nlast\ty\n")
    found = [item.prompt if isinstance(item, BatchRow) else None for item in scan_manifest(path, model="m")]
    assert found == [prompt, "last"]


@pytest.mark.parametrize(
    "content",
    ['prompt\nfirst\n"a\nb\n', 'prompt\tnote\nfirst\tx\n"a\tx\nb"\ty\n', 'prompt\tnote\nfirst\t\n"a\tb"c\n'],
)
def test_a_tsv_cell_that_is_not_closed_is_refused(write, content: str) -> None:
    """A quote that nothing closes, or only another row's stray one, would make a wrong prompt, so it is an error."""
    with pytest.raises(ManifestError, match=r"^line 3 opens a quote"):
        prompts(write("m.tsv", content))


@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), min_size=1, max_size=4), st.booleans())
def test_tsv_is_read_as_the_csv_module_writes_it(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]], pandas: bool
) -> None:
    """Tabs, line ends and quotes within a cell come back, whatever ends the lines of the file."""
    cells = [
        tuple(text.encode("utf-8", "ignore").decode().replace("\0", "").replace("\r", "") for text in pair)
        for pair in cells
    ]
    cells = [pair for pair in cells if pair[0].strip()] or [("a", "b")]
    path = tmp_path_factory.getbasetemp() / "written.tsv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, "excel-tab", lineterminator="\n" if pandas else "\r\n")
        table.writerows([("prompt", "note"), *cells])
    # Where every line of a quoted cell looks like a row of its own, the file is refused rather than guessed at.
    ambiguous = any("\t" in text and len(text.splitlines()) > 1 for pair in cells for text in pair)
    try:
        rows = list(read_manifest(path, model="m", templates=False))
    except ManifestError:
        assert ambiguous
    else:
        expected = [(prompt, note if note.strip() else None) for prompt, note in cells]
        assert [(row.prompt, row.metadata.get("note")) for row in rows] == expected


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\t\r\n\0", codec="utf-8"), min_size=1).filter(str.strip),
        min_size=1,
    )
)
def test_tsv_prompts_come_out_verbatim(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    """Any text written the way spreadsheets do, quoted where it holds a quote, is read as it was."""
    cells = ['"' + text.replace('"', '""') + '"' if '"' in text else text for text in texts]
    path = tmp_path_factory.mktemp("tsv") / "m.tsv"
    path.write_bytes("\n".join(["prompt\tnote", *(f"{cell}\tx" for cell in cells)]).encode())
    assert [row.prompt for row in read_manifest(path, model="m", templates=False)] == texts


def test_txt_holds_a_prompt_per_line(write) -> None:
    """Blank lines are skipped, and the space around a prompt is dropped."""
    path = write("m.txt", "a red fox\r\n\r\n  \n  a blue fox \n")
    assert prompts(path) == [(1, "a red fox"), (4, "a blue fox")]


@pytest.mark.parametrize(
    ("name", "content"),
    [("m.jsonl", '{"prompt": "a"}'), ("m.csv", "prompt\na"), ("m.tsv", "prompt\na"), ("m.txt", "a")],
)
def test_a_byte_order_mark_is_ignored(write, name: str, content: str) -> None:
    """Editors that put a mark before the text do no harm."""
    assert [prompt for _, prompt in prompts(write(name, b"\xef\xbb\xbf" + content.encode()))] == ["a"]


def test_columns_match_in_any_case(write) -> None:
    """Fields and known parameters are found whatever their case and the space around them."""
    path = write("m.csv", "KEY, Prompt ,MODEL,Count,Resolution,ImageDataURL\nfox,a,own,3,1024x1024,data:x\n")
    (row,) = read_manifest(path, model="m")
    assert row == BatchRow("a", "own", count=3, key="fox", resolution="1024x1024", imageDataUrl="data:x")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.tsv", "Prompt\tCategory\tNote\na\tAnimals\tnice\n"),
        ("m.csv", "Prompt,Category,Note\na,Animals,nice\n"),
        ("m.csv", "\ufeffsep=;\nPrompt;Category;Note\na;Animals;nice\n"),
        ("m.csv", "Prompt|Category|Note\ra|Animals|nice\r"),
        ("m.jsonl", '{"Prompt": "a", "Category": "Animals", "Note": "nice"}'),
        ("m.jsonl", '{"prompt": "a", "metadata": {"Category": "Animals"}, "Note": "nice"}'),
        ("m.json", '\n[ {"prompt": "a", "Category": "Animals", "Note": "nice"} ]\n'),
        ("m.csv", "Prompt;Category;Note\na;Animals;nice\n".encode("utf-16")),
    ],
)
def test_columns_that_are_no_parameter_are_metadata(write, name: str, content: str | bytes) -> None:
    """Category and Note stay with the row, in every format, and are not sent."""
    (row,) = read_manifest(write(name, content), model="m")
    assert (row.prompt, row.parameters, row.number) == ("a", {}, 1)
    assert row.metadata == {"Category": "Animals", "Note": "nice"}


def test_further_parameters_can_be_named(write) -> None:
    """A column named in `known_parameters` is sent."""
    (row,) = read_manifest(write("m.csv", "prompt,STYLE\na,oil\n"), model="m", known_parameters={"style"})
    assert row.parameters == {"style": "oil"}


@pytest.mark.parametrize(
    ("column", "cell", "value"),
    [
        ("seed", "42", 42),
        ("strength", " 0.5", 0.5),
        ("guidance_scale", "7", 7),
        ("kontext_max_mode", "TRUE", True),
        ("input_references", "fox.png", ["fox.png"]),
        ("input_references", '"[""a.png"",""b.png""]"', ["a.png", "b.png"]),
        ("resolution", "1", "1"),
        ("quality", "", None),
    ],
)
def test_cells_become_values(write, column: str, cell: str, value: object) -> None:
    """Numbers, switches and lists are converted; tokens stay text; a blank cell is not sent."""
    (row,) = read_manifest(write("m.csv", f"prompt,{column}\na,{cell}\n"), model="m")
    assert row.parameters.get(column) == value


def test_a_parameters_column_holds_json(write) -> None:
    """Any parameter can be given in a table as JSON."""
    (row,) = read_manifest(write("m.csv", 'prompt,parameters\na,"{""style"": ""oil""}"\n'), model="m")
    assert row.parameters == {"style": "oil"}


def test_a_row_of_blank_cells_is_skipped(write) -> None:
    """Spreadsheets leave rows of separators at the end."""
    assert prompts(write("m.csv", "prompt,seed\na,1\n,\n , \n")) == [(2, "a")]


def test_missing_cells_at_the_end_are_blank(write) -> None:
    """A record may be shorter than the header."""
    assert prompts(write("m.csv", "prompt,seed,quality\na\n")) == [(2, "a")]


@pytest.mark.parametrize(
    ("name", "content", "line", "text"),
    [
        ("m.jsonl", '{"prompt": "a"}\n{"model": "m"}\n', 2, "no prompt"),
        ("m.jsonl", '{"prompt": "a"}\n{"prompt": \n', 2, "not JSON"),
        ("m.jsonl", '{"prompt": "a", "seed": NaN}\n', 1, "NaN"),
        ("m.jsonl", "[" * 100_000, 1, "not JSON"),
        ("m.jsonl", '\n"a red fox"\n', 2, "not an object"),
        ("m.jsonl", b'{"prompt": "a"}\n{"prompt": "\xff"}\n', 2, "not UTF-8"),
        ("m.csv", "prompt,seed\na,1\n,2\n", 3, "no prompt"),
        ("m.csv", "prompt,seed\na,often\n", 2, "seed must be a number"),
        ("m.csv", "prompt,count\na,many\n", 2, "count must be a whole number"),
        ("m.csv", "prompt,parameters\na,[1]\n", 2, "parameters must be a JSON object"),
        ("m.csv", "prompt,seed\na,b,1\n", 2, "3 cells for 2 columns"),
        ("m.csv", 'prompt\nb\n"never\nclosed\n', 3, "quote"),
        ("m.csv", 'prompt\n"G I G" painted\n', 2, "quote"),
        ("m.csv", "text,seed\na,1\n", 1, "no prompt column; the columns are 'text', 'seed'"),
        ("m.csv", "prompt" + ",x" * 1_000 + "\na\n", 1, "1,001 columns; 1,000 are the most"),
        ("m.csv", "prompt,resoluton\na,1\n", 1, "did you mean 'resolution'"),
        ("m.csv", "prompt,Prompt\na,b\n", 1, "two columns 'prompt'"),
        ("m.csv", "\n\ntext\n", 3, "no prompt column"),
        ("m.tsv", b"prompt\n\xff\n", 2, "not UTF-8"),
        ("m.txt", "a\n".encode("utf-16-le"), 1, "NUL"),
        ("m.txt", b"\xff\xfea", 1, "not UTF-16"),
        ("m.csv", "prompt\na\0b\n", 2, "NUL"),
        ("m.jsonl", '{"prompt": "a\\u0000b"}', 1, "prompt holds a NUL"),
        ("m.jsonl", '{"prompt": "a", "resoluton": "1"}', 1, "did you mean 'resolution'"),
        ("m.json", '["a"', 1, "not whole"),
        ("m.json", '["a"] x', 1, "more text"),
        ("m.json", '{"prompt": "a"}', 1, "JSON array"),
        ("m.json", '["a",\n7]', 2, "neither an object nor a prompt"),
        ("m.json", '["a", {"prompt": NaN}]', 1, "NaN"),
        ("m.json", '["' + "a" * 3_000_000, 1, "longer than"),
        ("m.jsonl", '{"prompt": "a {colour} fox", "x": 1}', 1, "names a column 'colour'"),
        ("m.jsonl", '{"prompt": "a __colour__ fox"}', 1, "there is no file"),
        ("m.jsonl", '{"prompt": "a __../colour__ fox"}', 1, "outside the directory"),
        ("m.jsonl", '{"prompt": "a", "sweep": {}}', 1, "sweep is empty"),
        ("m.jsonl", '{"prompt": "a", "sweep": {"seed": []}}', 1, "no values for 'seed'"),
        ("m.jsonl", '{"prompt": "a", "sweep": {"seed": "1..1000000000"}}', 1, "1,000,000,000 combinations"),
        ("m.jsonl", '{"prompt": "a", "seed": 1, "sweep": {"seed": [1]}}', 1, "its sweep too"),
        ("m.txt", "a\n" + "x" * 2_000_000, 2, "longer than 1,048,576 bytes"),
        ("m.csv", "prompt\n" + '"a\n' + "b\n" * 1_000_000, 2, ""),
    ],
)
def test_a_fault_is_named_by_its_line(write, name: str, content: str | bytes, line: int, text: str) -> None:
    """A manifest that cannot be used is refused with the line and the reason."""
    with pytest.raises(ManifestError) as caught:
        prompts(write(name, content))
    assert text in str(caught.value)
    assert caught.value.line == line
    assert str(caught.value).endswith("Nothing was sent.")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.jsonl", ""),
        ("m.jsonl", "\n\n"),
        ("m.csv", ""),
        ("m.csv", "prompt,seed\n"),
        ("m.tsv", "prompt\n"),
        ("m.txt", b"\xef\xbb\xbf"),
    ],
)
def test_a_manifest_without_rows_is_refused(write, name: str, content: str | bytes) -> None:
    """Nothing to do is most likely a mistake, so it is an error."""
    with pytest.raises(ManifestError, match="holds no rows"):
        prompts(write(name, content))


def test_the_file_is_checked_at_once(tmp_path: Path) -> None:
    """A missing file, a folder without images and an unknown suffix are reported before the first row is asked for."""
    (tmp_path / "dir.csv").mkdir()
    for name, text in [
        ("none.csv", "there is no file"),
        ("dir.csv", "has neither images nor .parquet files"),
        ("m.xlsx", ".jsonl, .json, .csv, .tsv, .txt"),
        ("m.parquet.gz", "cannot read .* as a manifest"),
        ("m", "suffix ''"),
        ("m" * 300 + ".csv", "cannot be read: File name too long"),
        ("\0.csv", "there is no file"),
    ]:
        with pytest.raises(ManifestError, match=text):
            read_manifest(tmp_path / name)


def test_a_file_that_vanishes_is_a_manifest_error(write) -> None:
    """What the operating system refuses while reading is a ManifestError with its reason."""
    path = write("m.txt", "a\n")
    rows = read_manifest(path, model="m")
    path.unlink()
    with pytest.raises(ManifestError, match="cannot be read: No such file"):
        next(rows)


def test_a_wrong_row_closes_the_file(write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is closed when the error is raised, not when its traceback is gone."""
    closed: list[Lines] = []
    leave = Lines.__exit__
    monkeypatch.setattr(
        Lines, "__exit__", lambda lines, *error: (closed.append(lines), leave(lines, *error))[1]
    )
    with pytest.raises(ManifestError) as caught:
        prompts(write("m.jsonl", "[]\n"))
    assert caught.value.line == 1
    assert len(closed) == 1


def test_scanning_goes_on_after_a_wrong_row(write) -> None:
    """`scan_manifest` yields the error of a wrong row in its place, and then the rows after it."""
    path = write("m.jsonl", '{"prompt": "a"}\n{}\nnot json\n{"prompt": "b"}\n')
    items = [
        item.prompt if isinstance(item, BatchRow) else item.line for item in scan_manifest(path, model="m")
    ]
    assert items == ["a", 2, 3, "b"]


TOKENS = st.sampled_from(
    [
        *(
            "prompt",
            "count",
            "key",
            "seed",
            "parameters",
            "n",
            "model",
            "fox",
            "-1",
            "1e999",
            "null",
            "[[",
            "é",
        ),
        *'\n\r\t,;:"{}[]\\ \0\ufeff\u2028',
        *('"prompt":', '{"prompt":"a",', '"seed":', "true}", "\ud800"),
    ]
)
FILES = (st.lists(TOKENS, max_size=30).map("".join) | st.text(max_size=60)).map(
    lambda text: text.encode("utf-8", "surrogatepass")
) | st.binary(max_size=60)


@given(FILES, st.sampled_from([".jsonl", ".csv", ".tsv", ".txt"]), st.booleans())
def test_any_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str, with_header: bool
) -> None:
    """Any bytes give rows in the order of their lines, each storable as JSON, and errors of the tree alone."""
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(b"prompt\tseed\n" * (with_header and suffix == ".tsv") + content)
    lines: list[int] = []
    counted = count_rows(path)
    with contextlib.suppress(ManifestError):
        for item in scan_manifest(path, model="m"):
            lines.append(item.line or 0)
            if isinstance(item, BatchRow):
                assert BatchRow.from_json(item.to_json()) == item
                assert item.prompt.strip()
        assert len(lines) == counted
    assert lines == sorted(set(lines))
    assert all(0 < line <= content.count(b"\n") + content.count(b"\r") + 2 for line in lines)


ROWS = st.builds(
    BatchRow,
    st.text(st.characters(codec="utf-8", exclude_characters="\0{}_"), min_size=1, max_size=30).filter(
        str.strip
    ),
    st.just("m"),
    count=st.integers(1, 9),
    # Space around a cell is no part of it, but for the prompt.
    key=st.none()
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9).map(str.strip).filter(len),
    seed=st.none() | st.integers(-9, 9),
)


@given(st.lists(ROWS, min_size=1, max_size=4), st.sampled_from([".jsonl", ".csv"]))
def test_rows_that_are_written_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[BatchRow], suffix: str
) -> None:
    """What the standard library's json and csv write of rows comes back as these rows."""
    path = tmp_path_factory.getbasetemp() / f"written{suffix}"
    with path.open("w", encoding="utf-8", newline="") as file:
        if suffix == ".jsonl":
            file.writelines(f"{row.to_json()}\n" for row in rows)
        else:
            table = csv.writer(file)
            table.writerow(["prompt", "count", "key", "seed"])
            table.writerows([row.prompt, row.count, row.key, row.parameters.get("seed")] for row in rows)
    assert list(read_manifest(path, model="m")) == rows


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv", "m.tsv", "m.txt"])
def test_memory_does_not_grow_with_the_file(write, name: str) -> None:
    """Reading 20,000 rows takes no more memory than a few of them do."""
    row = (
        '{"prompt": "a long prompt about a red fox number %d"}'
        if name == "m.jsonl"
        else "a long prompt about a red fox number %d"
    )
    head = "prompt\n" if name in ("m.csv", "m.tsv") else ""
    path = write(name, head + "\n".join(row % i for i in range(20_000)))
    rows = read_manifest(path, model="m")
    next(rows)
    tracemalloc.start()
    try:
        count = sum(1 for _ in rows)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 19_999
    assert peak < 300_000


def test_a_table_of_images_needs_no_prompt(tmp_path: Path) -> None:
    """Where a column holds input images, the prompt's may be missing or blank; elsewhere it may not."""
    for name, text in {
        "a.csv": "input_references\nhttps://e.org/a.png\n",
        "b.csv": "prompt,input_references\n,https://e.org/a.png\n",
        "c.jsonl": '{"input_references": ["https://e.org/a.png"]}\n',
    }.items():
        (tmp_path / name).write_text(text)
        (row,) = read_manifest(tmp_path / name, model="Upscaler")
        assert (row.prompt, row.parameters) == ("", {"input_references": ["https://e.org/a.png"]})
    (tmp_path / "d.csv").write_text("prompt,input_references\n,https://e.org/a.png\n,\nfox,\n")
    rows = list(scan_manifest(tmp_path / "d.csv", model="m"))
    assert ["fox" if isinstance(row, BatchRow) and row.prompt else "" for row in rows][-1] == "fox"
    (tmp_path / "e.csv").write_text("seed\n1\n")
    with pytest.raises(ManifestError, match="no prompt column"):
        list(read_manifest(tmp_path / "e.csv", model="m"))
