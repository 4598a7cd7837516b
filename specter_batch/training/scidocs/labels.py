"""The label files of SciDocs: the official splits of each task."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from specter_batch.errors import LabelError, PaperSchemaError
from specter_batch.papers.labels import MAG, MESH, LabelSet
from specter_batch.training.scidocs.metadata import Drop

TASKS = {"mesh": MESH, "mag": MAG}
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class TaskLabels:
    """The label files of one task, each paper in one split.

    Attributes:
        splits: Split -> paper id -> class id, in file order.
        repeats: Split -> (paper id, reason) of rows that were left out because the paper is already in the task.
    """

    splits: dict[str, dict[str, int]]
    repeats: dict[str, list[tuple[str, Drop]]]


def read_labels(folder: Path, labels: LabelSet) -> TaskLabels:
    """Read the label files of one task: `pid,class_label` in `train.csv`, `val.csv` and `test.csv`.

    A paper that is in several files is kept in only one of them: in test, else in val, else in train. The published
    test set therefore stays complete, and no training paper is scored. Within a file the first row counts.

    Raises:
        PaperSchemaError: A file has other columns or no rows.
        LabelError: A class id does not belong to a label.
    """
    class_of = {str(i): i for i in range(len(labels))}
    task = TaskLabels(splits={split: {} for split in SPLITS}, repeats={split: [] for split in SPLITS})
    seen: dict[str, str] = {}
    for split in reversed(SPLITS):
        path, classes = folder / f"{split}.csv", task.splits[split]
        for line, paper_id, value in _rows(path):
            if value not in class_of:
                raise LabelError(
                    f"{path} line {line}: class_label of paper {paper_id} should be a whole number from 0 to "
                    f"{len(labels) - 1}, got {value!r}; correct the file or fetch it again"
                )
            if paper_id in seen:
                detail = f"line {line}, class {value}: already in {seen[paper_id]}"
                task.repeats[split].append((paper_id, Drop(reason="repeated_id", detail=detail)))
                continue
            seen[paper_id] = f"{path.name} line {line}, class {value}"
            classes[paper_id] = class_of[value]
        if not classes:
            own = " of papers that no other split has" if task.repeats[split] else ""
            raise PaperSchemaError(f"{path}: expected rows of pid,class_label{own}, got none; fetch the file again")
    return task


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield the line of each row, its paper id and its class as written."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(stream, strict=True)
            header = [name.strip() for name in next(rows, [])]
            if header.count("pid") != 1 or header.count("class_label") != 1:
                got = ", ".join(header)[:200] or "no columns"
                raise PaperSchemaError(f"{path}: expected the columns pid and class_label, got {got}")
            pid, class_label = header.index("pid"), header.index("class_label")
            for row in filter(None, rows):
                line = rows.line_num
                if len(row) != len(header) or not row[pid].strip():
                    raise PaperSchemaError(f"{path} line {line}: expected {','.join(header)}, got {','.join(row)[:80]}")
                yield line, row[pid].strip(), row[class_label].strip()
    except (csv.Error, UnicodeDecodeError) as error:
        raise PaperSchemaError(f"{path}: not a readable CSV file ({error}); fetch it again") from error
