import json
import time
from pathlib import Path
from typing import Any

import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

from specter_batch.errors import ShardError
from specter_batch.model.device import Device
from specter_batch.model.predictions import OnnxClassifier
from specter_jobs.inspect.status import night_status, status_lines
from specter_jobs.label.prepare import ShardPreparer
from specter_jobs.output.folder import output_folder
from specter_jobs.output.ledger import read_entries
from specter_jobs.plan.decisions import DeduplicatedShard
from support.papers_on_disk import RunNight, paper, read_all, write_dump
from support.small_card import OUT_OF_MEMORY, SmallCard


def test_the_model_waits_for_papers_that_are_slow_to_prepare(
    night: RunNight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenize = ShardPreparer.tokenize

    def slowly(self: ShardPreparer, texts: list[str]) -> Any:
        time.sleep(0.3)
        return tokenize(self, texts)

    monkeypatch.setattr(ShardPreparer, "tokenize", slowly)
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(8)])
    run = night(dump, shard_rows=2).manifest.this_run
    assert 0.7 < run.model_wait_share < 1
    entries = read_entries(output_folder(tmp_path / "out"))
    assert all(0 < entry.model_seconds < entry.seconds for entry in entries)
    assert all(0.5 < (entry.model_wait_share or 0) < 1 for entry in entries)


def test_a_slow_model_waits_for_nothing(night: RunNight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predict = OnnxClassifier.predict

    def slowly(self: OnnxClassifier, token_ids: Any, **wanted: Any) -> Any:
        time.sleep(0.5)
        return predict(self, token_ids, **wanted)

    monkeypatch.setattr(OnnxClassifier, "predict", slowly)
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(8)])
    run = night(dump, shard_rows=2).manifest.this_run
    assert run.model_wait_share < 0.5


def test_a_model_that_had_nothing_to_do_has_not_waited(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1), paper(2)])
    night(dump, out=tmp_path / "one")
    assert night(dump, out=tmp_path / "one").manifest.this_run.model_wait_share is None
    again = night(dump, out=tmp_path / "two", reuse=[tmp_path / "one"])
    assert again.manifest.this_run.model_wait_share is None
    (entry,) = read_entries(output_folder(tmp_path / "two"))
    assert entry.model_wait_share is None
    assert night_status(tmp_path / "two").model_wait_share is None


def test_status_and_page_tell_how_long_the_model_waited(night: RunNight, tmp_path: Path) -> None:
    night(write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(6)]), shard_rows=2)
    share = json.loads((tmp_path / "out/manifest.json").read_text())["this_run"]["model_wait_share"]
    status = night_status(tmp_path / "out")
    assert 0 <= status.model_wait_share <= 1
    assert ", the model waited " in "\n".join(status_lines(status))
    assert f"the model waited {share:.1%} of the time" in (tmp_path / "out/report.html").read_text()
    assert "wait" not in (tmp_path / "out/report.json").read_text()


@pytest.mark.parametrize("stage", ["screen", "tokenize"])
@pytest.mark.parametrize("failing", [0, 1, 4])
def test_a_stage_that_fails_costs_its_shard_alone(
    night: RunNight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, failing: int
) -> None:
    done = getattr(ShardPreparer, stage)
    seen: list[int] = []

    def fail_once(self: ShardPreparer, *given: Any, **more: Any) -> Any:
        seen.append(1)
        if len(seen) == failing + 1:
            raise (ShardError if failing else RuntimeError)("the disk is on fire")
        return done(self, *given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(ShardPreparer, stage, fail_once)
        result = night(write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(10)]), shard_rows=2)
    assert result.exit_code == 3
    assert len(result.report.failed_shards) == 1
    kept = [f"p{i}" for i in range(10) if i // 2 != failing]
    assert [row["paper_id"] for row in read_all(tmp_path / "out/labels")] == kept
    assert night(tmp_path / "in/a.parquet", shard_rows=2).manifest.this_run.shards == 1


def test_too_many_failures_end_the_night_without_waiting_for_what_is_ahead(
    night: RunNight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screened: list[int] = []

    def fail(self: ShardPreparer, deduplicated: DeduplicatedShard, *_: Any, **__: Any) -> Any:
        screened.append(deduplicated.number)
        raise ShardError("the disk is on fire")

    monkeypatch.setattr(ShardPreparer, "screen", fail)
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(20)])
    assert night(dump, shard_rows=1, max_failed_shards=2).exit_code == 3
    assert 3 <= len(screened) <= 6


@pytest.mark.parametrize("tokens", [200, 5])
def test_a_card_short_of_memory_costs_smaller_batches_or_a_clear_failure(
    night: RunNight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(30)])
    night(dump, out=tmp_path / "cpu", graph="fp32")
    make = OnnxClassifier.__init__

    def on_small_card(self: OnnxClassifier, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        self._graph._session = SmallCard(self._graph._session, tokens, RuntimeException(OUT_OF_MEMORY))
        self.device, self.max_batch_tokens = Device(kind="cuda"), 16_384

    monkeypatch.setattr(OnnxClassifier, "__init__", on_small_card)
    result = night(dump, out=tmp_path / "card", graph="fp32", shard_rows=15)
    if tokens == 5:
        assert (result.exit_code, result.report.rows.failed) == (3, 30)
        assert "has too little free memory for one paper of" in next(iter(result.report.failed_shards.values()))
        return
    assert result.exit_code == 0
    assert 0 < result.manifest.device.max_batch_tokens <= 200
    alone, batched = read_all(tmp_path / "cpu/labels"), read_all(tmp_path / "card/labels")
    assert [row["label"] for row in batched] == [row["label"] for row in alone]
    assert [row["score"] for row in batched] == pytest.approx([row["score"] for row in alone], abs=1e-4)
