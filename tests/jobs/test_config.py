from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from specter_batch.errors import ConfigError
from specter_jobs.config import NightConfig


def load(**flags: Any) -> NightConfig:
    return NightConfig.load(None, {"dump": "in", "out": "out", "bundle": "bundle"} | flags)


def test_the_date_is_put_into_every_path() -> None:
    config = load(
        date="2026-03-01",
        dump="papers/date={date}/*.parquet",
        out=Path("nights/{date}"),
        bundle="bundles/{date}",
        reuse=["nights/{yesterday}"],
        previous="nights/{yesterday}",
        metrics_file="metrics/{date}.prom",
    )
    assert config.dump == "papers/date=2026-03-01/*.parquet"
    assert (config.out, config.bundle) == (Path("nights/2026-03-01"), Path("bundles/2026-03-01"))
    assert (config.reuse, config.previous) == ((Path("nights/2026-02-28"),), Path("nights/2026-02-28"))
    assert config.metrics_file == Path("metrics/2026-03-01.prom")


def test_the_date_is_today_in_utc_unless_given() -> None:
    before = datetime.now(UTC).date()
    config = load(out="nights/{date}", previous="nights/{yesterday}")
    assert before <= config.date <= datetime.now(UTC).date()
    assert config.out == Path(f"nights/{config.date.isoformat()}")
    assert config.previous == Path(f"nights/{(config.date - timedelta(days=1)).isoformat()}")


def test_the_file_may_hold_date_and_paths(tmp_path: Path) -> None:
    file = tmp_path / "night.toml"
    file.write_text("out = 'nights/{date}'\ndate = 2024-03-01\nprevious = '{yesterday}'\n")
    config = NightConfig.load(file, {"dump": "in", "bundle": "b"})
    assert (config.out, config.previous) == (Path("nights/2024-03-01"), Path("2024-02-29"))


@pytest.mark.parametrize("date", ["yesterday", "2026-02-30", "22.11.2026", ""])
def test_what_is_no_date_is_refused(date: str) -> None:
    with pytest.raises(ConfigError, match="settings: date: "):
        load(date=date)


def test_other_braces_in_a_path_stay() -> None:
    assert load(out="nights/{name}").out == Path("nights/{name}")


def test_the_example_file_is_valid_and_names_every_gate() -> None:
    file = Path(__file__).parents[2] / "jobs/configs/nightly.toml"
    config = NightConfig.load(file, {"dump": "in", "out": "out", "bundle": "b"})
    assert config.gates.min_rows == 1
    text = file.read_text()
    assert [name for name in type(config.gates).model_fields if f"{name} = " not in text] == []
