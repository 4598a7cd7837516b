import dataclasses
import json
import logging
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from specter_batch.logs import JsonFormatter, logger
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.fit.trainer import train
from specter_batch.training.papers.labelled import read_labelled


@pytest.fixture
def log_file() -> Iterator[StringIO]:
    """Collect the log of the project as JSON lines."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_a_training_shows_a_bar_and_logs_its_figures(
    tiny_config: TrainConfig, sample_paths: SamplePaths, tmp_path: Path, log_file: StringIO
) -> None:
    terminal = StringIO()
    papers, val = read_labelled(sample_paths.train), read_labelled(sample_paths.val)
    few = dataclasses.replace(papers, papers=papers.papers.slice(0, 60))
    train(
        tiny_config.model_copy(update={"epochs": 2, "batch_size": 2, "max_length": 32}),
        train_papers=few,
        val_papers=dataclasses.replace(val, papers=val.papers.slice(0, 20)),
        out=tmp_path / "run",
        console=Console(file=terminal, force_terminal=True, width=140),
    )
    lines = [json.loads(line) for line in log_file.getvalue().splitlines()]
    events = [line["event"] for line in lines]
    assert events[0] == "training started"
    assert events[-1] == "run written"
    assert [line["epoch"] for line in lines if line["event"] == "epoch finished"] == [1, 2]
    step = next(line for line in lines if line["event"] == "training")
    assert 0 < step["epoch"] <= 2
    assert step["loss"] > 0
    assert step["learning_rate"] > 0
    assert step["papers_per_second"] > 0
    assert step["seconds_left"] >= 0
    screen = terminal.getvalue()
    for shown in ("embed papers", "train", "epoch ", "loss ", "rate ", "papers/s", "100%"):
        assert shown in screen
