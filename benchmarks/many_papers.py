"""Measure the deduplication of millions of papers: its tables of duplicates, equal texts and earlier labels.

Usage: python benchmarks/many_papers.py WORK [PAPERS ...]

The SQL statements of a night run over ids and text hashes that duckdb generates, in shards of 5,000 papers. One paper
in a thousand occurs twice. Each size runs without an earlier night, and with one that labelled 99 % of the texts. The
figures are wall-clock seconds, CPU seconds, peak memory, and the disk space of the tables that do not fit in memory.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
from many_shards import high_water

from specter_jobs.screen.deduplicate import Deduplication
from specter_jobs.screen.known_labels import KnownLabels

SIZES = ("1000000", "4000000", "16000000")
ROWS = """
    INSERT INTO rows
    SELECT 'W' || paper, ('0x' || left(hash, 16))::UBIGINT, ('0x' || right(hash, 16))::UBIGINT, place
    FROM (
        SELECT paper, md5(paper::VARCHAR) AS hash, ((i // 5000) << 32) + i % 5000 AS place
        FROM (SELECT i, i - (i % 1000 = 999)::INT AS paper FROM range(?) made(i))
    )
"""
EARLIER = """
    COPY (SELECT md5(i::VARCHAR) AS text_hash, 1 AS label_id, 0.5::DOUBLE AS score
          FROM range(?) made(i) WHERE i % 100 > 0)
"""


class MadeUp(Deduplication):
    """A deduplication whose rows are generated instead of read."""

    papers: int

    def _collect(self, *_: Any) -> list[tuple[str, str, str | None]]:
        self._database.execute(ROWS, [self.papers])
        return []


def measure(work: Path, papers: int, *, warm: bool) -> str:
    """Run the deduplication once, and return the figures."""
    known: list[Path] = []
    if warm:
        known = [work / "earlier.parquet"]
        duckdb.execute(f"{EARLIER} TO '{known[0]}' (COMPRESSION zstd)", [papers])
    scratch = work / "scratch"
    scratch.mkdir()
    MadeUp.papers = papers
    Path("/proc/self/clear_refs").write_text("5")
    wall, cpu = time.perf_counter(), time.process_time()
    deduplication: Any = MadeUp(
        [],
        [],
        known_labels=KnownLabels(files=known, n_labels=2),
        scratch=scratch,
        advance=lambda _: None,
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    disk = sum(file.stat().st_size for file in scratch.rglob("*")) / 1e6
    deduplication.close()
    cells = (f"{papers:,}", "99 % known" if warm else "first", f"{wall:.1f}", f"{cpu:.1f}", f"{high_water():,}")
    return f"| {' | '.join(cells)} | {disk:,.0f} |"


def main(work: str, *sizes: str) -> None:
    """Measure each size, with and without an earlier night, in a process of its own."""
    print(
        "| papers | night | seconds | of the processor | MiB | MB on disk |\n|---:|---|---:|---:|---:|---:|", flush=True
    )
    for size in sizes or SIZES:
        for night in ("first", "warm"):
            folder = Path(work) / size
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            subprocess.run([sys.executable, __file__, "--one", str(folder), size, night], check=True)
            shutil.rmtree(folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(measure(Path(sys.argv[2]), int(sys.argv[3]), warm=sys.argv[4] == "warm"))
    else:
        main(*sys.argv[1:])
