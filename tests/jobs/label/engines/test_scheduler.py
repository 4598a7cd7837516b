"""The scheduler's rules, on an engine that lives in a list."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from specter_batch.errors import BundleError, FingerprintError, ProviderError, ShardError, StorageError
from specter_batch.graph_names import DeviceKind
from specter_jobs.label.engines.messages import SHARDS_AT_ONCE, ShardTask, WorkerEvent, WorkerTask
from specter_jobs.label.engines.scheduler import Scheduler
from specter_jobs.plan.decisions import Decisions, DeduplicatedShard
from specter_jobs.plan.shards import InputFile, Shard
from specter_jobs.workers.events import Done, Failed, Lost, Ready, Started
from specter_jobs.workers.scheduler import MAX_TRIES


def task_of(number: int) -> ShardTask:
    file = InputFile(path=Path("a.parquet"), name="a.parquet", columns={}, group_starts=(0, 100))
    shard = Shard(file=file, start=number, rows=1)
    deduplicated = DeduplicatedShard(shard=shard, number=number, rows_hash="", content="")
    return ShardTask(
        number=number,
        name=shard.name,
        deduplicated=deduplicated,
        decisions=Decisions(duplicates={}, known=pa.table({}), copies={}),
    )


class ListedEngine:
    """Works off one shard at a time, the oldest of the fullest worker, unless `fatal` says that it kills its worker."""

    kind: DeviceKind = "cpu"
    threads = 1
    key_threads = None

    def __init__(self, n_workers: int, *, fatal: Callable[[int, list[int]], bool] = lambda *_: False) -> None:
        self.n_workers = n_workers
        self.fatal = fatal
        self.given: dict[int, list[int]] = {}
        self.asked: list[tuple[int, list[int]]] = []
        self.starts: list[int] = []
        self.coming: list[WorkerEvent] = []

    def start(self, worker: int) -> None:
        self.starts.append(worker)
        self.coming.append(Ready(worker=worker, description={"device": "cpu"}))

    def submit(self, worker: int, task: WorkerTask) -> None:
        self.given.setdefault(worker, []).append(task.number)
        self.asked.append((worker, list(self.given[worker])))

    def events(self, *, wait: bool) -> Sequence[WorkerEvent]:
        if self.coming or not wait:
            events, self.coming = self.coming, []
            return events
        worker = max(self.given, key=lambda worker: len(self.given[worker]))
        number = self.given[worker][0]
        if self.fatal(number, self.given[worker]):
            del self.given[worker]
            return [Lost(worker=worker, why="it was killed by signal 9")]
        self.given[worker].pop(0)
        return [Done(worker=worker, number=number, outcome=ShardError(f"answer {number}"))]

    def close(self) -> None:
        pass


def numbers(scheduler: Scheduler, n_tasks: int) -> dict[int, str]:
    found: dict[int, str] = {}
    for task, outcome in scheduler.outcomes((task_of(number) for number in range(n_tasks)), n_tasks=n_tasks):
        assert task.number not in found
        found[task.number] = str(outcome)
    return found


@pytest.mark.parametrize("n_workers", [1, 2, 5])
@pytest.mark.parametrize("n_tasks", [0, 1, 2, 17])
def test_every_shard_is_answered_once(n_workers: int, n_tasks: int) -> None:
    engine = ListedEngine(n_workers)
    assert numbers(Scheduler(engine), n_tasks) == {number: f"answer {number}" for number in range(n_tasks)}
    assert all(len(running) <= SHARDS_AT_ONCE for _, running in engine.asked)
    assert sorted({number for _, running in engine.asked for number in running}) == list(range(n_tasks))


def test_one_worker_takes_the_shards_in_order() -> None:
    assert list(numbers(Scheduler(ListedEngine(1)), 9)) == list(range(9))


@pytest.mark.parametrize(("n_workers", "n_tasks"), [(2, 4), (2, 5), (4, 4), (3, 7)])
def test_a_worker_that_is_ready_late_still_gets_its_share(n_workers: int, n_tasks: int) -> None:
    class OneByOne(ListedEngine):
        def events(self, *, wait: bool) -> Sequence[WorkerEvent]:
            if self.coming:
                return [self.coming.pop(0)]
            return super().events(wait=wait)

    engine = OneByOne(n_workers)
    numbers(Scheduler(engine), n_tasks)
    taken = Counter(worker for worker, _ in engine.asked)
    assert max(taken.values()) <= -(-n_tasks // n_workers)
    assert len(taken) == n_workers


@pytest.mark.parametrize("n_workers", [1, 2, 4])
def test_a_shard_that_kills_its_workers_is_given_up_and_costs_no_other(
    n_workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    engine = ListedEngine(n_workers, fatal=lambda number, _: number == 4)
    with caplog.at_level(logging.WARNING):
        found = numbers(Scheduler(engine), 12)
    assert {number: error for number, error in found.items() if "answer" not in error} == {
        4: f"a-d479f1e5545a-0000000004-000001: {MAX_TRIES} workers died while they labelled it, the last one "
        "because it was killed by signal 9"
    }
    assert len(found) == 12
    assert len(engine.starts) == n_workers + MAX_TRIES
    assert len([record for record in caplog.records if record.message == "worker lost"]) == MAX_TRIES


def test_two_shards_that_kill_their_workers_do_not_hide_behind_each_other() -> None:
    engine = ListedEngine(2, fatal=lambda number, _: number in (3, 4))
    found = numbers(Scheduler(engine), 10)
    assert [number for number, error in sorted(found.items()) if "workers died" in error] == [3, 4]


def test_a_suspect_runs_with_no_other_beside_it() -> None:
    died_with: list[int] = []

    def once(number: int, running: list[int]) -> bool:
        if number != 6 or died_with:
            return False
        died_with.extend(running)
        return True

    engine = ListedEngine(2, fatal=once)
    found = numbers(Scheduler(engine), 20)
    assert len(found) == 20 and not any("workers died" in error for error in found.values())
    assert len(died_with) == SHARDS_AT_ONCE
    for suspect in died_with:
        assert [running for _, running in engine.asked if suspect in running][-1] == [suspect]


def test_a_shard_may_be_run_again() -> None:
    engine = ListedEngine(2)
    scheduler = Scheduler(engine)
    seen: list[int] = []
    for task, _ in scheduler.outcomes((task_of(number) for number in range(4)), n_tasks=4):
        if task.number == 3 and seen.count(3) < 2:
            scheduler.again(task)
        seen.append(task.number)
    assert sorted(seen) == [0, 1, 2, 3, 3, 3]


def test_a_worker_that_does_not_come_up_is_given_up_and_the_others_go_on() -> None:
    class OneDead(ListedEngine):
        def start(self, worker: int) -> None:
            self.starts.append(worker)
            dead = worker == 0
            event: WorkerEvent = Lost(worker=worker, why="x") if dead else Ready(worker=worker, description={})
            self.coming.append(event)

    engine = OneDead(2)
    assert len(numbers(Scheduler(engine), 5)) == 5
    assert engine.starts == [0, 1, 0, 0]
    alone = OneDead(1)
    with pytest.raises(ProviderError, match="every worker process has died, the last one because x"):
        Scheduler(alone).await_worker()


def test_one_that_cannot_load_where_others_could_is_tried_again_and_given_up() -> None:
    class OneFails(ListedEngine):
        def start(self, worker: int) -> None:
            self.starts.append(worker)
            fails = worker == 1
            error = StorageError("the bundle's store does not answer")
            self.coming.append(Failed(worker=worker, error=error) if fails else Ready(worker=worker, description={}))

    engine = OneFails(2)
    assert len(numbers(Scheduler(engine), 5)) == 5
    assert engine.starts == [0, 1, 1, 1]


def test_another_model_in_one_worker_ends_the_night_though_others_could_go_on() -> None:
    engine = ListedEngine(2)
    scheduler = Scheduler(engine)
    scheduler.await_worker()
    engine.coming = [Failed(worker=1, error=FingerprintError("another model"))]
    with pytest.raises(FingerprintError, match="another model"):
        numbers(scheduler, 5)


def test_a_bundle_that_cannot_run_ends_the_night() -> None:
    engine = ListedEngine(1)
    scheduler = Scheduler(engine)
    engine.coming = [Failed(worker=0, error=BundleError("no graph"))]
    with pytest.raises(BundleError, match="no graph"):
        scheduler.check()


class EarlyEngine(ListedEngine):
    """Takes shards before its worker is ready, or before it turns out that the worker cannot start."""

    def __init__(self, verdict: WorkerEvent) -> None:
        super().__init__(1)
        self.verdict = verdict

    def start(self, worker: int) -> None:
        self.starts.append(worker)
        self.coming.append(Started(worker=worker))

    def submit(self, worker: int, task: ShardTask) -> None:
        super().submit(worker, task)
        self.coming += [self.verdict] if len(self.asked) == 2 else []


def test_a_worker_gets_shards_as_soon_as_it_has_started() -> None:
    engine = EarlyEngine(Ready(worker=0, description={"device": "cpu"}))
    scheduler = Scheduler(engine)
    scheduler.await_worker()
    assert scheduler.descriptions == {}
    found = [task.number for task, _ in scheduler.outcomes(map(task_of, range(5)), n_tasks=5)]
    assert found == [0, 1, 2, 3, 4]
    assert scheduler.descriptions == {0: {"device": "cpu"}}


def test_a_worker_that_has_started_and_cannot_run_ends_the_night() -> None:
    engine = EarlyEngine(Failed(worker=0, error=BundleError("the graph cannot run")))
    scheduler = Scheduler(engine)
    scheduler.await_worker()
    with pytest.raises(BundleError, match="the graph cannot run"):
        list(scheduler.outcomes(map(task_of, range(5)), n_tasks=5))
    assert engine.starts == [0]
