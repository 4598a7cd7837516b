"""What pages show for papers and models of one's own runs as it stands there too, on tiny ones laid where it looks."""

import gzip
import json
import re
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.main import get_command

from specter_batch.cli import build_app
from specter_batch.training.demo.sample import SamplePaths, make_papers
from specter_batch.training.papers.parts.account import SplitSettings
from specter_batch.training.papers.parts.split import split_papers
from specter_batch.training.run.folder import TrainingRun
from support.dumps.shown import DUMPS, OPENALEX
from support.pages import PAGES, ROOT, blocks, commands, run_in_new_process, run_ours, run_python, scripts
from support.scidocs_on_disk import make_scidocs

# Blocks that tests/jobs/night/test_object_storage.py and tests/hub/test_hub_bundles.py run, against servers.
RUN_ELSEWHERE = {("docs/object-storage.md", "sh"), ("docs/bundle.md", "sh")}
NOT_RUN = {
    "specter-batch classify papers/ nights/{date} --bundle bundles/mesh --device cuda": "needs a card",
    "specter-batch classify papers/ nights/{date} --bundle bundles/mesh --device cuda:all": "needs cards",
    "specter-batch classify papers/ nights/{date} --bundle bundles/mesh --device cuda --workers 2": "needs a card",
    "specter-batch classify /data/papers /data/nights/{date} --bundle /data/bundle --engine ray --ray-address auto": (
        "needs a Ray cluster that runs already"
    ),
}
# Pages whose commands are ways to do one thing: each gets a folder of its own, or it would find the work done.
WAYS = {"docs/scaling-out.md", "docs/dumps/crossref.md", "docs/dumps/tables.md"}
# Pages whose blocks of Python are the cells of one notebook.
NOTEBOOKS = {"docs/notebook.md"}
# By command what is added to it: an encoder in place of the default, which would have to be fetched, and less to do.
# The last of two equal options counts: few papers cannot rule out a small loss, and the small model has two layers.
ADDED = {
    "train": " --encoder encoder --epochs 1",
    "estimate": " --seconds 1",
    "compare-models": " --max-f1-loss 1",
}
ADDED_TO_EXAMPLES = {**ADDED, "baseline": " --encoder encoder", "distill": " --layers 1"}
COMMANDS: Mapping[str, Any] = get_command(build_app()).commands  # type: ignore[attr-defined]
# What the examples of a command write.
WRITTEN = {"split": "parts", "train": "run", "export": "bundle", "ingest": "papers", "classify": "night"}

# An id of the demo that a page shows, and one of the smaller sample here.
IDS = ("sample-001129", "sample-000641")

# Files and folders to copy, and texts, by their places.
Things = Mapping[str, Path | str]


def steps(page: str) -> list[tuple[Callable[[str], None], str]]:
    """Return in order, with how to run it, the Python and the commands that are not for the folder of `make demo`."""
    found: list[tuple[Callable[[str], None], str]] = []
    if page in NOTEBOOKS:
        return [(run_python, "\n".join(text for language, text in blocks(page) if language == "python"))]
    for language, text in blocks(page):
        if language == "python":
            if text in scripts(page).values():
                continue  # tests/e2e/test_warehouses.py runs the scripts
            found.append((run_python, text))
        elif language != "bash" and (page, language) not in RUN_ELSEWHERE:
            lines = [line for line in commands(text) if "specter-batch " in line]
            found += [(run_ours, line) for line in lines if line not in NOT_RUN]
    return found


@pytest.fixture(scope="module")
def night(tiny_bundle: Path, sample_paths: SamplePaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the output of a night."""
    folder = tmp_path_factory.mktemp("night")
    line = f"specter-batch classify {sample_paths.night} out --bundle {tiny_bundle}"
    code, said = run_in_new_process(run_ours, line, folder)
    assert code == 0, said
    return folder / "out"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return labelled papers with a column of journals. No other file here holds them."""
    papers = make_papers(n_papers=400, seed=5)
    journals = pa.array([f"Journal {number % 70}" for number in range(papers.num_rows)])
    file = tmp_path_factory.mktemp("labelled") / "papers.parquet"
    pq.write_table(papers.append_column("journal", journals), file)
    return file


@pytest.fixture(scope="module")
def taken_for_granted(
    tiny_encoder: Path, tiny_run: TrainingRun, tiny_bundle: Path, sample_paths: SamplePaths, night: Path, labelled: Path
) -> Mapping[str, Things]:
    """Return by page what is there before its first command."""
    papers = sample_paths.night
    bundles = {"bundles/mesh": tiny_bundle, "bundles/sample": tiny_bundle}
    scidocs = {
        "scidocs/papers/mesh/train.parquet": sample_paths.train,
        "scidocs/papers/mesh/val.parquet": sample_paths.val,
        "scidocs/papers/mesh/test.parquet": sample_paths.val,
        "encoder": tiny_encoder,
    }
    today = datetime.now(UTC).date()
    deployed = {
        "etc/specter-batch/nightly.toml": ROOT / "jobs/configs/nightly.toml",
        "data/bundle": tiny_bundle,
        # Midnight may come before the command does.
        **{f"data/papers/date={today + timedelta(days=later)}": papers for later in range(2)},
    }
    int8 = ROOT / "export/recipes/cpu-int8.toml"
    return {
        "README.md": {"demo/papers/night": papers, "nights/2026-11-23": night, **bundles},
        "docs/audit.md": {"papers": papers, **bundles},
        "docs/backfill.md": {
            "dumps/all": papers,
            **{f"data/papers/date=2026-11-{day}": papers for day in (20, 21)},
            **bundles,
        },
        "docs/benchmarks.md": {"runs/random": tiny_run.path, "runs/random/int8.toml": int8},
        "docs/bundle.md": bundles,
        "docs/capacity.md": {"dumps/openalex/papers": papers, "nights/2026-11-22": night, **bundles},
        "docs/certificate.md": {"runs/mesh": tiny_run.path, "papers": papers},
        "docs/evaluation.md": {
            **scidocs,
            **bundles,
            "bundles/old": tiny_bundle,
            "bundles/new": tiny_bundle,
            "test.parquet": sample_paths.val,
        },
        "docs/failed-night.md": {"data/nights/2026-11-22": night},
        "docs/files.md": {"papers": papers, **bundles},
        "docs/gpu.md": {"papers": papers, **bundles},
        "docs/look-into-a-night.md": {
            "demo/papers/night": papers,
            "nights/2026-11-23": night,
            **bundles,
        },
        "docs/nightly.md": deployed,
        "docs/notebook.md": {"demo/papers/night": papers, "demo/bundle": tiny_bundle},
        "docs/python.md": {"papers": papers, "test.parquet": sample_paths.val, "bundle": tiny_bundle},
        "docs/scaling-out.md": {"papers": papers, **bundles},
        "docs/trusted-score.md": {"papers.parquet": labelled, "encoder": tiny_encoder, "bundles/old": tiny_bundle},
        "docs/tutorial.md": {**scidocs, **bundles, **deployed, **OPENALEX},
        "docs/training.md": {"runs/mesh": tiny_run.path},
        "docs/upgrade.md": {
            "bundles/old": tiny_bundle,
            "bundles/new": tiny_bundle,
            "test.parquet": sample_paths.val,
            "papers": papers,
            "nights/2026-11-22": night,
        },
        "docs/vectors.md": {"papers": papers, **bundles},
        "docs/warehouse.md": {"papers": papers, "nights/2026-11-22": night, **bundles},
        **{page: {**files, **bundles} for page, files in DUMPS.items()},
    }


def lay(folder: Path, things: Things) -> None:
    for name, thing in things.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(thing, str):
            place.write_bytes(gzip.compress(thing.encode()) if place.suffix == ".gz" else thing.encode())
        elif thing.is_dir():
            shutil.copytree(thing, place)
        else:
            shutil.copy(thing, place)


@pytest.mark.parametrize("page", [page for page in PAGES if steps(page)])
def test_what_a_page_shows_runs(page: str, taken_for_granted: Mapping[str, Things], tmp_path: Path) -> None:
    for number, (runs, shown) in enumerate(steps(page)):
        folder = tmp_path / (f"way-{number}" if page in WAYS else "folder")
        if not folder.exists():
            folder.mkdir()
            lay(folder, taken_for_granted.get(page, {}))
        here = shown
        if runs is run_ours:
            assert shown.startswith("specter-batch "), f"{page}: a command has to begin its line, to be run: {shown}"
            here = re.sub(r"(?<=[ \"])/(?=data/|etc/)", f"{folder}/", shown) + ADDED.get(shown.split()[1], "")
            here = here.replace(*IDS)
        code, said = run_in_new_process(runs, here, folder)
        assert code == 0, f"{page}: {here}\n{said[-2000:]}"
    # An ingest that keeps no paper ends well too.
    accounts = [json.loads(path.read_text()) for path in tmp_path.rglob("ingest.json")]
    assert all(account["records"]["papers"] for account in accounts), accounts


@pytest.fixture(scope="module")
def asked_for(
    tiny_encoder: Path,
    tiny_run: TrainingRun,
    tiny_bundle: Path,
    sample_paths: SamplePaths,
    night: Path,
    labelled: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Things:
    """Return what is there before the examples of a help page."""
    csv = "Title\tabstract\tpaper_id\nA title\tAn abstract of a paper in English.\tp1\n"
    record = {"paper_id": "p1", "title": "A title", "abstract": "An abstract of a paper in English."}
    today = datetime.now(UTC).date()
    parts = tmp_path_factory.mktemp("split") / "parts"
    split_papers(labelled, parts, SplitSettings())
    return {
        "papers.parquet": labelled, "parts": parts,
        "papers": sample_paths.night, "night": night, "night-before": night,
        "run": tiny_run.path, "bundle": tiny_bundle, "encoder": tiny_encoder,
        "train.parquet": sample_paths.train, "val.parquet": sample_paths.val, "test.parquet": sample_paths.val,
        "papers.csv": csv, "papers.jsonl": json.dumps(record) + "\n",
        f"nights/{today - timedelta(days=1)}": night,
    }  # fmt: skip


# The demo and the upload have tests of their own.
@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"demo", "push"}))
def test_the_examples_of_a_help_page_run(command: str, asked_for: Things, tmp_path: Path) -> None:
    for number, line in enumerate(COMMANDS[command].epilog.splitlines()):
        folder = tmp_path / f"example-{number}"
        lay(folder, {name: thing for name, thing in asked_for.items() if name != WRITTEN.get(command)})
        make_scidocs().write(folder / "scidocs/data")
        code, said = run_in_new_process(run_ours, line + ADDED_TO_EXAMPLES.get(command, ""), folder)
        assert code == 0, f"{line}\n{said[-2000:]}"


def test_what_is_not_run_stands_on_a_page() -> None:
    assert NOT_RUN.keys() <= {line for page in PAGES for _, text in blocks(page) for line in commands(text)}
