from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specter_batch.errors import PaperSchemaError
from specter_batch.papers.columns import DETECTED_NAMES, PAPER_SCHEMA, PaperColumns
from specter_batch.papers.parquet import PaperBatch, canonical_papers, open_parquet, read_papers
from specter_batch.papers.text import is_missing, missing_values

COLUMNS = {"paper_id": "paper_id", "title": "title", "abstract": "abstract"}
TEXT_TYPES = (
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.large_binary(),
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.int32(), pa.large_string()),
    pa.dictionary(pa.int32(), pa.binary()),
)
# Bytes that are no UTF-8: a stray byte, a cut sequence, an encoded surrogate.
NOT_UTF8 = (b"caf\xe9", b"caf\xc3", b"\xed\xa0\x80")

optional_texts = st.lists(st.none() | st.text(max_size=20), min_size=1, max_size=8)


def text_array(values: list[str | None], kind: pa.DataType) -> pa.Array:
    return pa.array(values, kind) if pa.types.is_string_view(kind) else pa.array(values, pa.string()).cast(kind)


def papers_table(n: int = 3, **columns: Any) -> pa.Table:
    plain = {
        "paper_id": [f"p{i}" for i in range(n)],
        "title": [f"title {i}" for i in range(n)],
        "abstract": [f"abstract {i}" for i in range(n)],
    }
    return pa.table(plain | columns)


def as_papers(table: pa.Table, columns: dict[str, str] | None = None) -> PaperBatch:
    return canonical_papers(table.combine_chunks().to_batches()[0], columns or COLUMNS)


def resolved(*names: str, wanted: PaperColumns | None = None) -> dict[str, str]:
    schema = pa.schema([(name, pa.string()) for name in names])
    return (wanted or PaperColumns()).resolve(schema, where="here")


# Columns


@pytest.mark.parametrize("names", [pytest.param(names, id=name) for name, names in DETECTED_NAMES.items()])
def test_every_known_name_of_a_column_is_detected(names: tuple[str, ...]) -> None:
    canonical = next(key for key, value in DETECTED_NAMES.items() if value == names)
    others = [name for name in ("paper_id", "title", "abstract") if name != canonical]
    for name in names:
        assert resolved(*others, name)[canonical] == name


@pytest.mark.parametrize(
    ("canonical", "present", "expected"),
    [
        ("paper_id", ("corpusid", "id", "pid", "paper_id"), "paper_id"),
        ("paper_id", ("corpusid", "id", "pid"), "pid"),
        ("paper_id", ("corpusid", "id"), "id"),
        ("label", ("paper_id", "labels", "class_label", "label"), "label"),
        ("label", ("paper_id", "labels", "class_label"), "class_label"),
    ],
)
def test_the_first_known_name_wins_whatever_the_order_in_the_file(
    canonical: str, present: tuple[str, ...], expected: str
) -> None:
    assert resolved("title", "abstract", *present)[canonical] == expected


def test_a_named_column_wins_over_a_detected_one() -> None:
    found = resolved("paper_id", "doi", "title", "abstract", wanted=PaperColumns(paper_id="doi"))
    assert found["paper_id"] == "doi"


def test_a_missing_label_column_is_left_out() -> None:
    assert resolved("paper_id", "title", "abstract") == COLUMNS


def test_a_label_column_that_was_named_must_exist() -> None:
    with pytest.raises(PaperSchemaError, match=r"no column for label: expected topic, .*--label-column"):
        resolved("paper_id", "title", "abstract", "label", wanted=PaperColumns(label="topic"))


def test_a_named_column_that_is_missing_does_not_fall_back_to_a_detected_one() -> None:
    with pytest.raises(PaperSchemaError, match="expected headline, got paper_id, title, abstract"):
        resolved("paper_id", "title", "abstract", wanted=PaperColumns(title="headline"))


def test_a_missing_id_column_names_file_candidates_columns_and_remedy() -> None:
    with pytest.raises(PaperSchemaError) as caught:
        resolved("title", "abstract")
    assert str(caught.value) == (
        "here: no column for paper_id: expected paper_id or pid or id or corpusid, got title, abstract; "
        "name it with --paper-id-column"
    )


def test_a_file_without_columns_is_refused() -> None:
    with pytest.raises(PaperSchemaError, match="got no columns"):
        resolved()


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
@pytest.mark.parametrize("column", ["paper_id", "title", "abstract", "label"])
def test_every_kind_of_text_is_accepted_in_every_column(kind: pa.DataType, column: str) -> None:
    schema = pa.schema([(name, kind if name == column else pa.string()) for name in PAPER_SCHEMA.names])
    assert PaperColumns().resolve(schema, where="here")[column] == column


@pytest.mark.parametrize("column", ["paper_id", "label"])
@pytest.mark.parametrize(
    "kind", [pa.int64(), pa.uint8(), pa.dictionary(pa.int8(), pa.int32()), pa.decimal128(38, 0)], ids=str
)
def test_whole_numbers_are_accepted_as_ids_and_labels(column: str, kind: pa.DataType) -> None:
    schema = pa.schema([(name, kind if name == column else pa.string()) for name in PAPER_SCHEMA.names])
    assert PaperColumns().resolve(schema, where="here")[column] == column


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        ("paper_id", pa.float64(), "text or whole numbers, got double; write it as text or, from pandas, as Int64"),
        ("paper_id", pa.decimal128(20, 2), r"text or whole numbers, got decimal128\(20, 2\)"),
        ("title", pa.decimal128(20, 0), r"text, got decimal128\(20, 0\)"),
        ("label", pa.list_(pa.string()), "text or whole numbers, got list"),
        ("label", pa.bool_(), "text or whole numbers, got bool"),
        ("title", pa.int64(), "text, got int64"),
        ("abstract", pa.struct([("text", pa.string())]), "text, got struct"),
        ("abstract", pa.list_(pa.string()), "text, got list"),
        ("title", pa.dictionary(pa.int8(), pa.int64()), "text, got dictionary"),
    ],
)
def test_a_column_that_cannot_be_read_as_text_is_refused(column: str, kind: pa.DataType, expected: str) -> None:
    schema = pa.schema([(name, kind if name == column else pa.string()) for name in PAPER_SCHEMA.names])
    with pytest.raises(PaperSchemaError, match=f"here: column {column} should hold {expected}"):
        PaperColumns().resolve(schema, where="here")


# The canonical schema


def present(text: str | None) -> str | None:
    """Return a text, or None for words and invisible characters that stand for nothing."""
    return None if text is not None and text.strip() and is_missing(text) else text


@settings(deadline=None)
@given(titles=optional_texts, kind=st.sampled_from(TEXT_TYPES))
def test_text_of_any_column_type_comes_out_unchanged(titles: list[str | None], kind: pa.DataType) -> None:
    batch = as_papers(papers_table(len(titles), title=text_array(titles, kind)))
    assert batch.table.schema == PAPER_SCHEMA
    assert batch.table["title"].to_pylist() == [present(title) for title in titles]
    assert not batch.invalid_unicode.any()


@settings(deadline=None)
@given(values=st.lists(st.none() | st.binary(max_size=6) | st.sampled_from(NOT_UTF8), min_size=1, max_size=8))
def test_bytes_are_flagged_exactly_when_they_are_not_utf8(values: list[bytes | None]) -> None:
    def broken(value: bytes | None) -> bool:
        try:
            return (value or b"").decode() is None
        except UnicodeDecodeError:
            return True

    batch = as_papers(papers_table(len(values), abstract=pa.array(values, pa.binary())))
    assert batch.invalid_unicode.tolist() == [broken(value) for value in values]
    assert batch.table["abstract"].to_pylist() == [
        None if value is None else present(value.decode(errors="replace")) for value in values
    ]


@pytest.mark.parametrize("column", ["paper_id", "title", "abstract"])
def test_invalid_bytes_in_any_column_of_the_text_flag_the_row(column: str) -> None:
    batch = as_papers(papers_table(**{column: pa.array([b"a", NOT_UTF8[0], b"c"])}))
    assert batch.invalid_unicode.tolist() == [False, True, False]


def test_invalid_bytes_in_a_label_do_not_flag_the_paper() -> None:
    table = papers_table(label=pa.array([b"a", NOT_UTF8[0], b"c"]))
    batch = as_papers(table, {**COLUMNS, "label": "label"})
    assert not batch.invalid_unicode.any()
    assert batch.table["label"].to_pylist() == ["a", "caf\ufffd", "c"]


def test_a_replacement_character_that_was_written_as_such_is_not_flagged() -> None:
    batch = as_papers(papers_table(title=pa.array(["\ufffd".encode(), NOT_UTF8[0], b"c"])))
    assert batch.invalid_unicode.tolist() == [False, True, False]


def test_a_string_column_that_lies_about_being_utf8_is_flagged() -> None:
    lying = pa.array([b"a", NOT_UTF8[0], b"c"]).view(pa.string())
    assert as_papers(papers_table(title=lying)).invalid_unicode.tolist() == [False, True, False]


def test_a_sliced_batch_keeps_flags_on_its_own_rows() -> None:
    table = papers_table(4, title=pa.array([NOT_UTF8[0], b"b", NOT_UTF8[1], b"d"]))
    batch = canonical_papers(table.to_batches()[0].slice(1, 2), COLUMNS)
    assert batch.table["paper_id"].to_pylist() == ["p1", "p2"]
    assert batch.invalid_unicode.tolist() == [False, True]


@pytest.mark.parametrize(
    ("values", "kind"),
    [([0, None, -3], pa.int64()), ([0, None, 2**64 - 1], pa.uint64()), ([1, None, 1], pa.int8())],
)
def test_integer_ids_become_their_digits(values: list[int | None], kind: pa.DataType) -> None:
    batch = as_papers(papers_table(paper_id=pa.array(values, kind)))
    assert batch.table["paper_id"].to_pylist() == [None if value is None else str(value) for value in values]


def test_decimals_without_a_fraction_become_their_digits() -> None:
    ids = pa.array([Decimal(7), None, Decimal(10**30)], pa.decimal128(38, 0))
    assert as_papers(papers_table(paper_id=ids)).table["paper_id"].to_pylist() == ["7", None, str(10**30)]


def test_integer_labels_in_a_dictionary_become_their_digits() -> None:
    labels = pa.array([10, None, 10]).dictionary_encode()
    batch = as_papers(papers_table(label=labels), {**COLUMNS, "label": "label"})
    assert batch.table["label"].to_pylist() == ["10", None, "10"]


def test_a_column_typed_null_reads_as_nulls() -> None:
    batch = as_papers(papers_table(abstract=pa.nulls(3)))
    assert batch.table["abstract"].to_pylist() == [None, None, None]
    assert batch.table.schema == PAPER_SCHEMA


def test_an_input_without_labels_has_a_label_column_of_nulls() -> None:
    batch = as_papers(papers_table())
    assert batch.table["label"].to_pylist() == [None, None, None]
    assert len(batch) == 3


# Opening files


def test_an_empty_file_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    file.touch()
    with pytest.raises(PaperSchemaError, match=r"a\.parquet: the file is empty"):
        open_parquet(file)


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    file.write_text("paper_id,title,abstract\n1,a,b\n")
    with pytest.raises(
        PaperSchemaError, match=r"a\.parquet: not a readable parquet file \(.*it looks like CSV; convert it"
    ):
        open_parquet(file)


@pytest.mark.parametrize(("name", "format_"), [("a.csv", "csv"), ("a.tsv.gz", "csv"), ("a.JSONL", "jsonl")])
def test_a_file_that_ingest_can_convert_is_refused_with_the_command(tmp_path: Path, name: str, format_: str) -> None:
    file = tmp_path / name
    file.write_text("paper_id,title,abstract\n1,a,b\n")
    with pytest.raises(PaperSchemaError, match=f"convert it with `specter-batch ingest {format_} INPUT OUT`"):
        open_parquet(file)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: float) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(papers_table(50), file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(PaperSchemaError, match="not a readable parquet file"):
        open_parquet(file)


def test_a_file_that_vanished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PaperSchemaError, match="the file is gone"):
        open_parquet(tmp_path / "a.parquet")


def test_the_reason_of_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(papers_table(), file)
    whole = file.read_bytes()
    file.write_bytes(whole[:-40] + b"\xff" * 32 + whole[-8:])  # the footer's end, its length and magic kept
    with pytest.raises(PaperSchemaError) as caught:
        open_parquet(file)
    assert "\n" not in str(caught.value)


# Reading


def stream(file: Path, **options: Any) -> list[PaperBatch]:
    opened = open_parquet(file)
    columns = PaperColumns().resolve(opened.schema_arrow, where=str(file))
    return list(read_papers(opened, columns, **{"where": "papers.parquet", "batch_rows": 64, **options}))


def ids_of(batches: list[PaperBatch]) -> list[list[str]]:
    return [batch.table["paper_id"].to_pylist() for batch in batches]


def test_row_groups_are_streamed_in_order_and_cut_at_the_batch_size(tmp_path: Path) -> None:
    pq.write_table(papers_table(7), tmp_path / "a.parquet", row_group_size=3)
    batches = stream(tmp_path / "a.parquet", batch_rows=2)
    assert ids_of(batches) == [["p0", "p1"], ["p2"], ["p3", "p4"], ["p5"], ["p6"]]


def test_only_the_row_groups_asked_for_are_read(tmp_path: Path) -> None:
    pq.write_table(papers_table(7), tmp_path / "a.parquet", row_group_size=3)
    assert ids_of(stream(tmp_path / "a.parquet", row_groups=[2, 0])) == [["p6"], ["p0", "p1", "p2"]]
    assert stream(tmp_path / "a.parquet", row_groups=[]) == []


def test_a_file_of_zero_rows_gives_no_batch(tmp_path: Path) -> None:
    pq.write_table(papers_table(0).cast(PAPER_SCHEMA.remove(3)), tmp_path / "a.parquet")
    assert stream(tmp_path / "a.parquet") == []


def test_an_empty_row_group_among_others_is_passed_over(tmp_path: Path) -> None:
    with pq.ParquetWriter(tmp_path / "a.parquet", papers_table().schema) as writer:
        for n in (2, 0, 1):
            writer.write_table(papers_table(n).cast(papers_table().schema))
    assert open_parquet(tmp_path / "a.parquet").num_row_groups == 3
    assert ids_of(stream(tmp_path / "a.parquet")) == [["p0", "p1"], ["p0"]]


def test_other_columns_do_not_reach_the_batch(tmp_path: Path) -> None:
    table = papers_table(venue=[["x"], [], ["y", "z"]], meta=[{"title": "inner"}] * 3, **{"title.old": ["o"] * 3})
    pq.write_table(table, tmp_path / "a.parquet")
    (batch,) = stream(tmp_path / "a.parquet")
    assert batch.table.column_names == PAPER_SCHEMA.names
    assert batch.table["title"].to_pylist() == ["title 0", "title 1", "title 2"]


def test_one_column_can_serve_as_title_and_abstract(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1], "text": ["both"]}), tmp_path / "a.parquet")
    file = open_parquet(tmp_path / "a.parquet")
    columns = PaperColumns(title="text", abstract="text").resolve(file.schema_arrow, where="here")
    (batch,) = read_papers(file, columns, where="papers.parquet", batch_rows=8)
    assert batch.table.to_pylist() == [{"paper_id": "1", "title": "both", "abstract": "both", "label": None}]


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_every_kind_of_text_survives_the_way_through_a_file(tmp_path: Path, kind: pa.DataType) -> None:
    titles = ["Étude", None, "𝛽-model"]
    pq.write_table(papers_table(title=text_array(titles, kind)), tmp_path / "a.parquet", row_group_size=2)
    found = [title for batch in stream(tmp_path / "a.parquet") for title in batch.table["title"].to_pylist()]
    assert found == titles


def test_invalid_bytes_in_a_file_are_flagged_on_their_row(tmp_path: Path) -> None:
    lying = pa.array([b"a", NOT_UTF8[0], b"c"]).view(pa.string())
    pq.write_table(papers_table(abstract=lying), tmp_path / "a.parquet")
    (batch,) = stream(tmp_path / "a.parquet")
    assert batch.invalid_unicode.tolist() == [False, True, False]


# Blank values


def test_nulls_empty_texts_and_white_space_are_blank() -> None:
    column = pa.chunked_array([["a", " b ", None], ["", " \t\r\n", "\u00a0\u2003\u3000"]])
    assert missing_values(column).tolist() == [False, False, True, True, True, True]


def test_a_column_of_no_papers_has_no_blanks() -> None:
    assert missing_values(pa.chunked_array([], pa.string())).shape == (0,)


def test_invalid_bytes_in_a_dictionary_cost_their_row_and_not_the_file(tmp_path: Path) -> None:
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array([b"ok", b"\xff"]).view(pa.string()))
    names = ["paper_id", "title", "abstract"]
    pq.write_table(pa.table([pa.array(["1", "2"]), words, pa.nulls(2)], names=names), tmp_path / "d.parquet")
    file = open_parquet(tmp_path / "d.parquet")
    columns = PaperColumns().resolve(file.schema_arrow, where="d")
    (batch,) = read_papers(file, columns, where="d", batch_rows=9)
    assert batch.invalid_unicode.tolist() == [False, True]


def test_a_column_name_that_stands_twice_is_refused() -> None:
    schema = pa.schema([(name, pa.string()) for name in ("paper_id", "title", "title", "abstract")])
    with pytest.raises(PaperSchemaError, match="2 columns named title"):
        PaperColumns().resolve(schema, where="x")


def test_a_footer_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"paper_id": ["1"], "title": ["a"], "abstract": ["b"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"abstract", b"abstr\xffct"))
    with pytest.raises(PaperSchemaError, match="not a readable parquet file"):
        open_parquet(path)


def test_a_corrupt_data_page_names_the_file_and_the_row_group(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"paper_id": ["1"], "title": ["a"], "abstract": ["b"]}), path)
    start = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 20] = b"\xff" * 20
    path.write_bytes(content)
    file = open_parquet(path)
    columns = PaperColumns().resolve(file.schema_arrow, where="a")
    with pytest.raises(PaperSchemaError, match=r"here\.parquet: row group 0 cannot be decoded"):
        list(read_papers(file, columns, where="here.parquet", batch_rows=9))
