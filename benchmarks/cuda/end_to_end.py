"""Run `specter-batch classify` on a card: a whole night, a card whose memory is nearly full, and a kill and resume.

Usage: bash benchmarks/cuda/run.sh OUT        (this script is its last part)
       python benchmarks/cuda/end_to_end.py OUT [--device cpu --papers 40]

Needs specter-batch with the packages of a nightly job, and the graphs that `measure.py` left in OUT/work. Adds its
results to OUT/cuda.json under `end_to_end`. The exit code is 1 if a result is not as promised.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]

import numpy as np  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from generated import write_bundle, write_papers  # noqa: E402

# Takes all but some MiB of the card's free memory, prints a line, and keeps it until its standard input is closed.
HOG = """
import sys, torch
free, _ = torch.cuda.mem_get_info()
kept = torch.empty(max(free - (int(sys.argv[1]) << 20), 0), dtype=torch.uint8, device="cuda")
print("ready", flush=True)
sys.stdin.read()
"""


class Nights:
    """Runs nights over the same papers and bundle."""

    def __init__(self, work: Path, device: str, shard_rows: int) -> None:
        self.work, self.device, self._shard_rows = work, device, shard_rows

    def command(self, out: Path) -> list[str]:
        """Return the command of a night."""
        options = ["--bundle", self.work / "bundle", "--device", self.device, "--language", "any"]
        options += ["--shard-rows", self._shard_rows, "--audit-share", 0]
        return [sys.executable, "-m", "specter_batch", "classify", *map(str, [self.work / "papers", out, *options])]

    def run(self, name: str) -> dict[str, Any]:
        """Run a night to its end and return figures of its manifest.

        Raises:
            RuntimeError: The exit code is not 0.
        """
        out = self.work / name
        done = subprocess.run(self.command(out), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{name}: exit code {done.returncode}: {done.stderr.strip()[-800:]}")
        manifest = json.loads((out / "manifest.json").read_text())
        kept = {key: manifest[key] for key in ("rows", "device", "this_run", "seconds")}
        return kept | {"said_out_of_memory": "out of memory" in done.stderr}

    def labels(self, name: str) -> dict[str, tuple[int, float]]:
        """Return label and score by paper."""
        tables = [pq.read_table(file) for file in sorted((self.work / name / "labels").glob("*.parquet"))]
        rows = [row for table in tables for row in table.select(["paper_id", "label_id", "score"]).to_pylist()]
        return {row["paper_id"]: (row["label_id"], row["score"]) for row in rows}

    def files(self, name: str) -> dict[str, bytes]:
        """Return the label files of a night."""
        return {file.name: file.read_bytes() for file in sorted((self.work / name / "labels").glob("*.parquet"))}


def whole_night(nights: Nights) -> dict[str, Any]:
    """Run a complete night from parquet to parquet."""
    return nights.run("night")


def killed_and_resumed(nights: Nights) -> dict[str, Any]:
    """Kill a night with SIGKILL after its second shard and run it again. The label files must be the same."""
    out = nights.work / "killed"
    running = subprocess.Popen(nights.command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while running.poll() is None and len(list((out / "labels").glob("*.parquet"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    killed = running.poll() is None
    if killed:
        running.send_signal(signal.SIGKILL)
    running.wait()
    finished_before = len(list((out / "labels").glob("*.parquet")))
    again = nights.run("killed")
    same = nights.files("night") == nights.files("killed")
    return {"killed": killed, "label_files_before": finished_before, "same_bytes": same, "again": again["this_run"]}


def little_memory(nights: Nights) -> dict[str, Any]:
    """Run nights on a card that another process has nearly filled. Batches must shrink and labels stay the same."""
    tried: dict[str, Any] = {}
    for mib in (2_000, 1_600, 1_400, 1_200):
        hog = subprocess.Popen(
            [sys.executable, "-c", HOG, str(mib)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            if hog.stdout is not None:
                hog.stdout.readline()  # the memory is taken
            name = f"memory-{mib}"
            found = nights.run(name)
            full, cut = nights.labels("night"), nights.labels(name)
            found["labels_changed"] = sum(full[paper][0] != cut[paper][0] for paper in full)
            found["largest_score_difference"] = max(abs(full[paper][1] - cut[paper][1]) for paper in full)
        except Exception as error:
            found = {"failed": str(error)[:600]}
        finally:
            hog.communicate()
        tried[f"{mib} MiB free"] = found
        if "failed" in found or found["said_out_of_memory"]:
            break
    return tried


def main() -> int:
    """Read the command line and run the nights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--papers", type=int, default=24_000)
    parser.add_argument("--shard-rows", type=int, default=2_000)
    args = parser.parse_args()
    work = args.out / "work" / "product"
    shutil.rmtree(work, ignore_errors=True)
    record_file = args.out / "cuda.json"
    record = json.loads(record_file.read_text())
    write_bundle(work / "bundle", args.out / "work", record["logits"])
    words = json.loads((work / "bundle" / "tokenizer.json").read_text())["model"]["vocab"]
    write_papers(work / "papers", np.load(HERE / "lengths.npy"), n_papers=args.papers, n_words=len(words))
    nights = Nights(work, args.device, args.shard_rows)
    steps = {"night": whole_night, "killed": killed_and_resumed}
    if args.device != "cpu":
        steps["little_memory"] = little_memory
    found: dict[str, Any] = {"cpus": os.cpu_count()}
    for name, step in steps.items():
        try:
            found[name] = step(nights)
        except Exception as error:
            found[name] = {"failed": str(error)[:1_000]}
        record_file.write_text(json.dumps(record | {"end_to_end": found}, indent=1) + "\n")
        print(name, json.dumps(found[name]), flush=True)
    return int(
        any("failed" in step for step in found.values() if isinstance(step, dict))
        or not found["killed"].get("same_bytes")
    )


if __name__ == "__main__":
    sys.exit(main())
