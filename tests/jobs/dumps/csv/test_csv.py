"""CSV of any writer: what Python's own writer wrote is read back; damaged files fail or keep every row."""

import codecs
import contextlib
import csv
import gzip
import io
import lzma
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from specter_batch.errors import ConfigError, PaperSchemaError
from specter_jobs.dumps.csv.lines import MAX_ROW_BYTES
from specter_jobs.dumps.inputs import InputCount, opened, silent
from specter_jobs.dumps.readers.csv import CsvReader
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions, TableColumns, TableLayout

Row = tuple[str, str, str]
Records = list[PaperRecord | MalformedRecord]

ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9/-]{0,8}", fullmatch=True)
# Half of it special characters, so that they meet.
texts = st.text(st.sampled_from("\",;\t|\n\r\\ '") | st.characters(exclude_categories=["Cs"]), max_size=12)
prose = st.lists(
    st.sampled_from(["cell", "The", "5", '"in vivo"', "so-called", 'a"', "(x, y)", "of", "\\alpha"]), max_size=6
)
delimiters = st.sampled_from(",;\t|")


def layout(**marks: Any) -> TableLayout:
    return TableLayout.of(**({"delimiter": None, "quote": None, "escape": None, "encoding": None} | marks))


def read(data: str | bytes, *, most_row_bytes: int = MAX_ROW_BYTES, **marks: Any) -> Records:
    stream = io.BytesIO(data if isinstance(data, bytes) else data.encode())
    reader = CsvReader(TableColumns(), layout(**marks), most_row_bytes=most_row_bytes)
    return list(reader.read(stream, ReadOptions()))


def papers(records: Records) -> list[Row]:
    return [
        (record.paper_id or "", (record.title or "").strip(), (record.abstract or "").strip())
        for record in records
        if isinstance(record, PaperRecord)
    ]


def unique(rows: list[Row]) -> list[Row]:
    return list({row[0]: row for row in rows}.values())


def table(cells: st.SearchStrategy[str]) -> st.SearchStrategy[list[Row]]:
    return st.lists(st.tuples(ids, cells, cells), max_size=6).map(unique)


def stripped(rows: list[Row]) -> list[Row]:
    return [(paper_id, *("" if text == r"\N" else text.strip() for text in more)) for paper_id, *more in rows]


def written(rows: list[Row], *, more_columns: list[str] | None = None, **how: Any) -> str:
    more = more_columns or []
    stream = io.StringIO()
    writer = csv.writer(stream, **how)
    writer.writerows([(*more, "paper_id", "title", "abstract"), *((*more, *row) for row in rows)])
    return stream.getvalue()


@given(
    rows=table(texts),
    more=st.lists(texts.filter(lambda name: name.strip() not in ("id", "pid", "corpusid", "year")), max_size=2),
    delimiter=delimiters,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    quote=st.sampled_from("\"'"),
)
@settings(max_examples=300)
def test_what_pythons_writer_wrote_is_read_back(
    rows: list[Row], more: list[str], delimiter: str, quoting: int, end: str, quote: str
) -> None:
    text = written(rows, more_columns=more, delimiter=delimiter, quoting=quoting, lineterminator=end, quotechar=quote)
    assert papers(read(text, delimiter=delimiter, quote=quote, escape="none")) == stripped(rows)
    if quote == '"':
        try:
            found = read(text)
        except PaperSchemaError as error:
            assert "--quote" in str(error) or "--escape" in str(error)
        else:
            assert papers(found) == stripped(rows)


@given(rows=table(texts), delimiter=delimiters, none=st.booleans())
def test_what_was_written_with_an_escape_character_is_read_back(rows: list[Row], delimiter: str, none: bool) -> None:
    how: dict[str, Any] = {"quoting": csv.QUOTE_NONE} if none else {"doublequote": False}
    text = written(rows, delimiter=delimiter, escapechar="\\", lineterminator="\n", **how)
    found = papers(read(text, delimiter=delimiter, quote="none" if none else '"', escape="\\"))
    assert [tuple(map(without_cr, row)) for row in found] == [tuple(map(without_cr, row)) for row in stripped(rows)]


def without_cr(text: str) -> str:
    return text.replace("\r", "").strip()  # a lone \r before a line end cannot be told from it


@given(rows=table(st.text(st.sampled_from('"\\, abcD.') | st.characters(exclude_categories=["C", "Z"]), max_size=12)))
def test_a_file_without_quoting_is_read_back_or_says_so(rows: list[Row]) -> None:
    text = "".join("\t".join(row) + "\n" for row in [("paper_id", "title", "abstract"), *rows])
    assert papers(read(text, quote="none")) == stripped(rows)
    try:
        found = read(text)
    except PaperSchemaError as error:
        assert "--quote none" in str(error) or "--escape none" in str(error)
    else:
        assert len(found) == len(rows)
        for record, row in zip(found, rows, strict=True):
            if isinstance(record, MalformedRecord):
                assert "--quote none" in record.detail
            elif '"' not in "".join(row):
                assert papers([record]) == stripped([row])


@given(
    rows=table(prose.map(" ".join)).filter(lambda rows: len(rows) > 2),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    delimiter=delimiters,
    data=st.data(),
)
@settings(max_examples=400)
def test_one_quote_too_many_or_too_few_never_makes_rows_vanish(
    rows: list[Row], quoting: int, delimiter: str, data: st.DataObject
) -> None:
    text = written(rows, delimiter=delimiter, quoting=quoting, lineterminator="\n")
    begin = text.index("\n") + 1
    quotes = [place for place in range(begin, len(text)) if text[place] == '"']
    if quotes and data.draw(st.booleans()):
        place = data.draw(st.sampled_from(quotes))
        damaged = text[:place] + text[place + 1 :]
    else:
        place = data.draw(st.integers(begin, len(text) - 1))
        damaged = text[:place] + '"' + text[place:]
    try:
        found = read(damaged)
    except PaperSchemaError as error:
        assert "--" in str(error)
        return
    assert len(found) == len(rows)
    assert len(set(stripped(rows)) - set(papers(found))) <= 1


@given(rows=table(prose.map(" ".join)).filter(bool), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_sparks_escapes_are_recognised(rows: list[Row], quoting: int) -> None:
    def value(text: str) -> str:
        if quoting == csv.QUOTE_ALL or any(mark in text for mark in ',"\n'):
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return text

    text = "".join(",".join(map(value, row)) + "\n" for row in [("paper_id", "title", "abstract"), *rows])
    needed = any('"' in cell for row in rows for cell in row)
    try:
        found = papers(read(text))
    except PaperSchemaError as error:
        assert "--escape" in str(error) or "--quote" in str(error)
    else:
        if needed:  # else nothing in the file shows that there are escapes
            assert found == stripped(rows)
    assert papers(read(text, quote='"', escape="\\")) == stripped(rows)


COMPRESS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}


@given(
    rows=table(texts),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"]),
    ending=st.sampled_from(sorted(COMPRESS)),
)
def test_encodings_and_compressions_make_no_difference(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], encoding: str, ending: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / f"a.csv{ending}"
    path.write_bytes(COMPRESS[ending](written(rows, quoting=csv.QUOTE_ALL).encode(encoding)))
    with opened(path, InputCount(), silent) as stream:
        records = list(CsvReader(TableColumns(), layout(quote='"', escape="none")).read(stream, ReadOptions()))
    assert papers(records) == stripped(rows)


HEADER = "paper_id,title,abstract\n"


def test_a_legitimate_abstract_with_line_breaks_commas_and_numbers_is_read() -> None:
    abstract = "We treated\n10, 20, and 30 patients,\n\nHowever, we found, in 2, that\n1, 2"
    text = HEADER + f'1,One,"{abstract}"\n2,Two,x\n3,"Three, ""quoted""","{abstract}"\n'
    assert papers(read(text)) == [("1", "One", abstract), ("2", "Two", "x"), ("3", 'Three, "quoted"', abstract)]


def test_a_quote_that_is_never_closed_costs_its_row_alone() -> None:
    lines = [f"{n},Title {n},{chr(34) if n == 3 else ''}Abstract {n}\n" for n in range(500)]
    found = read(HEADER + "".join(lines))
    assert len(found) == 500
    broken = [record for record in found if isinstance(record, MalformedRecord)]
    assert [(record.position, record.paper_id) for record in broken] == [(4, "3")]
    assert broken[0].detail.startswith("line 5: a quote is opened and never closed: Abstract 3 4,Title 4,Abstract 4")
    assert broken[0].detail.endswith("if quotes are plain text in this file, add --quote none")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('1,One,x\n2,Two,"The end is mis', r"line 3: a quote is opened and never closed: The end is mis; the file may"),
        ('1,One,x\n2,Two,"First line\nthe second, which, ends', "line 3: .* the next line does not look like a row"),
        (
            '1,One,"a\nb"\n2,"Two" words,x\n3,Three,x\n',
            "line 4: a closing quote is followed by more text: words,x; the",
        ),
        (
            '1,"One" words,x\n2,Two,x\n3,Three,"a\nb"\n',
            "line 2: its quotes are not well-formed, and the value on line 4",
        ),
        ('1,"One,x\n2,Two",y\n3,Three,x\n', "line 2: a quoted value spans 2 lines that look like .* --quote none"),
        ('1,"a \\"b\\" c",x\n2,"{\\""o}",y\n', "line 2 has a backslash that makes .* line 3 .* --escape none"),
        ('1,"{\\""o}",y\n2,"a \\"b\\" c",x\n', "line 3 has a backslash that makes .* line 2 .* --escape none"),
    ],
)
def test_when_rows_cannot_be_told_the_file_fails_with_line_and_option(body: str, message: str) -> None:
    with pytest.raises(PaperSchemaError, match=message):
        read(HEADER + body)


def test_a_quote_option_is_the_last_word_on_lines_that_look_like_rows() -> None:
    text = HEADER + '1,"One,x\n2,Two",y\n'
    assert papers(read(text, quote='"')) == [("1", "One,x\n2,Two", "y")]
    assert papers(read(text, quote="none")) == [("1", '"One', "x"), ("2", 'Two"', "y")]


def test_headers_may_be_long_and_hold_delimiters_quotes_and_line_breaks() -> None:
    more = ["Müller, A.;\tB|", 'a "b"\nc', "x" * 200_000]
    text = written([("1", "One", "Text")], more_columns=more)
    assert papers(read(text)) == [("1", "One", "Text")]
    assert papers(read("\r\n\n" + text)) == [("1", "One", "Text")]


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("paper_id|title|abstract\n1|One|Text\n", {}),
        ("paper_id^title^abstract\n1^One^Text\n", {"delimiter": "^"}),
        ("paper_id\ttitle\tabstract\n1\tOne\tText\n", {"delimiter": "tab"}),
        ("sep=;\r\npaper_id;title;abstract\r\n1;One;Text\r\n", {}),
        ('"sep=^"\npaper_id^title^abstract\n1^One^Text\n', {}),
        ('paper_id, title, "abstract"\n1, "One", Text\n', {}),
        ("paper_id ,title, abstract\n1,One,Text\n", {}),
        ("paper_id,title,abstract\r1,One,Text\r", {}),
        ("paper_id,title,abstract\r\r\n1,One,Text\r\r\n", {}),
        ("'paper_id','title','abstract'\n'1','One','Text'\n", {"quote": "'"}),
        ("paper_id,title,abstract,citations\n1,One,Text,\n", {"escape": '"'}),
    ],
)
def test_layouts_of_other_writers_are_read(text: str, marks: dict[str, str]) -> None:
    assert papers(read(text, **marks)) == [("1", "One", "Text")]


def test_an_unknown_delimiter_and_another_encoding_of_the_header_are_named() -> None:
    with pytest.raises(PaperSchemaError, match="name it with --delimiter"):
        read("paper_id^title^abstract\n1^One^Text\n")
    with pytest.raises(PaperSchemaError, match=r"the header is not UTF-8: .* --encoding cp1252"):
        read("kürzel,title,abstract\n1,One,Text\n".encode("cp1252"))
    assert papers(read("paper_id,title,abstract,Schlagwörter\n1,One,Text,x\n".encode("cp1252"))) == [
        ("1", "One", "Text")
    ]
    with pytest.raises(PaperSchemaError, match="header: its quotes are not well-formed"):
        read('"paper_id" x,title,abstract\n1,One,Text\n')


def test_bytes_that_are_not_utf8_cost_a_paper_only_where_its_text_is() -> None:
    text = "paper_id,title,abstract,label,year\n1,One,Text,Öl,2020\n2,Ölig,x,a,2020\n".encode("cp1252")
    first, second = read(text)
    assert isinstance(first, PaperRecord)
    assert (first.paper_id, first.label, first.year) == ("1", None, 2020)
    assert isinstance(second, MalformedRecord)
    assert (second.paper_id, second.detail.partition(";")[0]) == ("2", "title is not UTF-8")
    assert "--encoding cp1252" in second.detail


def test_numbers_of_pandas_are_whole() -> None:
    (found,) = read("paper_id,title,abstract,label,year\n12345.0,One,Text,1.0,2020.0\n")
    assert isinstance(found, PaperRecord)
    assert (found.paper_id, found.label, found.year) == ("12345", "1", 2020)


def test_a_header_in_the_middle_and_a_null_of_a_database_are_no_papers() -> None:
    first, again, second = read(HEADER + "1,One,\\N\n" + HEADER + "2,Two,x\n")
    assert isinstance(first, PaperRecord)
    assert first.abstract is None
    assert isinstance(again, MalformedRecord)
    assert again.detail.startswith("the row repeats the header")
    assert isinstance(second, PaperRecord)


def test_a_row_that_is_too_long_is_an_error_that_says_where() -> None:
    with pytest.raises(PaperSchemaError, match="the row that begins on line 3 is longer than"):
        read(HEADER + "1,One,x\n2,Two," + "x" * 300 + "\n", most_row_bytes=200)
    rows = '1,"One,x\n' + "".join(f"{n},Title,Text\n" for n in range(2, 40))
    found = read(HEADER + rows, most_row_bytes=200)
    assert len(found) == 39
    assert isinstance(found[0], MalformedRecord)


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ({"delimiter": ""}, "--delimiter '': expected one character, or tab"),
        ({"delimiter": "none"}, "--delimiter 'none': expected one character, or tab"),
        ({"delimiter": "||"}, "expected one character"),
        ({"quote": "\n"}, "--quote .* expected one character, such as '\"', or none"),
        ({"escape": "ab"}, "--escape 'ab': expected one character"),
        ({"delimiter": ";", "quote": ";"}, "must be different characters"),
        ({"encoding": "klingon"}, "no such encoding"),
    ],
)
def test_what_is_no_character_is_refused(marks: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        layout(**marks)


def test_marks_have_names() -> None:
    assert layout(delimiter="pipe", quote="single", escape="backslash") == TableLayout(
        delimiter="|", quote="'", escape="\\"
    )
    assert layout(delimiter=r"\t", quote="none", escape="none") == TableLayout(delimiter="\t", quote="", escape="")


@example(b"\xff\xfe")
@given(st.binary(max_size=60).map(lambda more: b"paper_id,title,abstract\n" + more) | st.binary(max_size=60))
def test_no_bytes_are_a_crash(data: bytes) -> None:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return
    with contextlib.suppress(PaperSchemaError):
        read(data)
