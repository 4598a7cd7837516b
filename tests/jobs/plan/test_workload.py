"""What a night says of reuse before it labels, and the limit that stops a night that is colder than expected."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specter_batch.errors import ConfigError, GateError
from specter_jobs.inspect.status import night_status
from specter_jobs.output.report_model.parts import RowCounts
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.reuse_report import UnusableLabels
from specter_jobs.plan.workload import Workload
from support.former_night import make_former
from support.papers_on_disk import RunNight, paper, read_all, write_dump


def config_of(value: Any) -> NightConfig:
    return NightConfig.load(None, {"dump": "in", "out": "out", "bundle": "b", "max_fresh": value})


@pytest.mark.parametrize(
    ("given_as", "limit"),
    [("1000", 1000), (1000, 1000), ("10%", 0.1), ("0.1", 0.1), (0.1, 0.1), ("0", 0), ("100 %", 1.0), (None, None)],
)
def test_a_limit_is_a_number_or_a_share(given_as: object, limit: object) -> None:
    found = config_of(given_as).max_fresh
    assert (found, type(found)) == (limit, type(limit))


@pytest.mark.parametrize("given_as", ["", "ten", "-1", "1.5", "150%", "10%%", True, -3, [1]])
def test_another_limit_is_refused(given_as: object) -> None:
    with pytest.raises(ConfigError, match="expected a number of papers"):
        config_of(given_as)


@given(
    fresh=st.dictionaries(st.integers(0, 5), st.integers(1, 50)),
    reusable=st.integers(0, 100),
    limit=st.integers(0, 200) | st.floats(0, 1),
    pending=st.sets(st.integers(0, 5)),
)
def test_the_limit_is_on_what_is_still_to_be_labelled(
    fresh: dict[int, int], reusable: int, limit: int | float, pending: set[int]
) -> None:
    workload = Workload(reusable=reusable, copies=0, fresh=fresh, unusable=[])
    left = sum(papers for shard, papers in fresh.items() if shard in pending)
    most = limit if isinstance(limit, int) else limit * (reusable + sum(fresh.values()))
    if left > most:
        with pytest.raises(GateError, match=rf"{left:,} of {workload.papers:,} papers") as raised:
            workload.check(limit, pending=pending)
        assert raised.value.exit_code == 4
    else:
        workload.check(limit, pending=pending)
    workload.check(None, pending=pending)


def test_a_cold_night_is_stopped_before_the_model_is_asked_and_says_why(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(8)])
    night(dump, out=tmp_path / "one")
    warm = night(dump, out=tmp_path / "warm", reuse=[tmp_path / "one"], max_fresh=0)
    assert (warm.exit_code, warm.report.rows.reused) == (0, 8)
    with pytest.raises(GateError, match=r"8 of 8 papers .* 8 labels of .*one cannot be reused: another graph"):
        night(dump, out=tmp_path / "two", reuse=[tmp_path / "one"], graph="fp32", max_fresh="50%")
    assert read_all(tmp_path / "two/labels") == []
    status = night_status(tmp_path / "two")
    assert (status.state, status.exit_code) == ("finished", 4)
    assert "--max-fresh" in status.refused
    # The same command with a higher limit does the night.
    assert night(dump, out=tmp_path / "two", reuse=[tmp_path / "one"], graph="fp32", max_fresh=8).exit_code == 0
    # Resumed, only what is left counts.
    assert night(dump, out=tmp_path / "two", reuse=[tmp_path / "one"], graph="fp32", max_fresh=0).exit_code == 0


def test_why_labels_cannot_be_reused_is_said_in_log_and_reports(
    night: RunNight, tmp_path: Path, caplog: pytest.LogCaptureFixture, tiny_bundle: Path
) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(6)])
    night(dump, out=tmp_path / "one", shard_rows=3)
    plan = json.loads((tmp_path / "one/plan.json").read_text())
    plan["night"]["fingerprint"] = "0" * 64
    other = shutil.copytree(tmp_path / "one", tmp_path / "other")
    (other / "plan.json").write_text(json.dumps(plan))
    ledger = (other / "ledger.jsonl").read_text()
    (model,) = {json.loads(line)["model"] for line in ledger.splitlines()}
    (other / "ledger.jsonl").write_text(ledger.replace(model, "0" * len(model)))
    damaged = shutil.copytree(tmp_path / "one", tmp_path / "damaged")
    file = min((damaged / "labels").iterdir())
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    nights = [other, damaged, tmp_path / "missing"]
    caplog.clear()  # of the first night
    with caplog.at_level(logging.INFO):
        result = night(dump, out=tmp_path / "two", reuse=nights)
    assert result.report.rows == RowCounts(rows_in=6, labelled=3, reused=3, rejected=0, failed=0)
    reuse = result.report.reuse
    assert (reuse.papers, reuse.reusable, reuse.fresh) == (6, 3, 3)
    reasons = {Path(one.night).name: (one.labels, one.reason) for one in reuse.unusable}
    assert reasons["other"][0] == 6
    assert reasons["other"][1].startswith("another bundle made them (")
    assert reasons["damaged"] == (3, "their files are missing or damaged")
    assert reasons["missing"] == (0, "there is no such night")
    assert "labels of earlier nights" in caplog.messages
    assert caplog.messages.index("labels of earlier nights") < caplog.messages.index("shard finished")
    for name in ("report.md", "report.html"):
        assert "3 of 6 papers can take their label from an earlier night" in (tmp_path / "two" / name).read_text()
    make_former(tmp_path / "one")
    probabilities = night(dump, out=tmp_path / "three", reuse=[tmp_path / "one"], probabilities=True)
    (reason,) = probabilities.report.reuse.unusable
    assert reason.labels == 6
    assert "--probabilities" in reason.reason


def test_a_night_without_earlier_ones_says_nothing_of_reuse(night: RunNight, tmp_path: Path) -> None:
    result = night(write_dump(tmp_path / "in/a.parquet", [paper(1)]))
    assert result.report.reuse is None


def test_sentences_name_every_reason() -> None:
    lost = UnusableLabels(night="nights/one", labels=1200, reason="another bundle made them")
    told = Workload(reusable=1, copies=2, fresh={0: 3}, unusable=[lost]).as_report().sentences()
    assert told == [
        "1 of 6 papers can take their label from an earlier night, 2 are copies of papers of this night, 3 "
        "cannot: their text is in none of the labels that can be reused",
        "1,200 labels of nights/one cannot be reused: another bundle made them",
    ]
