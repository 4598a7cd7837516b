"""Nights that are written row by row, without a model, for tests of what reads nights."""

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from specter_batch.metrics.score_report import N_SCORE_BINS
from specter_batch.papers.text import paper_text, text_hash
from specter_batch.storage.files import file_sha256
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.names import OutputFile
from specter_jobs.output.plan_file import PlanFile
from specter_jobs.output.schema import LABEL_SCHEMA, REJECT_SCHEMA
from specter_jobs.plan.identity import NightIdentity
from specter_jobs.plan.shards import InputFile, Shard

LABELS = ("Astro", "Bio", "Chem")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a night and of its input.

    Attributes:
        status: What became of it; a shard with a failed row fails whole.
        label: Its label, if it has one.
    """

    paper_id: str | None = "p"
    title: str | None = "A title"
    abstract: str | None = "An abstract."
    status: str = "labelled"
    label: str = "Astro"
    score: float = 0.5
    runner_up: str | None = None
    margin: float | None = None
    true_label: str | None = None
    reason: str = "too_short"
    detail: str | None = None

    @property
    def text_hash(self) -> str:
        return text_hash(paper_text(self.title, self.abstract))


@dataclass(frozen=True, kw_only=True)
class WrittenNight:
    """A night on disk.

    Attributes:
        out: Its output folder.
        papers: The folder of its input.
        files: Name of each input file -> its rows.
        failed: Names of the shards that failed.
    """

    out: Path
    papers: Path
    files: Mapping[str, Sequence[Row]]
    shard_rows: int
    failed: frozenset[str] = field(default_factory=frozenset)


def write_night(
    folder: Path,
    files: Mapping[str, Sequence[Row]],
    *,
    out: str = "night",
    papers: str = "papers",
    shard_rows: int = 3,
    row_group_size: int = 2,
    bundle: str = "bundle",
    graph: str = "graph",
    columns: Sequence[str] | None = None,
    success: bool = True,
) -> WrittenNight:
    """Write the input of a night, and what the night left.

    Args:
        folder: The folder in which both are written.
        files: Name of each input file -> its rows.
        out: Name of the output folder.
        papers: Name of the folder of papers.
        shard_rows: Rows in a shard.
        row_group_size: Rows in a row group of the papers.
        bundle: Fingerprint of the bundle.
        graph: Hash of the graph.
        columns: Columns of the label files; all that this version writes when None.
        success: Write `_SUCCESS`, if no shard failed.
    """
    place, root = folder / out, folder / papers
    night = NightIdentity(
        dump=str(root), format=None, date=datetime.date(2026, 11, 26), bundle="bundle", fingerprint=bundle,
        device="cpu", graph=graph, output_version=1, settings={},
    )  # fmt: skip
    model = night.model.hash
    for kind in ("labels", "rejects"):
        (place / kind).mkdir(parents=True)
    root.mkdir(parents=True, exist_ok=True)
    planned: dict[str, int] = {}
    entries, failed = [], set()
    for name, rows in files.items():
        _write_papers(root / name, rows, row_group_size)
        file = InputFile(path=root / name, name=name, columns={}, group_starts=(0, len(rows)))
        for start in range(0, len(rows), shard_rows):
            part = rows[start : start + shard_rows]
            shard = Shard(file=file, start=start, rows=len(part))
            planned[shard.name] = shard.rows
            if any(row.status == "failed" for row in part):
                failed.add(shard.name)
            else:
                entries.append(_write_shard(place, shard, part, model=model, columns=columns))
    if not planned:
        name = next(iter(files))
        file = InputFile(path=root / name, name=name, columns={}, group_starts=(0, 0))
        shard = Shard(file=file, start=0, rows=0)
        planned[shard.name] = 0
        entries.append(_write_shard(place, shard, [], model=model, columns=columns))
    plan = PlanFile(
        root=str(root),
        binding="binding",
        rows=sum(planned.values()),
        files={name: len(rows) for name, rows in files.items()},
        unreadable={},
        shards=planned,
        night=night,
    )
    (place / "plan.json").write_text(plan.model_dump_json())
    (place / "ledger.jsonl").write_text("".join(f"{entry.model_dump_json()}\n" for entry in entries))
    if success and not failed:
        (place / "_SUCCESS").touch()
    return WrittenNight(out=place, papers=root, files=files, shard_rows=shard_rows, failed=frozenset(failed))


def expected_rows(night: WrittenNight) -> list[tuple[str, int, Row]]:
    """Return all rows of a night's input in order, each with its file and row; failed shards fail whole."""
    found = []
    for name, rows in night.files.items():
        for number, row in enumerate(rows):
            start = number - number % night.shard_rows
            part = rows[start : start + night.shard_rows]
            is_failed = any(one.status == "failed" for one in part)
            found.append((name, number, Row(**{**vars(row), "status": "failed"}) if is_failed else row))
    return found


def _write_papers(path: Path, rows: Sequence[Row], row_group_size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = {"paper_id": "paper_id", "title": "title", "abstract": "abstract", "label": "true_label"}
    table = pa.table({own: pa.array([getattr(row, name) for row in rows], pa.string()) for own, name in names.items()})
    pq.write_table(
        table.append_column("year", pa.array([2000 + n for n in range(len(rows))], pa.int64())), path, row_group_size
    )


def _write_shard(
    out: Path, shard: Shard, rows: Sequence[Row], *, model: str, columns: Sequence[str] | None
) -> LedgerEntry:
    labelled = [(shard.start + n, row) for n, row in enumerate(rows) if row.status in ("labelled", "reused")]
    rejected = [(shard.start + n, row) for n, row in enumerate(rows) if row.status == "rejected"]
    values = {
        "paper_id": [row.paper_id for _, row in labelled],
        "label": [row.label for _, row in labelled],
        "label_id": [LABELS.index(row.label) if row.label in LABELS else 0 for _, row in labelled],
        "score": [row.score for _, row in labelled],
        "text_hash": [row.text_hash for _, row in labelled],
        "reused": [row.status == "reused" for _, row in labelled],
        "file": [shard.file.name for _ in labelled],
        "row": [number for number, _ in labelled],
        "runner_up": [row.runner_up for _, row in labelled],
        "margin": [row.margin for _, row in labelled],
        "true_label": [row.true_label for _, row in labelled],
        "seen_in_training": [False for _ in labelled],
    }
    schema = pa.schema([field for field in LABEL_SCHEMA if columns is None or field.name in columns])
    labels = pa.table(
        [pa.array(values[name], kind) for name, kind in zip(schema.names, schema.types, strict=True)], schema=schema
    )
    rejects = pa.table(
        [
            [shard.file.name] * len(rejected),
            [0] * len(rejected),
            [number for number, _ in rejected],
            [row.paper_id for _, row in rejected],
            [row.reason for _, row in rejected],
            [row.detail for _, row in rejected],
        ],
        schema=REJECT_SCHEMA,
    )
    files = [_written(out, f"labels/{shard.name}.parquet", labels)]
    files += [_written(out, f"rejects/{shard.name}.parquet", rejects)] if rejected else []
    counts = Counter(row.label for _, row in labelled)
    return LedgerEntry(
        shard=shard.name,
        file=shard.file.name,
        start=shard.start,
        rows=shard.rows,
        content="content",
        binding="binding",
        model=model,
        labels=files[0],
        reused=sum(values["reused"]),
        rejects=files[1] if rejected else None,
        rejects_by_reason=dict(sorted(Counter(row.reason for _, row in rejected).items())),
        scores={},
        unknown_labels=0,
        label_papers=[counts[name] for name in LABELS],
        bin_papers=[len(labelled), *[0] * (N_SCORE_BINS - 1)],
        score_sum=sum(values["score"]),
        seconds=1.0,
    )


def _written(out: Path, name: str, table: pa.Table) -> OutputFile:
    pq.write_table(table, out / name)
    path = out / name
    return OutputFile(name=name, rows=len(table), size=path.stat().st_size, sha256=file_sha256(path))
