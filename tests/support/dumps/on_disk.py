"""Small dumps for the ingest's tests."""

import gzip
import io
import json
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console

from specter_jobs.dumps.ingest import IngestRequest, IngestResult, ingest
from specter_jobs.dumps.readers import Format
from specter_jobs.dumps.records import TableColumns


def arxiv(number: int, **changes: Any) -> dict[str, Any]:
    """Return one good record of the arXiv snapshot, with some fields changed."""
    good = {
        "id": f"2001.{number:05d}",
        "title": f"On the matter\n  of number {number}",
        "comments": "12 pages",
        "categories": "cs.CL stat.ML",
        "abstract": f"  We look into the matter of\nnumber {number}.\n",
        "versions": [{"version": "v1", "created": "Mon, 6 Jan 2020 19:18:42 GMT"}],
        "update_date": "2024-11-26",
    }
    return good | changes


def write_lines(path: Path, records: Iterable[Any]) -> Path:
    """Write records as JSON Lines, compressed if the name ends in .gz; bytes are written unchanged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    data = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def run(name: Any, source: Path | str, out: Path, *, columns: TableColumns | None = None, **more: Any) -> IngestResult:
    """Ingest without a terminal."""
    format_ = Format(name=name, columns=columns or TableColumns())
    request = IngestRequest(format=format_, source=str(source), out=out, **more)
    return ingest(request, console=Console(file=StringIO()))


def rows(out: Path, kind: str) -> list[dict[str, Any]]:
    """Return the rows of an output folder's papers or rejects, in the order of the file names."""
    return [row for path in sorted((out / kind).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def output_bytes(out: Path) -> dict[str, bytes]:
    """Return every paper and reject file's bytes by name."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for kind in ("papers", "rejects")
        for path in sorted((out / kind).iterdir())
    }


class StreamOfParts(io.RawIOBase):
    """A data file that is made while it is read, of parts that are never all in memory."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._rest = self._rest or next(self._parts, b"")
        n = min(len(buffer), len(self._rest))
        buffer[:n], self._rest = self._rest[:n], self._rest[n:]
        return n
