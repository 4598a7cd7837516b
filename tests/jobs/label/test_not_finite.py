"""Papers for which the model gives NaN or infinity are rejected, counted, and never the source of another label."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specter_batch.model.predictions import OnnxClassifier
from specter_batch.model.tokens.encoding import TokenIds
from specter_jobs.inspect.verify import verify_night
from support.papers_on_disk import RunNight, label_bytes, paper, read_all, write_dump

ODD_VALUES = (np.nan, np.inf, -np.inf)
ask = OnnxClassifier._run


def spoil(monkeypatch: pytest.MonkeyPatch, *, one_of: int) -> None:
    """Let the model give NaN or infinity for one of so many texts; which ones, the token ids decide."""

    def run(self: OnnxClassifier, token_ids: Sequence[TokenIds], **wanted: bool) -> Any:
        (found, *vectors), deferred = ask(self, token_ids, **wanted)
        for row, ids in enumerate(token_ids):
            drawn = int.from_bytes(hashlib.blake2b(ids.tobytes(), digest_size=4).digest(), "big")
            if drawn % one_of == 0:
                found[row, drawn % found.shape[1] :] = ODD_VALUES[drawn % 3]
        return [found, *vectors], deferred

    monkeypatch.setattr(OnnxClassifier, "_run", run)


@given(
    texts=st.lists(st.integers(0, 12), min_size=1, max_size=20),
    one_of=st.integers(1, 4),
    shard_rows=st.integers(1, 6),
    probabilities=st.booleans(),
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_every_row_is_accounted_for_whatever_the_logits_are(
    night: RunNight,
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[int],
    one_of: int,
    shard_rows: int,
    probabilities: bool,
) -> None:
    folder = tmp_path_factory.mktemp("night")
    dump = write_dump(folder / "in/a.parquet", [paper(text) | {"paper_id": f"p{i}"} for i, text in enumerate(texts)])
    asked = {"shard_rows": shard_rows, "probabilities": probabilities, "gates": {"max_not_finite_rate": 1}}
    sound = night(dump, out=folder / "sound", **asked)
    expected = {row["paper_id"]: row for row in read_all(folder / "sound/labels")}
    with pytest.MonkeyPatch.context() as patch:
        spoil(patch, one_of=one_of)
        result = night(dump, out=folder / "out", **asked)
        rows = result.report.rows
        labelled, rejects = read_all(folder / "out/labels"), read_all(folder / "out/rejects")
        assert len(labelled) + len(rejects) == len(texts) == rows.labelled + rows.reused + rows.rejected
        assert {row["reason"] for row in rejects} <= {"not_finite"}
        assert [row["row"] for row in rejects] == sorted(row["row"] for row in rejects)
        # What is labelled has the labels of a model without such papers.
        assert all(row == expected[row["paper_id"]] | {"reused": row["reused"]} for row in labelled)
        # Equal texts share their fate.
        lost = {texts[row["row"]] for row in rejects}
        assert lost.isdisjoint(texts[int(row["paper_id"][1:])] for row in labelled)
        assert result.exit_code == sound.exit_code == 0
        assert verify_night(folder / "out").differences == []
        whole = label_bytes(folder / "out")
        (folder / "out/ledger.jsonl").unlink()
        night(dump, out=folder / "out", **asked)
        assert label_bytes(folder / "out") == whole
        reused = night(dump, out=folder / "after", reuse=[folder / "out"], **asked)
        assert reused.report.rejects_by_reason == result.report.rejects_by_reason
    # With a sound model again, the lost papers are labelled afresh and not copied.
    healed = night(dump, out=folder / "healed", reuse=[folder / "out"], **asked)
    assert healed.report.rows.rejected == 0
    found = {row["paper_id"]: row for row in read_all(folder / "healed/labels")}
    assert {key: row["label"] for key, row in found.items()} == {key: row["label"] for key, row in expected.items()}


def test_a_model_that_gives_nothing_but_nan_fails_the_night(
    night: RunNight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, one_of=1)
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i, label="Diabetes mellitus") for i in range(5)])
    result = night(dump)
    assert result.exit_code == 4
    assert [gate.name for gate in result.report.gates if gate.passed is False] == ["max_not_finite_rate"]
    assert result.report.rejects_by_reason == {"not_finite": 5}
    (row, *_) = read_all(tmp_path / "out/rejects")
    assert (row["reason"], row["detail"]) == ("not_finite", "the model gave NaN or infinity")
    assert night(dump).manifest.this_run.shards == 0
