"""Small dumps for the job's tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from specter_jobs.night.stages import NightResult

RunNight = Callable[..., NightResult]

ENGLISH = (
    "We studied the outcomes of patients in a large cohort and found that the treatment was associated with fewer "
    "complications than the standard of care in most of the groups that were compared during the follow-up."
)
GERMAN = (
    "Wir untersuchten die Ergebnisse der Patienten in einer großen Kohorte und fanden, dass die Behandlung in den "
    "meisten Gruppen mit weniger Komplikationen verbunden war als die übliche Versorgung während der Nachbeobachtung."
)


def paper(number: int, **changes: Any) -> dict[str, Any]:
    """Return one good paper, with some fields changed."""
    good = {"paper_id": f"p{number}", "title": f"Outcomes of trial number {number}", "abstract": f"{ENGLISH} {number}."}
    return good | changes


def write_dump(path: Path, papers: list[dict[str, Any]], *, row_group_size: int | None = None) -> Path:
    """Write papers as one parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in papers for name in row)) or ["paper_id", "title", "abstract"]
    table = pa.table({name: pa.array([row.get(name) for row in papers], pa.string()) for name in names})
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def label_bytes(out: Path) -> dict[str, bytes]:
    """Return every label and reject file's bytes by name."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for kind in ("labels", "rejects")
        for path in sorted((out / kind).iterdir())
    }


def read_all(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of every parquet file in a folder, in the order of the file names."""
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
