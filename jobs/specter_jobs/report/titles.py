"""Titles of single papers, read from the input files of a night."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from specter_batch.errors import PaperSchemaError, StorageError
from specter_batch.papers.parquet import open_parquet, read_papers
from specter_jobs.plan.shards import InputFile

# A row of the input: the name of its file, and its position in the file.
Place = tuple[str, int]

# Rows that are decoded at once.
READ_ROWS = 8192
# A row group is decoded from its beginning, so a few titles can take many rows. More rows than these would take longer
# than half a minute.
MAX_ROWS = 50_000_000


def read_titles(files: Sequence[InputFile], places: Iterable[Place]) -> Mapping[Place, tuple[str | None, str | None]]:
    """Return id and title of the papers at some places; places that cannot be read are left out.

    Args:
        files: The input files.
        places: File and row of each paper.
    """
    wanted: dict[str, list[int]] = defaultdict(list)
    for name, row in sorted(set(places)):
        wanted[name].append(row)
    found: dict[Place, tuple[str | None, str | None]] = {}
    left = MAX_ROWS
    for file in files:
        groups: dict[int, list[int]] = defaultdict(list)
        for row in wanted.get(file.name, []):
            if 0 <= row < file.rows:
                groups[file.group_of(row)].append(row)
        left -= sum(max(rows) - file.group_starts[group] for group, rows in groups.items())
        if left < 0:
            break
        if groups:
            found |= _read(file, groups)
    return found


def _read(file: InputFile, groups: Mapping[int, Sequence[int]]) -> dict[Place, tuple[str | None, str | None]]:
    """Return id and title of the wanted rows of a file, by row group; rows after a damaged part are left out."""
    columns = {name: file.columns[name] for name in ("paper_id", "title") if name in file.columns}
    found: dict[Place, tuple[str | None, str | None]] = {}
    try:
        with open_parquet(file.path) as parquet:
            if parquet.metadata.num_rows != file.rows:
                return {}
            for group, rows in groups.items():
                start = file.group_starts[group]
                batches = read_papers(
                    parquet,
                    columns,
                    where=file.name,
                    batch_rows=READ_ROWS,
                    row_groups=[group],
                    partitions=file.partitions,
                )
                for batch in batches:
                    here = [row for row in rows if start <= row < start + len(batch)]
                    papers = batch.table.take([row - start for row in here]).to_pylist() if here else []
                    found |= {
                        (file.name, row): (paper["paper_id"], paper["title"])
                        for row, paper in zip(here, papers, strict=True)
                    }
                    start += len(batch)
                    if start > max(rows):
                        break
    except (PaperSchemaError, StorageError, OSError):
        pass  # the page says how many titles are missing
    return found
