"""Benchmarks that look inside the job, each run whole on little input: they break when what they look at moves."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from specter_batch.training.demo.sample import SamplePaths, make_papers

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
GOLDEN_BUNDLE = Path(__file__).parents[1] / "golden/bundle_v1"
reads_proc = pytest.mark.skipif(sys.platform != "linux", reason="peak memory of a stage is read from Linux's /proc")


def printed(script: str, *words: str | Path) -> str:
    command = [sys.executable, str(BENCHMARKS / script), *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def table_rows(page: str) -> dict[str, list[str]]:
    """Return the cells behind the first, by it; without the head."""
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("|")]
    return {cells[0]: cells[1:] for cells in lines[2:]}


@reads_proc
def test_ceiling_compares_two_checkouts_and_times_every_stage(tiny_bundle: Path, sample_paths: SamplePaths) -> None:
    page = printed("ceiling.py", sample_paths.night, tiny_bundle, "--against", sys.executable)
    nights, stages = page.split("| stage |")
    assert set(table_rows(nights)) == {"this checkout", "the other"}
    assert "label files and rejects are equal" in stages
    times = {stage: float(cells[0]) for stage, cells in table_rows("| stage |" + stages).items()}
    assert {"deduplicate", "language", "tokenize", "write"} <= {
        stage for stage, seconds in times.items() if seconds > 0
    }


def test_language_tells_speed_and_every_difference(sample_paths: SamplePaths) -> None:
    assert f"{sample_paths.n_val} of {sample_paths.n_val} on English or not" in printed("language.py", sample_paths.val)


def test_dataframe_times_each_way_and_the_memory_of_a_stream(sample_paths: SamplePaths) -> None:
    words = ("--papers", "20", "--rounds", "2", "--stream", "100", "--threads", "1")
    page = printed("dataframe.py", GOLDEN_BUNDLE, sample_paths.val, *words)
    assert list(table_rows(page)) == ["session", "tokenizer and session", "predict, any language", "predict"]
    assert "100 rows: peak" in page


@reads_proc
def test_many_shards_goes_through_every_stage_at_every_size(tiny_bundle: Path, tmp_path: Path) -> None:
    rows = table_rows(printed("many_shards.py", tiny_bundle, tmp_path / "work", "20", "200"))
    nights = [stage for stage in rows if stage.endswith("**whole**")]
    assert [night.partition(":")[0] for night in nights] == ["first night", "run again", "next night, reuse"]
    assert "verify" in rows
    assert float(rows["ledger.jsonl, MB"][1]) > float(rows["ledger.jsonl, MB"][0])


@reads_proc
def test_many_papers_decides_with_and_without_an_earlier_night(tmp_path: Path) -> None:
    page = printed("many_papers.py", tmp_path / "work", "20000")
    assert [line.split(" | ")[1] for line in page.splitlines()[2:]] == ["first", "99 % known"]


@reads_proc
def test_survey_decides_the_same_with_every_number_of_workers(
    tiny_bundle: Path, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    page = printed("survey.py", sample_paths.night, tiny_bundle, tmp_path, "--copies", "2", "--rounds", "1")
    rows = [line.split(" | ")[1:3] for line in page.splitlines() if line.startswith("| this")]
    assert rows == [["1", "1"], ["1", "2"], ["2", "1"]]
    assert page.strip().endswith("the decisions of all runs are the same")


def test_embeddings_compares_both_ways(tiny_bundle: Path, sample_paths: SamplePaths, tmp_path: Path) -> None:
    page = printed("embeddings.py", tiny_bundle, sample_paths.val, tmp_path, "--papers", "8", "--rounds", "1")
    rows = table_rows(page)
    assert float(rows["with"][2]) > float(rows["without"][2]) > 0
    assert "CPU time with vectors / without" in page


def test_certificate_counts_broken_promises_of_real_and_simulated_papers(tiny_bundle: Path, tmp_path: Path) -> None:
    pq.write_table(make_papers(n_papers=900, seed=77), tmp_path / "papers.parquet")
    words = ("--splits", "2", "--simulated", "20")
    page = printed("certificate.py", tiny_bundle, tmp_path / "papers.parquet", tmp_path / "logits.npz", *words)
    real, _, simulated = page.partition("simulated certificates")
    assert list(table_rows(real)) == ["300"]
    assert list(table_rows(simulated)) == ["300", "700", "1,000", "2,000", "4,000"]
    assert table_rows(simulated)["4,000"][1] == "0.50%"


def test_json_streams_reads_every_paper_and_names_what_damages_cost(tmp_path: Path) -> None:
    papers, works = tmp_path / "papers.json", tmp_path / "works.json"
    papers.write_text(json.dumps({"a": {"title": "One"}, "b": {"title": "Two"}}))
    works.write_text(json.dumps({"message": {"items": [{"title": ["One"]}]}}))
    page = printed("json_streams.py", tmp_path / "work", papers, works, "--megabytes", "0.01", "--rounds", "1")
    speeds, _, damages = page.partition("| damage |")
    assert speeds.count(" | ours | ") == speeds.count(" | json.load | ") == 2
    assert "| a number of 5,000 digits | 20,001 papers, the damaged one as {'title': 'a', 'n': inf} |" in damages
    assert "| a missing comma | 10,000 papers, then PaperSchemaError: not valid JSON at character" in damages


def test_object_stores_times_every_client_that_is_installed() -> None:
    page = printed("object_stores.py", "--objects", "20", "--rounds", "1")
    for what in ("list", "put and get", "parquet", "import s3fs"):
        assert f"| {what} | ours | " in page


def test_warm_nights_compares_a_night_of_changed_papers_with_one_without_earlier_labels(
    tiny_bundle: Path, sample_paths: SamplePaths
) -> None:
    run = "import sys, warm_nights as it; it.ROUNDS, it.SAMPLE = 1, 20; it.main(*sys.argv[1:])"
    command = [sys.executable, "-c", run, str(sample_paths.night), str(tiny_bundle)]
    page = subprocess.run(command, check=True, capture_output=True, text=True, cwd=BENCHMARKS / "versions").stdout
    (cells,) = table_rows(page).values()
    assert len(cells) == 10
    assert all(float(cell.strip("%")) >= 0 for cell in cells)
    assert "computed from" in page


def test_epoch_trains_in_every_way_and_counts_padding(tiny_encoder: Path, sample_paths: SamplePaths) -> None:
    words = ("--papers", "32", "--tokens", "96", "--rounds", "1")
    rows = table_rows(printed("training/epoch.py", tiny_encoder, sample_paths.val, *words))
    padded, dynamic, with_dropout, ours = (int(cells[0].replace(",", "")) for cells in rows.values())
    assert padded == 32 * 96 >= dynamic >= ours == with_dropout > 0
    assert float(rows["specter-batch train"][3].split()[0]) == 1
