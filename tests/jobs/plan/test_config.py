import pickle
import re
import sys
import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from specter_batch.errors import ConfigError, UsageError
from specter_batch.settings.declaration import declared_options
from specter_batch.storage.location import located
from specter_jobs.plan.config import NightConfig


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


@pytest.mark.parametrize(
    "out", ["nights/2026-03-01", "nights/2026-03-01/", "s3://bucket/2026-03-01", Path("2026-03-01")]
)
def test_a_night_is_dated_by_the_name_of_its_folder(out: str | Path) -> None:
    assert load(out=out).date == date(2026, 3, 1)
    assert load(out=out, date="2026-04-02").date == date(2026, 4, 2)


@pytest.mark.parametrize("out", ["nights/2026-13-01", "nights/0001-01-01", "nights/2026-3-1", "2026-03-01/labels"])
def test_a_folder_that_is_not_named_by_a_date_is_dated_today(out: str) -> None:
    before = datetime.now(UTC).date()
    assert before <= load(out=out).date <= datetime.now(UTC).date()


def test_placeholders_stand_for_the_date_of_the_folder() -> None:
    config = load(dump="papers/{date}", out="nights/2026-03-01", previous="nights/{yesterday}")
    assert config.dump == "papers/2026-03-01"
    assert config.previous_nights()[0] == config.previous == Path("nights/2026-02-28")


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


@pytest.mark.parametrize("gate", ["max_disagreement", "max_clear_disagreement"])
def test_a_gate_of_the_audit_that_could_never_fail_is_refused(gate: str) -> None:
    with pytest.raises(ConfigError, match=rf"{gate.replace('_', '.')}: expected more than 0"):
        load(gates={gate: 0})


@pytest.mark.parametrize("date", ["yesterday", "2026-02-30", "22.11.2026", ""])
def test_what_is_no_date_is_refused(date: str) -> None:
    with pytest.raises(ConfigError, match=r"^--date: expected a date as YYYY-MM-DD"):
        load(date=date)


@pytest.mark.parametrize("name", ["dump", "out", "bundle", "previous", "metrics_file", "reuse"])
@pytest.mark.parametrize("place", ["nights/{day}", "{Date}", "{ date }", "{}", "a/{date", "date}", "{{ ds }}"])
def test_a_placeholder_that_does_not_exist_is_wrong_usage(name: str, place: str) -> None:
    option = name.upper() if name in ("dump", "out") else f"--{name.replace('_', '-')}"
    with pytest.raises(UsageError, match=rf"^{option} .*: there is no placeholder \S") as raised:
        load(**{name: [place] if name == "reuse" else place})
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("name", ["dump", "out", "bundle", "previous"])
@pytest.mark.parametrize("place", ["", "  "])
def test_an_empty_path_is_wrong_usage(name: str, place: str) -> None:
    with pytest.raises(UsageError, match="the path is empty"):
        load(**{name: place})


def test_braces_outside_of_paths_stay() -> None:
    assert load(title_column="{http://purl.org/dc}title").title_column == "{http://purl.org/dc}title"


def test_input_and_output_may_be_in_the_file_and_arguments_win(tmp_path: Path) -> None:
    file = tmp_path / "night.toml"
    file.write_text("dump = 'papers/{date}'\nout = 'nights/{date}'\nbundle = 'b'\ndate = 2024-03-01\n")
    config = NightConfig.load(file, {"dump": None, "out": None})
    assert (config.dump, config.out) == ("papers/2024-03-01", Path("nights/2024-03-01"))
    assert NightConfig.load(file, {"dump": "x", "out": "y"}).out == Path("y")
    with pytest.raises(UsageError, match=r"^out is missing; give OUT, or out in a --config$"):
        NightConfig.load(None, {"dump": "in", "bundle": "b"})


def test_a_url_where_only_a_local_file_can_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^--metrics-file: a URL cannot be used here; give a path on this machine$"):
        load(metrics_file=Path("s3://metrics/night.prom"))
    with pytest.raises(ConfigError, match="a Path object loses a slash"):
        located(Path("s3:/nights"))


def test_the_example_file_lists_every_setting_with_its_default() -> None:
    file = Path(__file__).parents[3] / "jobs/configs/nightly.toml"
    text = file.read_text()
    for option in declared_options(NightConfig):
        assert re.search(rf"^(# )?{option.name} = ", text, flags=re.MULTILINE), option.name
    places = {"dump": "in", "out": "out", "bundle": "b"}
    given, default = NightConfig.load(file, places), NightConfig.load(None, places)
    assert given.gates.max_reject_rate == 0.5  # recommended, and said to be no default
    gates = given.gates.model_copy(update={"max_reject_rate": None})
    assert given.model_copy(update={"gates": gates}) == default


def test_the_examples_in_the_example_file_are_valid() -> None:
    file = Path(__file__).parents[3] / "jobs/configs/nightly.toml"
    lines = [line.removeprefix("# ") for line in file.read_text().splitlines() if re.match(r"(# )?\w+ = |\[", line)]
    config = NightConfig.model_validate(tomllib.loads("\n".join(lines)))
    assert (config.graph, config.max_fresh, config.gates.max_psi) == ("fp32", 0.2, 0.5)


def test_a_url_stays_whole_takes_the_date_and_is_stored_without_credentials() -> None:
    config = load(
        date="2026-03-01",
        dump="ftp://reader:hunter2@mirror/papers/date={date}/part-?.parquet",
        out="s3://nights//{date}",
        reuse=["s3://nights/{yesterday}"],
        previous="https://mirror/nights/{yesterday}?token=hunter2",
        bundle="file:///models/the%20bundle",
    )
    assert config.bundle == Path("/models/the bundle")
    assert config.reuse == (located("s3://nights/2026-02-28"),)
    stored = config.model_dump(mode="json")
    assert stored["dump"] == "ftp://mirror/papers/date=2026-03-01/part-?.parquet"
    assert stored["out"] == "s3://nights//2026-03-01"
    assert stored["previous"] == "https://mirror/nights/2026-02-28"
    assert "hunter2" not in f"{config!r} {stored}"
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nosuch://bucket/in", "unknown protocol nosuch; among those known are s3, gs"),
        ("gs://bucket/in", r"gs:// is not installed; it needs pip install 'specter-batch\[gcs\]'"),
        ("s3://KEY:sec/ret@bucket/in", "^s3://bucket/in: s3 URLs must not contain a user and password"),
        ("file://server/in", "a file URL has no host"),
        ("simplecache::s3://bucket/in", "chained URLs"),
        ("s3:///in", "names no bucket"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_at_once(
    place: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)  # as if it were not installed
    for name in ("dump", "out", "bundle", "previous"):
        with pytest.raises(ConfigError, match=message):
            load(**{name: place})


def test_braces_of_a_folder_that_is_there_are_its_name(tmp_path: Path) -> None:
    """In outputs only above the last name: a folder that this run would make is a typing error."""
    (tmp_path / "{papers}").mkdir()
    assert load(dump=str(tmp_path / "{papers}")).dump == str(tmp_path / "{papers}")
    assert load(dump=f"{tmp_path}/{{papers}}/*.parquet").dump == f"{tmp_path}/{{papers}}/*.parquet"
    assert load(out=f"{tmp_path}/{{papers}}/night").out == tmp_path / "{papers}" / "night"
    for name, place in [
        ("out", "{papers}"),
        ("dump", "{paper}"),
        ("out", "{papers}/{day}"),
        ("dump", "{papers}/{day}"),
    ]:
        with pytest.raises(UsageError, match="there is no placeholder"):
            load(**{name: f"{tmp_path}/{place}"})


def test_the_former_name_of_the_graph_still_works_with_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "night.toml"
    file.write_text("precision = 'fp32'\n")
    for config in (load(precision="fp32"), NightConfig.load(file, {"dump": "in", "out": "out", "bundle": "b"})):
        assert config.graph == "fp32"
    first, second = capsys.readouterr().err.splitlines()
    assert first == "warning: --precision is now called --graph; the next version refuses the old name"
    assert second == f"warning: {file}: precision is now called graph; the next version refuses the old name"
