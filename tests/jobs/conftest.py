"""A night that tests can run in one line."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from specter_batch.model.predictions import OnnxClassifier
from specter_jobs.night.run import run_night
from specter_jobs.night.stages import NightResult
from specter_jobs.plan.config import NightConfig
from support.papers_on_disk import RunNight


@pytest.fixture
def night(tiny_bundle: Path, tmp_path: Path) -> RunNight:
    """Return a function that labels a dump into `tmp_path / "out"` on the CPU."""

    def run(dump: Path | str, **settings: Any) -> NightResult:
        values = {"dump": str(dump), "out": tmp_path / "out", "bundle": tiny_bundle, "device": "cpu"} | settings
        return run_night(NightConfig.load(None, values), console=Console(file=StringIO()))

    return run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the number of papers whenever the model is asked."""
    numbers: list[int] = []
    ask = OnnxClassifier.predict

    def count(self: OnnxClassifier, token_ids: Any, **wanted: Any) -> Any:
        numbers.append(len(token_ids))
        return ask(self, token_ids, **wanted)

    monkeypatch.setattr(OnnxClassifier, "predict", count)
    return numbers
