"""A night that tests can run in one line."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from specter_jobs.night.reporting import NightResult
from specter_jobs.night.run import run_night
from specter_jobs.plan.config import NightConfig
from support.papers_on_disk import RunNight


@pytest.fixture
def night(tiny_bundle: Path, tmp_path: Path) -> RunNight:
    """Return a function that labels a dump into `tmp_path / "out"` on the CPU."""

    def run(dump: Path | str, **settings: Any) -> NightResult:
        values = {"dump": str(dump), "out": tmp_path / "out", "bundle": tiny_bundle, "device": "cpu"} | settings
        return run_night(NightConfig.load(None, values), console=Console(file=StringIO()))

    return run
