"""Another bundle is put where the run's bundle was: no label of the other model is kept."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from specter_batch.errors import FingerprintError
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.manifest import MANIFEST_FILE, REFERENCE_FILE, BundleManifest
from specter_batch.storage.files import file_sha256
from specter_batch.storage.folder_swap import replace_folder
from specter_jobs.label.engines import open_engine
from specter_jobs.label.engines.scheduler import Scheduler
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.sections import Cluster, LabelRules, Model
from support.papers_on_disk import RunNight, label_bytes, paper, write_dump


def command(dump: Path, out: Path, bundle: Path) -> list[str]:
    arguments = ["classify", str(dump), str(out), "--bundle", str(bundle), "--device", "cpu", "--shard-rows", "20"]
    return [sys.executable, "-m", "specter_batch", *arguments]


def workers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def other_model(bundle: Path, folder: Path) -> Path:
    """Copy a bundle and give it another fingerprint, sealed as export would seal it."""
    shutil.copytree(bundle, folder)
    raw = json.loads((folder / MANIFEST_FILE).read_text())
    raw["temperature"] *= 2
    manifest = BundleManifest.model_validate(raw)
    raw["fingerprint"] = manifest.expected_fingerprint()
    (folder / MANIFEST_FILE).write_text(json.dumps(raw))
    return folder


def with_other_reference(bundle: Path, folder: Path) -> Path:
    """Copy a bundle and change what drift is measured against: the labels and the fingerprint stay the same."""
    shutil.copytree(bundle, folder)
    reference = json.loads((folder / REFERENCE_FILE).read_text())
    (folder / REFERENCE_FILE).write_text(json.dumps(reference | {"mean_score": 0.123}))
    raw = json.loads((folder / MANIFEST_FILE).read_text())
    raw["files"][REFERENCE_FILE] = file_sha256(folder / REFERENCE_FILE)
    (folder / MANIFEST_FILE).write_text(json.dumps(raw))
    return folder


def with_changed_bytes(name: str) -> Callable[[Path, Path], Path]:
    def make(bundle: Path, folder: Path) -> Path:
        shutil.copytree(bundle, folder)
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")
        return folder

    return make


REPLACEMENTS = {
    "another model": other_model,
    "another reference": with_other_reference,
    "half copied": with_changed_bytes("model_int8.onnx"),
    "other tokenizer": with_changed_bytes("tokenizer.json"),
    "other training texts": with_changed_bytes("seen_texts.npy"),
}


# One worker in the process of the driver uses the bundle that the driver has opened, and reads only these files later.
READ_LATER = ("half copied", "other tokenizer")
KINDS = [
    *(("local", name) for name in READ_LATER),
    *(("processes", name) for name in REPLACEMENTS),
    ("ray", "another model"),
]


@pytest.mark.parametrize(("kind", "replacement"), KINDS)
def test_a_bundle_that_is_replaced_before_a_worker_opens_it_ends_the_night(
    kind: str, replacement: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    if kind == "ray":
        pytest.importorskip("ray")
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    bundle = ModelBundle.open(tmp_path / "bundle")
    settings = {"local": {}, "processes": {"workers": 2}, "ray": {"engine": "ray"}}[kind]
    config = NightConfig.load(
        None,
        {"dump": "in", "out": tmp_path / "out", "bundle": tmp_path / "bundle", "device": "cpu", "threads": 1}
        | settings,
    )
    other = REPLACEMENTS[replacement](tmp_path / "bundle", tmp_path / "other")
    shutil.rmtree(tmp_path / "bundle")
    other.rename(tmp_path / "bundle")
    with (
        closing(open_engine(*map(config.section, (Cluster, Model, LabelRules)), bundle)) as engine,
        pytest.raises(FingerprintError, match=r"is not the bundle that the run started with .* put that bundle back"),
    ):
        list(Scheduler(engine).outcomes((), n_tasks=1))


def test_a_worker_that_finds_another_model_after_a_restart_ends_the_night(tiny_bundle: Path, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(2000)])
    place = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    kept = Path(shutil.copytree(tiny_bundle, tmp_path / "kept"))
    other = other_model(tiny_bundle, tmp_path / "other")
    out = tmp_path / "out"
    arguments = [*command(dump, out, place), "--workers", "2", "--threads", "1"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (out / "ledger.jsonl").exists():
        time.sleep(0.02)
    replace_folder(other, place)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    last = errors.strip().splitlines()[-1]
    assert last.startswith(f"error: {place}: is not the bundle that the run started with (its fingerprint was"), errors
    assert not (out / "_SUCCESS").exists()
    replace_folder(kept, place)
    subprocess.run(arguments, check=True, capture_output=True)
    plain = tmp_path / "plain"
    subprocess.run(command(dump, plain, place), check=True, capture_output=True)
    assert label_bytes(out) == label_bytes(plain)


def test_a_bundle_that_is_replaced_while_one_worker_runs_changes_nothing(
    night: RunNight, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    other = other_model(tiny_bundle, tmp_path / "other")
    papers = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(20)])
    expected = night(papers, out=tmp_path / "expected", shard_rows=5)
    await_worker = Scheduler.await_worker

    def replace(scheduler: Scheduler) -> None:
        await_worker(scheduler)
        while not scheduler.descriptions:  # the model is still loading
            scheduler.check()
        if (tmp_path / "other").exists():
            replace_folder(other, place)
            shutil.rmtree(other)

    monkeypatch.setattr(Scheduler, "await_worker", replace)
    found = night(papers, out=tmp_path / "found", bundle=place, shard_rows=5)
    assert not (tmp_path / "other").exists()
    assert found.report.drift.reference == expected.report.drift.reference
    columns = ["paper_id", "label", "score"]
    tables = [
        pq.read_table(tmp_path / name / "labels").select(columns).sort_by("paper_id") for name in ("expected", "found")
    ]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("replacement", [name for name in REPLACEMENTS if name not in READ_LATER])
def test_one_worker_in_this_process_uses_the_bundle_as_it_was_opened(
    replacement: str, night: RunNight, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    papers = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(20)])
    expected = night(papers, out=tmp_path / "expected")
    opened = []

    def replace(kind: type[ModelBundle], folder: Path, place: Path) -> ModelBundle:
        opened.append(open_local(kind, folder, place))
        replace_folder(REPLACEMENTS[replacement](folder, tmp_path / "other"), folder)
        return opened[-1]

    open_local = ModelBundle._open_local.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(ModelBundle, "_open_local", classmethod(replace))
    found = night(papers, out=tmp_path / "found", bundle=place)
    assert len(opened) == 1
    assert found.report.drift.reference == expected.report.drift.reference
    assert label_bytes(tmp_path / "found") == label_bytes(tmp_path / "expected")
