"""The label files of SciDocs: the official splits of each task."""

import csv
from collections.abc import Iterator
from pathlib import Path

from specter_batch.errors import LabelError, PaperSchemaError
from specter_batch.labels import MAG, MESH, LabelSet

TASKS = {"mesh": MESH, "mag": MAG}
SPLITS = ("train", "val", "test")


def read_splits(folder: Path, labels: LabelSet) -> dict[str, dict[str, int]]:
    """Read the label files of one task: `pid,class_label` in `train.csv`, `val.csv` and `test.csv`.

    Returns:
        Split -> paper id -> class, in file order.

    Raises:
        PaperSchemaError: A file has other columns or no rows, or a paper stands in the task twice.
        LabelError: A class is not the id of a label.
    """
    class_of = {str(i): i for i in range(len(labels))}
    splits: dict[str, dict[str, int]] = {split: {} for split in SPLITS}
    seen: dict[str, str] = {}
    for split, classes in splits.items():
        path = folder / f"{split}.csv"
        for where, paper_id, value in _rows(path):
            if paper_id in seen:
                raise PaperSchemaError(
                    f"{where}: paper {paper_id} stands in {seen[paper_id]} already; a task may have a paper only once, "
                    "or the model could be scored on what it has learned; remove one of the two"
                )
            if value not in class_of:
                raise LabelError(
                    f"{where}: class_label of paper {paper_id} should be a whole number from 0 to {len(labels) - 1}, "
                    f"got {value!r}; correct the file or fetch it again"
                )
            seen[paper_id] = where
            classes[paper_id] = class_of[value]
        if not classes:
            raise PaperSchemaError(f"{path}: expected rows of pid,class_label, got none; fetch the file again")
    return splits


def _rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield where each row stands, its paper id and its class as written."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(stream, strict=True)
            header = [name.strip() for name in next(rows, [])]
            if header.count("pid") != 1 or header.count("class_label") != 1:
                got = ", ".join(header)[:200] or "no columns"
                raise PaperSchemaError(f"{path}: expected the columns pid and class_label, got {got}")
            pid, class_label = header.index("pid"), header.index("class_label")
            for row in filter(None, rows):
                where = f"{path} line {rows.line_num}"
                if len(row) != len(header) or not row[pid].strip():
                    raise PaperSchemaError(f"{where}: expected {','.join(header)}, got {','.join(row)[:80]}")
                yield where, row[pid].strip(), row[class_label].strip()
    except (csv.Error, UnicodeDecodeError) as error:
        raise PaperSchemaError(f"{path}: not a readable CSV file ({error}); fetch it again") from error
