import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from specter_batch.cli import build_app
from specter_batch.errors import BundleError, ConfigError, PaperSchemaError, UsageError
from specter_batch.inputs import parquet_inventory
from specter_batch.model.bundle import ModelBundle
from specter_batch.papers.columns import PaperColumns
from specter_batch.papers.text import paper_text
from specter_batch.training.demo.sample import SamplePaths
from specter_jobs.estimate.estimate import estimate_night
from specter_jobs.estimate.ranges import Range
from specter_jobs.estimate.result import Estimate
from specter_jobs.estimate.sampling import sample_shards
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.planning import plan_shards
from support.papers_on_disk import GERMAN, RunNight, paper, write_dump


def estimate(dump: Path, bundle: Path, **changes: Any) -> Estimate:
    figures = {"papers_per_second": 100.0, "seconds": 0.2, "sample_rows": 2000, "seed": 0, "cost_per_hour": None}
    asked = {name: changes.pop(name, value) for name, value in figures.items()}
    settings = {"dump": str(dump), "out": dump.parent / "never", "bundle": bundle, "device": "cpu"} | changes
    return estimate_night(NightConfig.load(None, settings), **asked)


def dump_of(folder: Path, *, papers: int, files: int = 4) -> Path:
    """Write papers of lengths that rise from file to file, every tenth without abstract."""
    each = papers // files
    for file in range(files):
        rows = []
        for i in range(file * each, (file + 1) * each):
            words = "we studied the outcomes of patients in a cohort " * (1 + i * 8 // papers)
            rows.append(paper(i, abstract=None if i % 10 == 9 else f"{words}{i}"))
        write_dump(folder / f"{file}.parquet", rows)
    return folder


def test_a_night_that_is_read_whole_is_counted_exactly(
    tiny_bundle: Path, sample_paths: SamplePaths, night: RunNight
) -> None:
    found = estimate(sample_paths.night, tiny_bundle)
    rows = night(sample_paths.night).report.rows
    assert found.rows == rows.rows_in
    assert found.papers == Range.exactly(rows.labelled + rows.reused)
    assert sum(found.sample.rejects_by_reason.values()) == rows.rejected
    assert found.wall[0].bound_by == "model"


def test_the_tokens_of_a_sample_are_near_those_of_all_papers(tiny_bundle: Path, tmp_path: Path) -> None:
    dump = dump_of(tmp_path / "in", papers=4000)
    found = estimate(dump, tiny_bundle, sample_rows=800, language="any")
    rows = [
        paper(i, abstract="we studied the outcomes of patients in a cohort " * (1 + i * 8 // 4000) + str(i))
        for i in range(4000)
        if i % 10 != 9
    ]
    bundle = ModelBundle.open(tiny_bundle)
    texts = [paper_text(row["title"], row["abstract"], bundle.text_template) for row in rows]
    truth = sum(len(ids) for ids in bundle.text_encoder().encode(texts))
    total = found.tokens.total
    assert 700 <= found.sample.rows <= 832
    assert found.rows == 4000
    assert found.papers.low <= len(rows) <= found.papers.high
    assert total.low <= truth <= total.high
    assert total.high / total.low < 1.3
    of_the_clock = {name: getattr(found, name) for name in ("fixed_seconds", "wall", "memory")}
    assert found == estimate(dump, tiny_bundle, sample_rows=800, language="any").model_copy(update=of_the_clock)


def test_a_sample_has_rows_of_every_file_and_none_twice(tmp_path: Path) -> None:
    for number, rows in enumerate((500, 3, 200, 90, 1, 700)):
        write_dump(tmp_path / f"in/{number}.parquet", [paper(i) for i in range(rows)])
    plan = plan_shards(parquet_inventory(tmp_path / "in"), columns=PaperColumns(), shard_rows=50)
    drawn = sample_shards(plan, rows=600, seed=3)
    rows = [(shard.file.name, shard.start + i) for shard in drawn for i in range(shard.rows)]
    assert len(rows) == len(set(rows)) >= 400
    assert {"0.parquet", "2.parquet", "5.parquet"} <= {name for name, _ in rows}
    assert all(shard.rows > 0 and shard.start + shard.rows <= shard.file.rows for shard in drawn)
    assert drawn == sample_shards(plan, rows=600, seed=3) != sample_shards(plan, rows=600, seed=4)
    assert sum(shard.rows for shard in sample_shards(plan, rows=10**6, seed=0)) == plan.rows


def test_a_given_rate_makes_the_hours(tiny_bundle: Path, tmp_path: Path) -> None:
    dump = dump_of(tmp_path / "in", papers=400)
    found = estimate(dump, tiny_bundle, papers_per_second=0.1, cost_per_hour=2.0)
    assert not found.model.measured
    assert found.device_hours.estimate == pytest.approx(360 / 0.1 / 3600)
    assert found.cost.estimate == pytest.approx(2.0)
    fixed = found.fixed_seconds.survey + found.fixed_seconds.write
    walls = [wall.seconds.estimate for wall in found.wall]
    assert walls == pytest.approx([fixed + 3600 / devices for devices in (1, 8, 64)])


def test_a_fast_device_waits_for_the_preparation_and_many_for_the_driver(tiny_bundle: Path, tmp_path: Path) -> None:
    found = estimate(dump_of(tmp_path / "in", papers=400), tiny_bundle, papers_per_second=1e9)
    assert found.wall[0].seconds.estimate == pytest.approx(sum(found.fixed_seconds.model_dump().values()))
    assert [wall.bound_by for wall in found.wall][-1] == "survey and writing"
    assert not any(wall.bound_by == "model" for wall in found.wall)


def test_the_model_is_timed_on_the_device(tiny_bundle: Path, tmp_path: Path) -> None:
    model = estimate(dump_of(tmp_path / "in", papers=200), tiny_bundle, papers_per_second=None).model
    assert (model.measured, model.device, model.graph) == (True, "cpu", "model_int8.onnx")
    assert model.slices >= 5
    rate = model.papers_per_second
    assert 0 < rate.low <= rate.estimate <= rate.high


def test_reuse_tells_the_share_that_an_earlier_night_holds(tiny_bundle: Path, tmp_path: Path, night: RunNight) -> None:
    night(write_dump(tmp_path / "in1/a.parquet", [paper(i) for i in range(100)]), out=tmp_path / "one")
    dump = write_dump(tmp_path / "in2/b.parquet", [paper(i) for i in range(50, 150)])
    found = estimate(dump, tiny_bundle, reuse=[tmp_path / "one"], papers_per_second=0.5, cost_per_hour=3.0)
    assert found.reuse.share == Range.exactly(0.5)
    assert found.reuse.papers == 50
    assert found.reuse.device_hours_saved == pytest.approx(100 / 3600)
    assert found.reuse.cost_saved == pytest.approx(300 / 3600)
    assert found.device_hours.estimate == pytest.approx(100 / 3600)
    other = estimate(dump, tiny_bundle, reuse=[tmp_path / "one"], graph="fp32")
    assert (other.reuse.label_files, other.reuse.share.estimate) == (0, 0.0)


def test_the_labels_take_the_room_that_was_told(tiny_bundle: Path, tmp_path: Path, night: RunNight) -> None:
    dump = dump_of(tmp_path / "in", papers=2000, files=1)
    told = estimate(dump, tiny_bundle, papers_per_second=None, shard_rows=2000).output
    night(dump, shard_rows=2000)
    written = sum(path.stat().st_size for path in (tmp_path / "out/labels").iterdir())
    assert told.labels == pytest.approx(written, rel=0.2)  # drawn logits compress worse than those of similar papers
    assert told.label_files == 1


def test_what_cannot_be_estimated_says_why(tiny_bundle: Path, tmp_path: Path) -> None:
    dump = dump_of(tmp_path / "in", papers=40)
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=r"--papers-per-second .*: expected a number above 0"):
            estimate(dump, tiny_bundle, papers_per_second=rate)
    with pytest.raises(ConfigError, match="run ingest first"):
        estimate(dump, tiny_bundle, format="jsonl")
    with pytest.raises(BundleError, match="not a model bundle"):
        estimate(dump, tmp_path)
    with pytest.raises(PaperSchemaError, match="no such file or folder"):
        estimate(tmp_path / "nowhere", tiny_bundle)
    with pytest.raises(PaperSchemaError, match="1 parquet files without a row"):
        estimate(write_dump(tmp_path / "none/a.parquet", []), tiny_bundle)
    german = write_dump(tmp_path / "de/a.parquet", [paper(1, title="Ergebnisse", abstract=GERMAN), paper(2, title=" ")])
    with pytest.raises(PaperSchemaError, match=r"not one of 2 sampled rows would be labelled: .*not_english 1"):
        estimate(german, tiny_bundle)


def test_the_pace_is_that_of_rows_that_can_be_read(tiny_bundle: Path, tmp_path: Path) -> None:
    dump = dump_of(tmp_path / "in", papers=40)
    largest = write_dump(dump / "largest.parquet", [paper(i) for i in range(100, 400)])
    content = bytearray(largest.read_bytes())
    content[4:2000] = bytes(1996)  # the footer stays whole
    largest.write_bytes(content)
    found = estimate(dump, tiny_bundle)
    (error,) = found.sample.unreadable
    assert "largest.parquet" in error
    assert found.fixed_seconds.prepare / found.rows > 1e-6


def test_the_command_prints_a_table_and_json(tiny_bundle: Path, tmp_path: Path) -> None:
    dump = dump_of(tmp_path / "in", papers=100)
    words = ["estimate", str(dump), "--bundle", str(tiny_bundle), "--device", "cpu", "--papers-per-second", "5"]
    shown = CliRunner().invoke(build_app(), [*words, "--cost-per-hour", "1"])
    assert shown.exit_code == 0
    assert "papers     90 to label" in shown.stdout
    assert "64 devices" in shown.stdout
    found = json.loads(CliRunner().invoke(build_app(), [*words, "--json"]).stdout)
    assert (found["rows"], found["papers"]["estimate"]) == (100, 90)
    assert not (tmp_path / "never").exists()


def test_the_command_takes_the_options_of_a_night_that_reject_papers(tiny_bundle: Path, tmp_path: Path) -> None:
    write_dump(tmp_path / "in.parquet", [paper(i, abstract=GERMAN if i % 2 else "ok") for i in range(20)])
    words = ["estimate", str(tmp_path / "in.parquet"), "--bundle", str(tiny_bundle), "--device", "cpu", "--json"]
    asked = [*words, "--papers-per-second", "5", "--language", "any", "--min-characters", "60"]
    found = json.loads(CliRunner().invoke(build_app(), asked).stdout)
    assert found["sample"]["rejects_by_reason"] == {"too_short": 10}
    assert found["papers"]["estimate"] == 10


def test_a_seed_that_no_generator_takes_is_wrong_usage(tiny_bundle: Path, tmp_path: Path) -> None:
    write_dump(tmp_path / "in.parquet", [paper(i) for i in range(20)])
    words = ["estimate", str(tmp_path / "in.parquet"), "--bundle", str(tiny_bundle), "--device", "cpu", "--seed", "-1"]
    error = CliRunner().invoke(build_app(), words).exception
    assert isinstance(error, UsageError)
    assert str(error) == "--seed: expected at least 0, got -1"
