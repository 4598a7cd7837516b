"""Read the `papers` and `abstracts` datasets of the Semantic Scholar Academic Graph, joined on `corpusid`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from specter_batch.errors import PaperSchemaError, ShardError, WrongFormatError
from specter_jobs.dumps.inputs import InputCount, content_of, joined_content, opened
from specter_jobs.dumps.json_records import json_values
from specter_jobs.dumps.json_values import FieldError, as_id, as_text, as_year, require_keys
from specter_jobs.dumps.readers.markup import plain_text, without_markup
from specter_jobs.dumps.records import MalformedRecord, PaperRecord, ReadOptions
from specter_jobs.output.names import INGEST_SCRATCH

# A bucket holds the rows of this many consecutive corpusids and is sorted in memory. It needs 350 MB if every id occurs
# and the mean abstract has 1.3 kB. (duckdb's sort of long texts runs out of memory instead of spilling to disk.)
BUCKET_IDS = 1 << 18
# Number of characters to collect before they are written to the buckets. A lower value saves memory but makes more and
# smaller writes.
GATHERED_CHARACTERS = 64 << 20

# Fields that only the full texts (`s2orc`, `s2orc_v2`) have. Their rows also have titles.
_FULL_TEXT = frozenset(("body", "bibliography", "content"))

_ROWS = pa.schema(
    [
        ("corpusid", pa.int64()),
        ("is_paper", pa.bool_()),
        ("file", pa.int32()),
        ("line", pa.int64()),
        ("title", pa.string()),
        ("abstract", pa.large_string()),  # a large bucket may exceed the 2 GB of a string array
        ("label", pa.string()),
        ("year", pa.int32()),
        ("problem", pa.string()),
    ]
)


class S2agReader:
    """Reads the two datasets as one unit, because a paper is joined from both.

    The label is the category in `s2fieldsofstudy` from one source: Semantic Scholar's model (`s2-fos-model`) or the
    older Microsoft Academic Graph (`external`). A paper with several categories from that source gets no label.
    """

    name = "s2ag"
    suffixes = (".jsonl", ".json", "")
    label_choices = ("s2-fos-model", "external")

    def read(self, stream: BinaryIO, options: ReadOptions) -> Iterator[PaperRecord | MalformedRecord]:
        """Read one file of `papers` without a join; a paper has an abstract only if its line contains one."""
        for line, value in json_values(stream):
            row = _row(value, 0, line, is_paper=True, source=options.label)
            yield _record(row, known_abstract=None, files=None)

    @contextmanager
    def joined_records(
        self,
        root: Path,
        paths: Sequence[Path],
        out: Path,
        options: ReadOptions,
        count: InputCount,
        advance: Callable[[int], None],
    ) -> Iterator[Iterator[PaperRecord | MalformedRecord]]:
        """Yield the joined papers; `count` is complete when the block ends without an error.

        Raises:
            PaperSchemaError: One of the two datasets is missing.
        """
        try:
            papers, abstracts = split_s2ag(paths)
        except PaperSchemaError as error:
            raise PaperSchemaError(f"{root}: {error}") from error
        contents = [content_of(path, advance) for path in paths]
        scratch = Path(tempfile.mkdtemp(prefix=INGEST_SCRATCH, dir=out))
        try:
            yield join_s2ag(papers, abstracts, scratch, options, count)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        count.content = joined_content(contents)
        count.disk_bytes = sum(path.stat().st_size for path in paths)


def split_s2ag(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Sort files into the two datasets by their first record, or by their name if that record cannot be read.

    Returns:
        The `papers` files and the `abstracts` files, each in the order given. Files of other datasets (tldrs,
        citations, authors, ...) are left out.

    Raises:
        PaperSchemaError: The dataset of a file cannot be recognised, or one of the datasets is missing.
    """
    dataset_of = {path: _dataset_of(path) for path in paths}
    papers, abstracts = ([path for path in paths if dataset_of[path] == dataset] for dataset in ("papers", "abstracts"))
    if not papers or not abstracts:
        raise PaperSchemaError(
            f"{len(papers)} papers files and {len(abstracts)} abstracts files; expected both, in one folder"
        )
    return papers, abstracts


def join_s2ag(
    papers: Sequence[Path],
    abstracts: Sequence[Path],
    scratch: Path,
    options: ReadOptions,
    count: InputCount,
    *,
    bucket_ids: int = BUCKET_IDS,
    gathered_characters: int = GATHERED_CHARACTERS,
) -> Iterator[PaperRecord | MalformedRecord]:
    """Yield all papers by ascending corpusid, then the malformed lines of both datasets.

    Every line is written to the bucket of its corpusid, a file in `scratch`. Then each bucket is sorted, so that a
    paper's abstract comes right before the paper. A paper that occurs twice is yielded twice. If a paper has several
    abstracts, the first one in the order of files and lines is used. A paper's position is its line number.

    Args:
        papers: Files of the `papers` dataset, compressed or not.
        abstracts: Files of the `abstracts` dataset, compressed or not.
        scratch: Existing folder with enough disk space for all texts; removed by the caller.
        options: Options of the reader; `label` is one of `S2agReader.label_choices`.
        count: Size of the input; `text_bytes` is increased by the size of every file.
        bucket_ids: Number of consecutive corpusids in a bucket.
        gathered_characters: Number of characters of text to hold in memory before they are written to disk.

    Raises:
        ShardError: A file is cut off. No paper is yielded then, because some papers would silently have no abstract.
    """
    files = [*abstracts, *papers]
    buckets = _Buckets(scratch, bucket_ids, gathered_characters)
    for number, path in enumerate(files):
        is_paper = number >= len(abstracts)
        of_file = InputCount()
        try:
            with opened(path, of_file, lambda _: None) as stream:
                for line, value in json_values(stream):
                    buckets.add(_row(value, number, line, is_paper=is_paper, source=options.label))
        except OSError as error:
            raise ShardError(f"{path}: breaks off ({error}); fetch it again and rerun") from error
        count.text_bytes += of_file.text_bytes
    abstract_of: tuple[int, str | None] = (-1, None)
    for row in buckets.sorted_rows():
        corpusid, is_paper, abstract, problem = row[0], row[1], row[5], row[8]
        known = abstract_of[1] if corpusid == abstract_of[0] else None
        if is_paper or problem is not None:
            yield _record(row, known_abstract=known, files=files)
        else:
            abstract_of = (corpusid, known or abstract)


class _Buckets:
    """Rows in one file for each range of corpusids, and rows with a problem in the last file.

    A file is a sequence of Arrow streams.
    """

    def __init__(self, scratch: Path, bucket_ids: int, gathered_characters: int) -> None:
        self._scratch, self._bucket_ids, self._most_characters = scratch, bucket_ids, gathered_characters
        self._gathered: dict[int | None, list[tuple[Any, ...]]] = {}
        self._characters = 0
        self._paths: dict[int | None, Path] = {}

    def add(self, row: tuple[Any, ...]) -> None:
        bucket = None if row[8] is not None else row[0] // self._bucket_ids
        self._gathered.setdefault(bucket, []).append(row)
        self._characters += 200 + len(row[4] or "") + len(row[5] or "")
        if self._characters >= self._most_characters:
            self._flush()

    def sorted_rows(self) -> Iterator[tuple[Any, ...]]:
        self._flush()
        keys = [(name, "ascending") for name in ("corpusid", "is_paper", "file", "line")]
        for bucket in sorted(self._paths, key=lambda bucket: (bucket is None, bucket or 0)):
            table = self._read(self._paths[bucket]).sort_by(keys)
            for batch in table.to_batches(max_chunksize=1_000):
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
            self._paths[bucket].unlink()

    def _flush(self) -> None:
        for bucket, rows in self._gathered.items():
            path = self._paths.setdefault(bucket, self._scratch / f"bucket-{'problems' if bucket is None else bucket}")
            columns = zip(*rows, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, _ROWS, strict=True)]
            with path.open("ab") as file, pa.ipc.new_stream(file, _ROWS) as stream:
                stream.write_table(pa.table(arrays, schema=_ROWS))
        self._gathered, self._characters = {}, 0

    def _read(self, path: Path) -> pa.Table:
        tables: list[pa.Table] = []
        size = path.stat().st_size
        with path.open("rb") as file:
            while file.tell() < size:
                tables.append(pa.ipc.open_stream(file).read_all())
        return pa.concat_tables(tables)


def _row(value: Any, file: int, line: int, *, is_paper: bool, source: str | None) -> tuple[Any, ...]:
    """Make a row of `_ROWS` from a line; the column `problem` says what is wrong with the line."""
    corpusid = None
    if isinstance(value, MalformedRecord):
        return corpusid, is_paper, file, line, None, None, None, None, value.detail
    try:
        record = require_keys(value, ("corpusid", "title" if is_paper else "abstract"))
        corpusid = _corpusid(record["corpusid"])
        title = plain_text(as_text(record["title"], "title") or "") if is_paper else None
        abstract = (without_markup(as_text(record.get("abstract"), "abstract")) or "").strip() or None
        label = _category(record.get("s2fieldsofstudy"), source) if source else None
        return corpusid, is_paper, file, line, title, abstract, label, as_year(record.get("year")), None
    except FieldError as error:
        return corpusid, is_paper, file, line, None, None, None, None, str(error)


def _record(
    row: tuple[Any, ...], *, known_abstract: str | None, files: Sequence[Path] | None
) -> PaperRecord | MalformedRecord:
    corpusid, _, file, line, title, abstract, label, year, problem = row
    paper_id = None if corpusid is None else str(corpusid)
    if problem is not None:
        where = f"{files[file].name} line {line}: " if files else ""
        return MalformedRecord(position=line, detail=where + problem, paper_id=paper_id)
    return PaperRecord(
        paper_id=paper_id, title=title, abstract=abstract or known_abstract, label=label, year=year, position=line
    )


def _corpusid(value: Any) -> int:
    text = as_id(value, "corpusid") or ""
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise FieldError(f"corpusid should be a whole number, got {text[:40] or 'nothing'}")
    return int(text)


def _category(fields: Any, source: str) -> str | None:
    """Return a source's category from `[{"category": ..., "source": ...}]`; None if it has none or several."""
    listed = fields if isinstance(fields, list) else ()
    named = [field for field in listed if isinstance(field, dict) and field.get("source") == source]
    categories = {as_id(field.get("category"), "category") for field in named} - {None}
    return categories.pop() if len(categories) == 1 else None


def _dataset_of(path: Path) -> str | None:
    """Return the dataset of a file: `papers`, `abstracts`, or None for a dataset that is not needed."""
    try:
        with opened(path, InputCount(), lambda _: None) as stream:
            first = next((value for _, value in json_values(stream) if isinstance(value, dict)), None)
    except WrongFormatError as error:
        raise WrongFormatError(f"{path}: {error}") from error
    except OSError:
        first = None
    if first is not None:
        known = {"title": "papers", "abstract": "abstracts"} if "corpusid" in first else {}
        known = {} if _FULL_TEXT.intersection(first) else known
        return next((dataset for field, dataset in known.items() if field in first), None)
    for name in (path.name.lower(), path.parent.name.lower()):
        named = [dataset for dataset in ("papers", "abstracts") if dataset in name]
        if len(named) == 1:
            return named[0]
    raise PaperSchemaError(
        f"{path}: no record shows whether the file belongs to papers or to abstracts; move it out of the input folder"
    )
