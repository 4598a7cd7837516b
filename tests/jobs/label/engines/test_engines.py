"""Every engine writes the same bytes, and what dies in it costs nothing."""

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from specter_batch.errors import ConfigError
from specter_batch.inputs import parquet_inventory
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.papers.columns import PaperColumns
from specter_batch.training.demo.sample import SamplePaths
from specter_jobs.label import engines
from specter_jobs.label.engines import ProcessEngine, ThreadEngine, open_engine, processes
from specter_jobs.label.engines.messages import WorkerJob
from specter_jobs.label.prepare import ShardPreparer
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.planning import plan_shards
from specter_jobs.plan.sections import Cluster, LabelRules, Model
from specter_jobs.screen.deduplicate import _Decided
from specter_jobs.screen.shard_reader import ShardReader
from support.crash import poisoned
from support.papers_on_disk import RunNight, label_bytes, paper, read_all, write_dump

COPIES_OF_THE_NIGHT = 12


@pytest.fixture(scope="module")
def dump(sample_paths: SamplePaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return some thousand papers in four files, with duplicates and with texts that stand in other shards too."""
    folder = tmp_path_factory.mktemp("engines") / "dump"
    folder.mkdir()
    night = [row for path in sorted(sample_paths.night.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    rows = [
        {
            "paper_id": f"{row['paper_id']}-{copy}",
            "title": f"{row['title']} {copy % (COPIES_OF_THE_NIGHT - 2)}",
            "abstract": row["abstract"],
        }
        for copy in range(COPIES_OF_THE_NIGHT)
        for row in night
        if row["title"]
    ]
    for part in range(4):
        pq.write_table(pa.Table.from_pylist(rows[part::4]), folder / f"part-{part}.parquet")
    return folder


@pytest.fixture(scope="module")
def undisturbed(dump: Path, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the night of one worker."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    subprocess.run(command(dump, out, tiny_bundle), check=True, capture_output=True)
    assert any(row["reused"] for row in read_all(out / "labels"))
    return out


def command(dump: Path, out: Path, bundle: Path, *more: str) -> list[str]:
    arguments = ["classify", str(dump), str(out), "--bundle", str(bundle), "--device", "cpu", "--shard-rows", "40"]
    return [sys.executable, "-m", "specter_batch", *arguments, *more]


def assert_same(out: Path, undisturbed: Path) -> None:
    assert label_bytes(out) == label_bytes(undisturbed)
    assert (out / "report.json").read_bytes() == (undisturbed / "report.json").read_bytes()
    assert (out / "_SUCCESS").exists()


def workers_of(pid: int, name: str) -> list[int]:
    """Return the descendants of a process whose command line holds a name."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            line = Path(f"/proc/{child}/cmdline").read_bytes().decode()
            found += ([int(child)] if name in line else []) + workers_of(int(child), name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def run_and_kill_workers(arguments: list[str], ledger: Path, *, name: str, kills: int) -> tuple[int, str]:
    """Run a night, kill one of its workers each time the ledger has grown, and return exit code and log."""
    rng = random.Random(0)
    log = ledger.parent.parent / "log"
    with log.open("wb") as errors:
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=errors)
    killed, size = 0, 0
    while process.poll() is None:
        if killed < kills and ledger.exists() and ledger.stat().st_size > size:
            size = ledger.stat().st_size
            workers = workers_of(process.pid, name)
            if workers:
                os.kill(rng.choice(workers), signal.SIGKILL)
                killed += 1
        time.sleep(0.02)
    assert killed >= min(kills, 2)
    return process.returncode, log.read_text()


@pytest.mark.parametrize("workers", [2, 4])
def test_any_number_of_workers_gives_the_same_bytes(
    workers: int, dump: Path, undisturbed: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    arguments = command(dump, tmp_path / "out", tiny_bundle, "--workers", str(workers), "--threads", "1")
    subprocess.run(arguments, check=True, capture_output=True)
    assert_same(tmp_path / "out", undisturbed)


def test_workers_killed_in_the_middle_cost_nothing(
    dump: Path, undisturbed: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    arguments = command(dump, tmp_path / "out", tiny_bundle, "--workers", "2", "--threads", "1")
    code, log = run_and_kill_workers(arguments, tmp_path / "out/ledger.jsonl", name="spawn_main", kills=3)
    assert code == 0, log
    assert '"event": "worker lost"' in log
    assert "it was killed by signal 9" in log
    assert_same(tmp_path / "out", undisturbed)


def test_on_ray_the_bytes_are_the_same_whatever_dies(
    dump: Path, undisturbed: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    arguments = command(dump, tmp_path / "out", tiny_bundle, "--engine", "ray", "--workers", "2", "--threads", "1")
    code, log = run_and_kill_workers(arguments, tmp_path / "out/ledger.jsonl", name="RayWorker", kills=2)
    assert code == 0, log
    assert '"event": "worker lost"' in log
    assert_same(tmp_path / "out", undisturbed)


def test_a_killed_driver_takes_its_workers_with_it(dump: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    arguments = command(dump, tmp_path / "out", tiny_bundle, "--workers", "2", "--threads", "1")
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "out/ledger.jsonl").exists():
        time.sleep(0.02)
    workers = workers_of(process.pid, "spawn_main")
    assert len(workers) == 2
    process.kill()
    process.wait()
    for _ in range(100):
        if not any(is_alive(worker) for worker in workers):
            return
        time.sleep(0.1)
    pytest.fail("workers outlived their driver")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_sigterm_ends_a_night_of_several_workers_resumable(
    dump: Path, undisturbed: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    arguments = command(dump, tmp_path / "out", tiny_bundle, "--workers", "2", "--threads", "1")
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (tmp_path / "out/ledger.jsonl").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert errors.strip().splitlines()[-1].startswith("error: interrupted")
    subprocess.run(arguments, check=True, capture_output=True)
    assert_same(tmp_path / "out", undisturbed)


def test_a_paper_that_is_fatal_to_its_worker_costs_its_shard_alone(
    night: RunNight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [paper(i) | ({"title": f"{poisoned.POISON} number {i}"} if i == 7 else {}) for i in range(20)]
    monkeypatch.setattr(processes, "ShardProcess", poisoned.PoisonedProcess)
    result = night(write_dump(tmp_path / "in/a.parquet", rows), shard_rows=2, workers=2, threads=1)
    assert result.exit_code == 3
    ((name, error),) = result.report.failed_shards.items()
    assert "0000000006-000002" in name
    assert "3 workers died while they labelled it, the last one because it was killed by signal 9" in error
    labelled = [row["paper_id"] for row in read_all(tmp_path / "out/labels")]
    assert labelled == [f"p{i}" for i in range(20) if i not in (6, 7)]
    assert not workers_of(os.getpid(), "spawn_main")


def test_a_shard_that_is_fatal_to_its_reader_is_found_among_its_neighbours(
    night: RunNight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [paper(i) | ({"title": f"{poisoned.POISON} number {i}"} if i == 7 else {}) for i in range(20)]
    rows[9] = paper(6)  # its first occurrence is in the shard that cannot be read
    monkeypatch.setattr(processes, "ShardProcess", poisoned.PoisonedReader)
    with caplog.at_level("WARNING"):
        result = night(write_dump(tmp_path / "in/a.parquet", rows), shard_rows=2, workers=2, threads=1)
    assert result.exit_code == 3
    ((name, error),) = result.report.failed_shards.items()
    assert "0000000006-000002" in name
    assert "3 workers died while they read it, the last one because it was killed by signal 9" in error
    assert [row["paper_id"] for row in read_all(tmp_path / "out/labels")] == [
        *(f"p{i}" for i in range(6)), "p8", "p6", *(f"p{i}" for i in range(10, 20))
    ]  # fmt: skip
    lost = [record for record in caplog.records if record.message == "worker lost"]
    assert all(name in record.__dict__["fields"]["shards"] for record in lost)


class Panic(BaseException):
    """What a Rust library raises when it panics: no Exception."""


def test_a_library_that_panics_costs_its_shard_alone(
    night: RunNight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenize = ShardPreparer.tokenize

    def panic(self: ShardPreparer, texts: list[str]) -> Any:
        if any(text.startswith(poisoned.POISON) for text in texts):
            raise Panic("index out of bounds")
        return tokenize(self, texts)

    monkeypatch.setattr(ShardPreparer, "tokenize", panic)
    rows = [paper(i) | ({"title": f"{poisoned.POISON} number {i}"} if i == 3 else {}) for i in range(6)]
    result = night(write_dump(tmp_path / "in/a.parquet", rows), shard_rows=2)
    assert result.exit_code == 3
    assert "Panic: index out of bounds" in next(iter(result.report.failed_shards.values()))
    assert [row["paper_id"] for row in read_all(tmp_path / "out/labels")] == ["p0", "p1", "p4", "p5"]


def test_a_shard_from_another_process_is_read_on_from_where_the_last_one_ended(tmp_path: Path) -> None:
    file = write_dump(tmp_path / "a.parquet", [paper(i) for i in range(30)])
    plan = plan_shards(parquet_inventory(file), columns=PaperColumns(), shard_rows=10)
    reader = ShardReader()
    opened = []
    for shard in plan.shards[:-1]:  # the file's last shard closes it
        reader.read(pickle.loads(pickle.dumps(shard)))  # noqa: S301 - our own bytes
        opened.append(reader._batches)
    assert opened[0] is opened[1]


def test_what_is_known_of_a_shard_travels_without_its_neighbours(tmp_path: Path) -> None:
    known = pa.table({"shard": [0] * 5000 + [1] * 5000, "place": range(10_000), "row": range(10_000)})
    decided = _Decided(known).of(1)
    assert decided["row"].to_pylist() == list(range(5000, 10_000))
    assert len(pickle.dumps(decided)) < 60_000


def config_of(tmp_path: Path, **settings: Any) -> NightConfig:
    return NightConfig.load(
        None, {"dump": "in", "out": tmp_path / "out", "bundle": "bundle", "device": "cpu"} | settings
    )


def opened(config: NightConfig, bundle: ModelBundle) -> Any:
    return open_engine(config.section(Cluster), config.section(Model), config.section(LabelRules), bundle)


def test_one_worker_needs_no_process(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = ModelBundle.open(tiny_bundle)
    assert isinstance(opened(config_of(tmp_path), bundle), ThreadEngine)
    several = opened(config_of(tmp_path, workers=3), bundle)
    assert isinstance(several, ProcessEngine)
    assert (several.n_workers, several.threads, several.kind) == (3, 1, "cpu")


def test_workers_share_the_cards_equally(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, cards = ModelBundle.open(tiny_bundle), [Device(kind="cuda", index=index) for index in (0, 1)]
    jobs: list[Sequence[WorkerJob]] = []
    monkeypatch.setattr(engines, "devices", lambda _: list(cards))
    monkeypatch.setattr(engines, "ProcessEngine", jobs.append)
    opened(config_of(tmp_path), bundle)
    opened(config_of(tmp_path, workers=4), bundle)
    assert [[job.device.index for job in of_engine] for of_engine in jobs] == [[0, 1], [0, 1, 0, 1]]
    with pytest.raises(ConfigError, match=r"--workers 3: 2 GPUs cannot .* give --workers 4, or"):
        opened(config_of(tmp_path, workers=3), bundle)


def test_a_cluster_that_is_not_there_is_a_clear_error(tiny_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    arguments = command(tmp_path, tmp_path / "out", tiny_bundle, "--engine", "ray", "--ray-address", "127.0.0.1:1")
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no Ray cluster 127.0.0.1:1" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_cluster_that_does_not_start_is_a_clear_error(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")

    def init(**_: Any) -> None:
        raise Exception("The current node timed out during startup.\nSee the logs.")  # noqa: TRY002 - Ray raises it so

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ConfigError, match="no Ray cluster on this machine: The current node timed out during startup"):
        opened(config_of(tmp_path, engine="ray"), ModelBundle.open(tiny_bundle))


def test_an_address_without_ray_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--ray-address needs --engine ray"):
        opened(config_of(tmp_path, ray_address="auto"), ModelBundle.open(tiny_bundle))


def test_ray_that_is_not_installed_is_told_with_how_to_install_it(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'specter-batch\[ray\]'"):
        opened(config_of(tmp_path, engine="ray"), ModelBundle.open(tiny_bundle))
