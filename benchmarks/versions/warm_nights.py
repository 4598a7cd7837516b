"""Measure a night in which 1 % of the papers changed, compared with a night without earlier labels.

Usage: python benchmarks/versions/warm_nights.py DUMP BUNDLE [PYTHON ...]

Each PYTHON is the interpreter of an environment in which a version of specter-batch is installed (default: this one).
Versions take turns. The night before is made by the job with a session that returns zeros, so it takes seconds. Then
the real command labels the same papers with `--reuse` and `--previous`. Words were moved in 1 % of their abstracts.

A night without earlier labels would take too long to be run here. Its time is computed from the papers per second of
labelling some papers of DUMP, which is measured in each round. The audit is on, as by default.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROUNDS = 2
CHANGED = 100  # one paper of this many
SAMPLE = 160
THREADS = 2
STAGES = ("start", "survey", "label", "report", "whole", "CPU", "audit")


def previous_night(*arguments: str) -> None:
    """Run the command in this process with graphs that return zeros."""
    import numpy as np

    from specter_batch.model.session import LOGITS_OUTPUT, Graph
    from specter_batch.start import main as command

    def zeros(graph: Any, batch: Any) -> Any:
        return np.zeros((len(batch.input_ids), graph._widths[LOGITS_OUTPUT]), dtype=np.float32)

    Graph.logits = zeros  # type: ignore[method-assign]
    sys.argv = ["specter-batch", *arguments]
    command()


def run(python: str, papers: Path, out: Path, bundle: str, *more: str, script: Sequence[str] = ()) -> dict[str, float]:
    """Run the command in a process of its own, and return the seconds of its stages."""
    words = ["classify", str(papers), str(out), "--bundle", bundle, "--device", "cpu", "--threads", str(THREADS)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(out.parent / "compiled")
    began = time.time()
    with tempfile.TemporaryFile() as log:
        command = [python, *(script or ["-m", "specter_batch"]), *words, *more]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        ended = time.time()
        log.seek(0)
        lines = log.read().decode().splitlines()
    if process.returncode:
        sys.exit("\n".join(lines))
    events = [json.loads(line) for line in lines if line.startswith("{")]
    times = {event["event"]: datetime.fromisoformat(event["time"]).timestamp() for event in events}
    this_run = json.loads((out / "manifest.json").read_bytes())["this_run"]
    return {
        "start": times["night started"] - began,
        "survey": times["survey finished"] - times["night started"],
        "label": times["shard finished"] - times["survey finished"],
        "report": ended - times["shard finished"],
        "whole": ended - began,
        "CPU": usage.ru_utime + usage.ru_stime,
        "audit": this_run["audit_seconds"],
        "papers_per_second": this_run["papers_per_second"],
        "peak": usage.ru_maxrss / 1024,
    }


def written(tables: Mapping[str, pa.Table], folder: Path) -> Path:
    """Write tables as the files of a dump."""
    folder.mkdir()
    for name, table in tables.items():
        pq.write_table(table, folder / name)
    return folder


def changed(table: pa.Table) -> pa.Table:
    """Move the last word of every hundredth abstract to its beginning."""
    at = table.column_names.index("abstract")
    texts = table["abstract"].to_pylist()
    for row in range(0, len(texts), CHANGED):
        words = (texts[row] or "").split()
        texts[row] = " ".join([*words[-1:], *words[:-1]]) or None
    return table.set_column(at, "abstract", pa.array(texts, table.schema.field(at).type))


def main(dump: str, bundle: str, *pythons: str) -> None:
    """Run the nights of all versions in turn, and print a table."""
    versions = pythons or (sys.executable,)
    tables = {file.name: pq.read_table(file) for file in sorted(Path(dump).glob("*.parquet"))}
    rows = sum(table.num_rows for table in tables.values())
    step = max(rows // SAMPLE, 1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        before = written(tables, folder / "before")
        tonight = written({name: changed(table) for name, table in tables.items()}, folder / "tonight")
        few = {name: table.take(list(range(0, table.num_rows, step))) for name, table in tables.items()}
        sample = written(few, folder / "sample")
        for number, python in enumerate(versions):
            zeros = [__file__, "--previous"]
            run(python, before, folder / f"previous-{number}", bundle, "--audit-share", "0", script=zeros)
        speeds: list[float] = []
        found: list[list[dict[str, float]]] = [[] for _ in versions]
        for turn in range(ROUNDS):
            cold = run(versions[-1], sample, folder / f"sample-{turn}", bundle, "--audit-share", "0")
            speeds.append(cold["papers_per_second"])
            for number, python in enumerate(versions):
                out, earlier = folder / f"night-{number}-{turn}", str(folder / f"previous-{number}")
                found[number].append(run(python, tonight, out, bundle, "--reuse", earlier, "--previous", earlier))
    speed = statistics.median(speeds)
    print(f"{rows:,} papers; without earlier labels: {rows / speed:,.0f} s, computed from {speed:.2f} papers/s")
    print(f"load {os.getloadavg()[0]:.1f}, {ROUNDS} rounds\n")
    print(f"| version | {' | '.join(STAGES)} | peak MB | share | papers/s |")
    print(f"|---|{'---:|' * (len(STAGES) + 3)}")
    for python, nights in zip(versions, found, strict=True):
        medians = {key: statistics.median(night[key] for night in nights) for key in nights[0]}
        cells = [f"{medians[stage]:.2f}" for stage in STAGES]
        share = medians["whole"] * speed / rows
        print(f"| {python} | {' | '.join(cells)} | {medians['peak']:,.0f} | {share:.2%} | ", end="")
        print(f"{medians['papers_per_second']:.1f} |")


if __name__ == "__main__":
    if sys.argv[1] == "--previous":
        previous_night(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
