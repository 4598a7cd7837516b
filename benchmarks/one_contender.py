"""Run one method in its own process. `side_by_side.py` starts this script to measure peak memory separately."""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from contest.contenders import Ask, Setting, contenders

from specter_batch.cpus import usable_cpus
from specter_batch.metrics.f1 import Ints
from specter_batch.model.bundle import ModelBundle
from specter_batch.storage.files import write_json
from specter_batch.training.run.folder import TrainingRun

# Column of the papers file: position of a paper in the order of timing. Any first n papers have the lengths of all.
TURN = "turn"
# Exit code for a package that is not installed. The last line of output names the package.
EXIT_MISSING_PACKAGE = 69
# Number of papers labelled before the clock starts: one for each core, to warm up all cores.
MAX_WARM_UP = 8


def label_timed(ask: Ask, setting: Setting, papers: pa.Table, *, timed: int, rest: bool) -> dict[str, Any]:
    """Label papers, and measure the time of those whose turn is before `timed`.

    Returns:
        `seconds` and `cpu_seconds` of the timed papers, and `label_id` by row of all papers that were labelled.
    """
    turns = papers[TURN].to_numpy()
    chosen = np.flatnonzero(turns < timed)
    ask(setting.papers(papers.take(chosen[: min(usable_cpus(), MAX_WARM_UP)])))
    given = setting.papers(papers.take(chosen))
    wall, cpu = time.perf_counter(), time.process_time()
    label_ids = ask(given)
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    others = np.flatnonzero(turns >= timed) if rest else np.zeros(0, np.int64)
    if len(others):
        label_ids = np.concatenate([label_ids, ask(setting.papers(papers.take(others)))])
        chosen = np.concatenate([chosen, others])
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "label_id": _by_row(chosen, label_ids)}


def _by_row(rows: Ints, label_ids: Ints) -> dict[int, int]:
    return dict(zip(rows.tolist(), label_ids.tolist(), strict=True))


def main(arguments: argparse.Namespace) -> None:
    """Prepare the files of a method, or load the method and label papers. Write time and memory."""
    setting = Setting(
        run=TrainingRun.open(arguments.run), bundle=ModelBundle.open(arguments.bundle), work=arguments.work
    )
    contender = contenders(arguments.device)[arguments.key]
    if arguments.prepare:
        if contender.prepare is not None:
            contender.prepare(setting)
        return
    if contender.make is None:
        raise SystemExit(f"{arguments.key}: is a command of its own, not run here")
    began = time.perf_counter()
    ask = contender.make(setting)
    load_seconds = time.perf_counter() - began
    papers = pq.read_table(arguments.papers)
    found = label_timed(ask, setting, papers, timed=arguments.timed, rest=arguments.rest)
    write_json(arguments.out, {"load_seconds": load_seconds, **found})


def _exits_told(run: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> None:
    try:
        run(arguments)
    except ImportError as error:
        print(error)
        raise SystemExit(EXIT_MISSING_PACKAGE) from error


def _parsed(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("key")
    for name in ("run", "bundle", "work", "papers", "out"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument("--timed", type=int)
    parser.add_argument("--rest", action="store_true")
    parser.add_argument("--prepare", action="store_true")
    return parser.parse_args(words)


if __name__ == "__main__":
    _exits_told(main, _parsed())
