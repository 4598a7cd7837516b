"""While one worker loads its model, it screens the first shards."""

import threading
from pathlib import Path
from typing import Any

import pytest

from specter_batch.errors import BundleError
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.manifest import GraphEntry
from specter_batch.model.session import Graph
from specter_jobs.label.prepare import ShardPreparer
from support.papers_on_disk import RunNight, paper, read_all, write_dump

SECONDS = 30.0


@pytest.fixture
def screened(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return an event that is set when a shard has been screened."""
    event = threading.Event()
    screen = ShardPreparer.screen

    def noted(*args: Any, **kwargs: Any) -> Any:
        try:
            return screen(*args, **kwargs)
        finally:
            event.set()

    monkeypatch.setattr(ShardPreparer, "screen", noted)
    return event


def test_the_first_shard_is_screened_before_the_model_is_loaded(
    night: RunNight, screened: threading.Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(12)])
    load = Graph.of_bundle
    waits: list[bool] = []

    def slow(*args: Any, **kwargs: Any) -> Graph:
        waits.append(screened.wait(SECONDS))
        return load(*args, **kwargs)

    monkeypatch.setattr(Graph, "of_bundle", slow)
    result = night(dump, out=tmp_path / "out", shard_rows=5)
    assert waits
    assert all(waits)
    assert result.exit_code == 0
    assert result.manifest.device.provider == "CPUExecutionProvider"
    assert len(read_all(tmp_path / "out/labels")) == 12


def test_the_largest_graph_is_loaded_first(night: RunNight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(4)])
    load = Graph.of_bundle
    loaded: list[str] = []

    def noted(bundle: ModelBundle, entry: GraphEntry, **kwargs: Any) -> Graph:
        loaded.append(entry.precision)
        return load(bundle, entry, **kwargs)

    monkeypatch.setattr(Graph, "of_bundle", noted)
    night(dump, out=tmp_path / "out")
    assert loaded == ["fp32", "int8"]


def test_a_model_that_cannot_be_loaded_ends_the_night_even_after_the_first_shards_are_screened(
    night: RunNight, screened: threading.Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(12)])

    def broken(*_: Any, **__: Any) -> Graph:
        assert screened.wait(SECONDS)
        raise BundleError("the graph cannot run here")

    monkeypatch.setattr(Graph, "of_bundle", broken)
    with pytest.raises(BundleError, match="the graph cannot run here"):
        night(dump, out=tmp_path / "out", shard_rows=5)
    assert list((tmp_path / "out/labels").iterdir()) == []
    assert not (tmp_path / "out/_SUCCESS").exists()
