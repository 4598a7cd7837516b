"""Measure how long `specter-batch classify` takes from the command to the first screened shard.

Usage: python benchmarks/versions/start_up.py DUMP BUNDLE [PYTHON ...]

The first papers of DUMP that the fast language screen decides are labelled. Each PYTHON is the interpreter of an
environment in which a version of specter-batch is installed (default: this one). Versions take turns, so that the load
of the machine affects all of them alike. Printed are medians of the wall-clock time and of the CPU time of the process
until the first shard is screened, and the number of modules that were imported until then.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

ROUNDS = 5
PAPERS = 20
PREPARER = "specter_jobs.label.prepare"


class Watch(MetaPathFinder):
    """An import hook that ends the process when the first shard is screened.

    Args:
        began: Time at which the command was started, in seconds since the epoch.
    """

    def __init__(self, began: float) -> None:
        self._began = began

    def find_spec(self, fullname: str, path: Any, _target: ModuleType | None = None) -> ModuleSpec | None:
        """Find the module that screens shards, and watch the class in it."""
        if fullname != PREPARER:
            return None
        spec = PathFinder.find_spec(fullname, path)
        assert spec is not None  # noqa: S101 - it is a module of the job
        loader: Any = spec.loader
        execute = loader.exec_module

        def watched(module: ModuleType) -> None:
            execute(module)
            preparer: Any = vars(module)["ShardPreparer"]
            screen = preparer.screen

            def last(*args: Any, **kwargs: Any) -> None:
                screen(*args, **kwargs)
                seconds = {"wall": time.time() - self._began, "cpu": time.process_time()}
                os.write(1, json.dumps(seconds | {"modules": sorted(sys.modules)}).encode())
                os._exit(0)

            preparer.screen = last

        loader.exec_module = watched
        return spec


def one(began: str, *arguments: str) -> None:
    """Run the command in this process, until the first shard is screened."""
    sys.meta_path.insert(0, Watch(float(began)))
    sys.argv = ["specter-batch", *arguments]
    from specter_batch.start import main as command

    command()


def main(dump: str, bundle: str, *pythons: str) -> None:
    """Measure the versions in turn, and print a table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from specter_batch.papers.language import is_plain_english

    table = pq.read_table(min(Path(dump).glob("*.parquet")) if Path(dump).is_dir() else dump).slice(0, PAPERS * 5)
    texts = zip(table["title"].to_pylist(), table["abstract"].to_pylist(), strict=True)
    plain = [row for row, (title, abstract) in enumerate(texts) if is_plain_english(f"{title} {abstract}")]
    figures: dict[str, list[dict[str, Any]]] = {python: [] for python in pythons or (sys.executable,)}
    with tempfile.TemporaryDirectory() as folder:
        papers = Path(folder) / "papers.parquet"
        pq.write_table(table.take(pa.array(plain[:PAPERS])), papers)
        # Modules are compiled once, as pip compiles those that it installs.
        compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        compiled["PYTHONPYCACHEPREFIX"] = f"{folder}/compiled"
        for number in range(ROUNDS + 1):
            for python, found in figures.items():
                out = Path(folder) / f"{number}-{len(found)}-{abs(hash(python))}"
                words = ["classify", papers, out, "--bundle", bundle, "--device", "cpu", "--threads", 2]
                script = [python, __file__, "--one", time.time(), *words]
                answer = subprocess.run(list(map(str, script)), capture_output=True, check=True, env=compiled).stdout
                found += [json.loads(answer)] if number else []  # the first round fills the caches of the disk
    print("| version | seconds | CPU seconds | modules |\n|---|---:|---:|---:|")
    for python, found in figures.items():
        wall, cpu = (statistics.median(one[key] for one in found) for key in ("wall", "cpu"))
        lowest, highest = (pick(one["wall"] for one in found) for pick in (min, max))
        print(f"| {python} | {wall:.2f} ({lowest:.2f}–{highest:.2f}) | {cpu:.2f} | {len(found[0]['modules']):,} |")
    print(f"\n{ROUNDS} rounds; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        one(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
