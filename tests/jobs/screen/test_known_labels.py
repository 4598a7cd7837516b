from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from specter_batch.papers.parquet import write_table
from specter_batch.papers.text import text_hash
from specter_jobs import database
from specter_jobs.plan.shard_keys import KEYS, PLACES, RunKeys, ShardKeys
from specter_jobs.plan.shards import InputFile, Shard
from specter_jobs.screen.deduplicate import Deduplication
from specter_jobs.screen.known_labels import KnownLabels


def shards_of(hashes: list[str], *, rows: int) -> tuple[list[Shard], list[RunKeys]]:
    """Return shards of papers with these text hashes, and their keys."""
    file = InputFile(path=Path("a.parquet"), name="a", columns={}, group_starts=(0, len(hashes)))
    shards = [Shard(file=file, start=start, rows=rows) for start in range(0, len(hashes), rows)]
    runs = []
    for number, shard in enumerate(shards):
        mine = hashes[shard.start : shard.start + rows]
        halves = np.frombuffer(bytes.fromhex("".join(mine)), ">u8").astype(np.uint64).reshape(-1, 2)
        ids = pa.array([f"p{shard.start + row}" for row in range(len(mine))], pa.string())
        places = pa.array(number * PLACES + np.arange(len(mine)))
        keys = pa.table([ids, pa.array(halves[:, 0]), pa.array(halves[:, 1]), places], schema=KEYS)
        runs.append(RunKeys(shards=(ShardKeys(number=number, rows_hash="x", keys=keys),)))
    return shards, runs


def labels(path: Path, rows: list[dict[str, Any]]) -> Path:
    kinds = pa.schema(
        [("text_hash", pa.string()), ("label_id", pa.int32()), ("score", pa.float64()), ("runner_up", pa.string())]
    )
    write_table(path, pa.Table.from_pylist(rows, schema=kinds))
    return path


def known_of(tmp_path: Path, files: list[Path], hashes: list[str]) -> list[dict[str, Any]]:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    shards, runs = shards_of(hashes, rows=2)
    known = KnownLabels(files=files, n_labels=2)
    decided = Deduplication(shards, runs, known_labels=known, scratch=scratch, advance=lambda _: None)
    found = [row for number in range(len(shards)) for row in decided.decisions(number).known.to_pylist()]
    decided.close()
    return found


def test_a_text_with_several_labels_takes_the_lowest_one_and_the_first_of_equal_ones(tmp_path: Path) -> None:
    one, two, three = (text_hash(text) for text in ("one", "two", "three"))
    rows = [
        {"text_hash": one, "label_id": 1, "score": 0.5, "runner_up": "a"},
        {"text_hash": two, "label_id": 1, "score": 0.5, "runner_up": "b"},
        {"text_hash": "no hash", "label_id": 0, "score": 0.5, "runner_up": "c"},
        {"text_hash": three, "label_id": 0, "score": float("nan"), "runner_up": "d"},
    ]
    later = [
        {"text_hash": one, "label_id": 1, "score": 0.5, "runner_up": "e"},
        {"text_hash": two, "label_id": 0, "score": 0.9, "runner_up": "f"},
    ]
    files = [labels(tmp_path / "a.parquet", rows), labels(tmp_path / "b.parquet", later)]
    found = known_of(tmp_path, files, [three, one, two])
    assert [(row["row"], row["label_id"], row["runner_up"]) for row in found] == [(1, 1, "a"), (0, 0, "f")]


def test_tables_that_do_not_fit_into_memory_are_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MEMORY", 40_000_000)
    hashes = [f"{number * 0x9E3779B97F4A7C15 % (1 << 64):016x}{number:016x}" for number in range(400_000)]
    table = {
        "text_hash": pa.array(hashes[4:]),
        "label_id": pa.array(np.ones(len(hashes) - 4, np.int32)),
        "score": pa.array(np.full(len(hashes) - 4, 0.5)),
    }
    write_table(tmp_path / "earlier.parquet", pa.table(table))
    shards, runs = shards_of(hashes, rows=50_000)
    known = KnownLabels(files=[tmp_path / "earlier.parquet"], n_labels=2)
    decided = Deduplication(shards, runs, known_labels=known, scratch=tmp_path, advance=lambda _: None)
    workload = decided.workload([])
    decided.close()
    assert (workload.reusable, workload.copies, workload.fresh) == (len(hashes) - 4, 0, {0: 4})
