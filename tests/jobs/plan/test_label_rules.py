"""What invalidates earlier output is declared where the setting is: a setting in `LabelRules` does, others do not."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field
from rich.console import Console

from specter_batch.errors import ConfigError
from specter_jobs.night.run import run_night
from specter_jobs.night.stages import NightResult
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.sections import LabelRules
from support.papers_on_disk import RunNight, label_bytes, paper, write_dump


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(8)]).parent


class StricterRules(LabelRules):
    """What a developer adds: one more setting that decides over labels."""

    max_characters: int = Field(default=0, ge=0, description="Reject papers that are longer than this.")


class StricterNight(StricterRules, NightConfig):
    """The settings of a night with it."""


def test_a_new_label_rule_invalidates_the_shards_that_were_labelled_without_it(
    night: RunNight, dump: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    night(dump, shard_rows=3)
    out = tmp_path / "out"
    before = label_bytes(out)
    values = {"dump": str(dump), "out": out, "bundle": tiny_bundle, "device": "cpu", "shard_rows": 3}

    def run(**settings: Any) -> NightResult:
        return run_night(StricterNight.load(None, values | settings), console=Console(file=StringIO()))

    with pytest.raises(ConfigError, match="--max-characters is 0 instead of not given"):
        run()
    assert label_bytes(out) == before
    assert run(replace=True).manifest.this_run.shards == 3
    assert run().manifest.this_run.shards == 0
    with pytest.raises(ConfigError, match="--max-characters is 9 instead of 0"):
        run(max_characters=9)


def test_the_settings_that_do_not_decide_over_labels_keep_them(night: RunNight, dump: Path) -> None:
    night(dump, shard_rows=3)
    others = {"label_column": "none", "threads": 1, "max_failed_shards": 3, "gates": {"max_psi": 9.0}}
    assert night(dump, shard_rows=3, **others).manifest.this_run.shards == 0
