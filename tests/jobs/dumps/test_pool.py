"""Files that are read in worker processes: one that dies is named with its file, which is read again."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from specter_jobs.dumps.ingest_unit import IngestTask, IngestUnit, Outcome, run_unit
from specter_jobs.dumps.inputs import silent
from specter_jobs.dumps.pool import run_in_processes
from specter_jobs.dumps.readers import Format
from specter_jobs.dumps.records import ReadOptions
from specter_jobs.output.names import INDEX, PAPERS, REJECTS
from support.dumps.on_disk import arxiv, rows, write_lines

Read = Callable[[list[IngestUnit]], tuple[dict[str, Outcome], list[str]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that reads units with two worker processes; it returns outcomes by name, and warnings."""
    for kind in (PAPERS, REJECTS, INDEX):
        (tmp_path / "out" / kind).mkdir(parents=True)
    task = IngestTask(format=Format(name="arxiv"), options=ReadOptions(), out=tmp_path / "out", binding="")

    def run(units: list[IngestUnit]) -> tuple[dict[str, Outcome], list[str]]:
        warnings: list[str] = []
        work = [(unit, None) for unit in units]
        outcomes = list(
            run_in_processes(work, partial(run_unit, task), workers=2, advance=silent, warn=warnings.append)
        )
        assert len(outcomes) == len(units)
        assert multiprocessing.active_children() == []
        return {outcome.unit.name: outcome for outcome in outcomes}, warnings

    return run


def unit_of(path: Path, name: str = "") -> IngestUnit:
    return IngestUnit(name=name or path.name, root=path.parent, paths=(path,))


class Bomb:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (1,)


def test_a_file_that_kills_its_workers_is_named_and_costs_no_other(read: Read, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.json", [arxiv(n) for n in range(1, 41)])
    root: Any = Bomb()
    units = [unit_of(file, str(n)) for n in range(8)]
    units[3] = IngestUnit(name="3", root=root, paths=(file,))
    outcomes, warnings = read(units)
    assert [name for name, outcome in outcomes.items() if outcome.error is not None] == ["3"]
    assert outcomes["3"].error == (
        "3 worker processes died while they read this file, the last because it ended with exit code 1; "
        "run the same command again with fewer --workers"
    )
    assert len(warnings) == 3
    assert all(line.endswith("while it read 3; another one is started") for line in warnings[1:])
    assert len(rows(tmp_path / "out", "papers")) == 7 * 40


def test_a_worker_that_is_killed_is_named_with_its_file_which_is_read_again(read: Read, tmp_path: Path) -> None:
    units = [unit_of(write_lines(tmp_path / f"{n}.json", [arxiv(10 * n + i) for i in range(1, 6)])) for n in range(3)]
    again = write_lines(tmp_path / "again", [arxiv(999)])
    slow = tmp_path / "slow.json"
    os.mkfifo(slow)

    def kill_the_reader() -> None:
        with slow.open("wb", buffering=0):  # waits until a worker reads
            reader = next(pid for pid in children() if str(slow) in open_files(pid))
            again.replace(slow)
            os.kill(reader, signal.SIGKILL)
            while reader in children():  # the reader must not see the end of the file before it dies
                time.sleep(0.01)

    killer = threading.Thread(target=kill_the_reader)
    killer.start()
    outcomes, warnings = read([*units, unit_of(slow)])
    killer.join()
    assert [outcome.error for outcome in outcomes.values()] == [None] * 4
    (warning,) = warnings
    assert "(it was killed by signal 9, perhaps because memory ran out) while it read" in warning
    assert "slow.json" in warning
    assert len(rows(tmp_path / "out", "papers")) == 3 * 5 + 1


def children() -> set[int]:
    """Return the processes that this one has started and not yet waited for, without waiting for any."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


def open_files(pid: int) -> set[str]:
    """Return the files that a process has open."""
    return {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}


def test_an_interrupted_ingest_stops_its_workers_and_leaves_no_unfinished_file(read: Read, tmp_path: Path) -> None:
    small = write_lines(tmp_path / "small.json", [arxiv(1)])
    large = write_lines(tmp_path / "large.json", [arxiv(n) for n in range(1, 100_000)])  # seconds of work
    out = tmp_path / "out"
    task = IngestTask(format=Format(name="arxiv"), options=ReadOptions(), out=out, binding="")
    work = [(unit_of(small), None), (unit_of(large), None)]
    with closing(run_in_processes(work, partial(run_unit, task), workers=2, advance=silent, warn=print)) as found:
        assert next(found).unit.name == "small.json"
    assert multiprocessing.active_children() == []
    assert [path.name.partition("-")[0] for path in out.rglob("*") if path.is_file()] == ["small", "small"]
