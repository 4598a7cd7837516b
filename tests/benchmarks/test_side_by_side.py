"""All of `side_by_side.py` on the tiny model: every way a process of its own, in turns, and what is made of it."""

import json
import os
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import side_by_side
from contest.contenders import CPU, CUDA, JOB, REFERENCE, SESSION, STUDENT_HALF, STUDY
from contest.targets import judge
from measuring.bench_papers import read_usable, with_turns

from specter_batch.errors import ConfigError
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.papers.text import paper_text
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.run.folder import TrainingRun
from support.drawings import assert_readable_in_dark_and_light, elements

BENCHMARKS = Path(side_by_side.__file__).parent
TIMED, COMPARED, ROUNDS = 24, 40, 2


@pytest.fixture(scope="module")
def out(
    tiny_run: TrainingRun, tiny_bundle: Path, sample_paths: SamplePaths, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of a benchmark on a machine that has no OpenVINO."""
    folder = tmp_path_factory.mktemp("bench")
    missing = folder / "missing"
    missing.mkdir()
    (missing / "openvino.py").write_text("raise ModuleNotFoundError(\"No module named 'openvino'\")\n")
    arguments = [str(tiny_run.path), str(tiny_bundle), str(sample_paths.val), str(folder / "out")]
    settings = ["--papers", str(TIMED), "--compare", str(COMPARED), "--rounds", str(ROUNDS)]
    only = ["--only", STUDY, "openvino_bf16", STUDENT_HALF, SESSION, JOB]
    subprocess.run(
        [sys.executable, str(BENCHMARKS / "side_by_side.py"), *arguments, *settings, *only],
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(missing), os.environ.get("PYTHONPATH", "")])},
    )
    return folder / "out"


@pytest.fixture(scope="module")
def found(out: Path) -> Any:
    return json.loads((out / "bench.json").read_text())


def test_all_ways_take_turns_and_the_reference_is_always_one_of_them(found: Any) -> None:
    assert found["order"] == [STUDY, REFERENCE, STUDENT_HALF, SESSION, JOB] * ROUNDS
    assert found["rounds"] == ROUNDS


def test_each_way_is_told_with_its_median_and_range(found: Any) -> None:
    for one in found["contenders"].values():
        speed = one["papers_per_second"]
        assert len(one["rates"]) == ROUNDS
        assert (speed["low"], speed["high"]) == (min(one["rates"]), max(one["rates"]))
        assert 0 < speed["low"] <= speed["median"] <= speed["high"]
        assert one["cpu_ms"]["median"] >= 0
        assert one["load_seconds"]["low"] > 0


def test_a_slow_way_does_fewer_papers_of_nearly_the_same_length(found: Any) -> None:
    papers = {key: one["papers"] for key, one in found["contenders"].items()}
    assert papers == {STUDY: 8, REFERENCE: 8, STUDENT_HALF: TIMED, SESSION: TIMED, JOB: TIMED}
    study, session = (found["contenders"][key]["mean_tokens"] for key in (STUDY, SESSION))
    assert study == pytest.approx(session, rel=0.1)


def test_peak_memory_is_that_of_the_way_and_not_of_who_measures_it(found: Any) -> None:
    peaks = {key: one["peak_mb"]["high"] for key, one in found["contenders"].items()}
    assert found["least_peak_mb"] < 0.9 * min(peaks.values())
    assert peaks[STUDY] > peaks[SESSION] + 50  # Torch is loaded there, and there alone
    assert max(peaks.values()) < 3000


def test_ratios_are_those_of_the_same_round(found: Any) -> None:
    job, study = (found["contenders"][key]["rates"] for key in (JOB, STUDY))
    times = found["contenders"][JOB]["times_study"]
    assert sorted([times["low"], times["high"]]) == pytest.approx(
        sorted(a / b for a, b in zip(job, study, strict=True))
    )
    assert found["contenders"][STUDY]["times_study"]["median"] == 1


def test_changed_labels_are_counted_against_fp32(found: Any, tiny_bundle: Path, sample_paths: SamplePaths) -> None:
    bundle = ModelBundle.open(tiny_bundle)
    table = with_turns(
        read_usable(sample_paths.val, most=COMPARED), bundle.text_encoder(), template=bundle.text_template
    )
    texts = [paper_text(row["title"], row["abstract"], bundle.text_template) for row in table.to_pylist()]
    token_ids = bundle.text_encoder().encode(texts)
    fp32, job = (
        OnnxClassifier(bundle, device=Device(kind="cpu"), precision=precision).predict(token_ids).label_id
        for precision in ("fp32", "int8")
    )
    changed = found["contenders"][SESSION]["labels_changed"]
    assert changed == {"papers": COMPARED, "changed": int((fp32 != job).sum()), "share": float((fp32 != job).mean())}
    assert found["contenders"][REFERENCE]["labels_changed"] == {"papers": COMPARED, "changed": 0, "share": 0.0}
    assert found["contenders"][JOB]["labels_changed"]["papers"] == TIMED
    assert found["contenders"][STUDY]["labels_changed"] == {"papers": 8, "changed": 0, "share": 0.0}
    # A student of random layers gives any labels.
    assert (found["contenders"][STUDENT_HALF]["labels_changed"], found["contenders"][STUDENT_HALF]["macro_f1"]) == (
        None,
    ) * 2
    assert found["contenders"][REFERENCE]["macro_f1"] > 0.5  # the tiny run has learned the sample


def test_targets_are_judged_from_the_figures(found: Any) -> None:
    assert found["targets"] == judge(found["contenders"], trained=True)
    by_name = {target["name"]: target for target in found["targets"]}
    study = by_name["the job against the study's loop"]
    assert study["found"] == found["contenders"][JOB]["times_study"]["median"]
    assert study["reached"] == (study["found"] >= 6)
    assert by_name["the job against OpenVINO bf16"]["reached"] is None


def test_a_way_whose_package_is_missing_is_left_out_and_told(found: Any, out: Path) -> None:
    assert "openvino_bf16" not in found["contenders"]
    assert found["skipped"]["openvino_bf16"] == "No module named 'openvino'; see benchmarks/contest/peers.py"
    assert "Not measured: openvino_bf16 (No module named 'openvino'" in (out / "bench.md").read_text()


def test_the_table_has_a_row_for_each_way_and_target(found: Any, out: Path) -> None:
    page = (out / "bench.md").read_text()
    for one in found["contenders"].values():
        assert f"\n| {one['title']} | " in page
    for target in found["targets"]:
        assert f"\n| {target['name']} | at " in page
    assert f"medians of {ROUNDS} rounds" in page
    assert found["machine"]["processor"] in page


def test_the_picture_has_a_bar_of_speed_and_one_of_memory_for_each_way(found: Any, out: Path) -> None:
    picture = (out / "bench.svg").read_text()
    svg = "{http://www.w3.org/2000/svg}"
    bars = [bar for kind in ("ours", "peer") for bar in elements(picture, f"{svg}rect", kind)]
    assert len(bars) == 2 * len(found["contenders"])
    assert len(elements(picture, f"{svg}rect", "ours")) == 2 * 3  # the student, the session and the job
    assert "href" not in picture
    assert "url(" not in picture
    assert_readable_in_dark_and_light(picture)


def test_a_bundle_of_another_run_is_refused(
    tiny_run: TrainingRun, tiny_bundle: Path, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    other = shutil.copytree(tiny_run.path, tmp_path / "run")
    record = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(record | {"temperature": record["temperature"] + 1}))
    arguments = Namespace(run=other, bundle=tiny_bundle, device="cpu", source=sample_paths.val, out=tmp_path / "out")
    with pytest.raises(ConfigError, match=r"expected a bundle exported from .*, whose temperature is"):
        side_by_side.measure(arguments)


def test_a_way_that_the_device_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(ConfigError, match="torch_fp16: not on cpu; it has study_loop, torch_bf16"):
        side_by_side.keys_of(Namespace(device="cpu", only=["torch_fp16", JOB]))
    assert side_by_side.keys_of(Namespace(device="cuda", only=["torch_fp16"])) == ["torch_fp16", REFERENCE]


def test_the_same_keys_mean_the_same_on_every_device() -> None:
    for key in set(CPU) & set(CUDA) - {REFERENCE, SESSION}:
        assert CPU[key].title == CUDA[key].title
    for device_ways in (CPU, CUDA):
        assert {STUDY, REFERENCE, SESSION, JOB} <= set(device_ways)
        assert list(device_ways)[-1] == JOB
