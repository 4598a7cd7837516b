"""A night from a dump accounts for every record of the dump."""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specter_batch.errors import ShardError
from specter_jobs.inspect.verify import verify_night
from specter_jobs.output.plan_file import DumpAccount
from specter_jobs.output.report_model.parts import DumpRecords, RowCounts
from specter_jobs.output.schema import REJECT_SCHEMA
from specter_jobs.plan.limits import GateLimits
from support.papers_on_disk import RunNight, paper, read_all

# Lines of a dump, and the reason for which each is rejected; None: it becomes a label.
KINDS: dict[str, str | None] = {
    "good": None,
    "no title": "missing_title",
    "no id": "null_id",
    "no JSON": "malformed_record",
    "no object": "malformed_record",
    "no abstract": "missing_abstract",
    "same id": "duplicate_id",
}


def line(kind: str, number: int) -> str:
    record: Any = paper(number)
    if kind == "no title":
        record["title"] = " "
    elif kind == "no id":
        record["paper_id"] = None
    elif kind == "no abstract":
        record["abstract"] = None
    elif kind == "same id":
        record["paper_id"] = "p0"
    elif kind == "no JSON":
        return "{bad"
    elif kind == "no object":
        return "[1]"
    return json.dumps(record)


def write(path: Path, kinds: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line(kind, number) + "\n" for number, kind in enumerate(["good", *kinds])))
    return path


@given(files=st.lists(st.lists(st.sampled_from(sorted(KINDS)), max_size=12), min_size=1, max_size=3))
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_mix_of_records_is_accounted_for(night: RunNight, files: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        dump, out = Path(folder) / "in", Path(folder) / "out"
        for number, kinds in enumerate(files):
            (dump / f"{number}.jsonl").parent.mkdir(exist_ok=True)
            # The ids of each file are its own, apart from the first file's first one.
            lines = [line(kind, 100 * number + place) for place, kind in enumerate(["good", *kinds])]
            (dump / f"{number}.jsonl").write_text("\n".join(lines))
        report = night(dump, out=out, format="jsonl", shard_rows=4).report
        expected = Counter(KINDS[kind] for kinds in files for kind in kinds)
        n_records = sum(len(kinds) + 1 for kinds in files)
        good = expected.pop(None, 0) + len(files)
        rows = report.rows
        assert rows.rows_in == n_records == report.dump.records
        assert rows.labelled + rows.reused == good == len(read_all(out / "labels"))
        assert (rows.rejected, rows.failed) == (n_records - good, 0)
        assert report.rejects_by_reason == dict(sorted(expected.items()))
        assert Counter(row["reason"] for row in read_all(out / "rejects")) == expected
        assert verify_night(out).differences == []


def test_rejects_of_the_ingest_name_file_row_and_reason_and_stay_after_a_rerun(night: RunNight, tmp_path: Path) -> None:
    dump, out = write(tmp_path / "in/a.jsonl", ["no title", "good", "no JSON"]), tmp_path / "out"
    for _ in range(2):
        night(dump, out=out, format="jsonl")
        listed = [
            (row["file"], row["row_group"], row["row"], row["paper_id"], row["reason"])
            for row in read_all(out / "rejects")
        ]
        assert listed == [
            ("a.jsonl", None, 2, "p1", "missing_title"),
            ("a.jsonl", None, 4, None, "malformed_record"),
        ]
        assert list(read_all(out / "rejects")[0]) == REJECT_SCHEMA.names
        assert verify_night(out).differences == []
    assert "4 records were read from the dump" in (out / "report.md").read_text()


def test_the_reject_rate_counts_what_the_ingest_rejected(night: RunNight, tmp_path: Path) -> None:
    dump = write(tmp_path / "a.jsonl", ["no title"] * 9)
    result = night(dump, format="jsonl", gates=GateLimits(max_reject_rate=0.5))
    assert result.exit_code == 4
    assert [gate.found for gate in result.report.gates if gate.name == "max_reject_rate"] == [0.9]


def test_a_dump_whose_records_are_all_rejected_is_a_night(night: RunNight, tmp_path: Path) -> None:
    dump = tmp_path / "a.jsonl"
    dump.write_text('{"paper_id": "a", "title": ""}\n{"paper_id": "b", "title": ""}\n')
    result = night(dump, format="jsonl")
    assert result.report.rows == RowCounts(rows_in=2, labelled=0, reused=0, rejected=2, failed=0)
    assert verify_night(tmp_path / "out").differences == []


def test_tombstones_of_a_dump_are_no_rows_and_are_counted(night: RunNight, tmp_path: Path) -> None:
    texts = paper(1)
    citation = (
        "<PubmedArticle><MedlineCitation><PMID Version='1'>{}</PMID><Article>"
        f"<ArticleTitle>{texts['title']}</ArticleTitle><Abstract><AbstractText>{texts['abstract']}</AbstractText>"
        "</Abstract></Article></MedlineCitation></PubmedArticle>"
    )
    gone = "<DeleteCitation><PMID Version='1'>2</PMID><PMID Version='1'>7</PMID></DeleteCitation>"
    dump = tmp_path / "pubmed26n0001.xml"
    dump.write_text(f"<PubmedArticleSet>{citation.format(1)}{citation.format(2)}{gone}</PubmedArticleSet>")
    report = night(dump, format="pubmed", language="any").report
    assert report.dump == DumpRecords(records=4, papers=1, filtered=0, tombstones=2)
    assert report.rows == RowCounts(rows_in=2, labelled=1, reused=0, rejected=1, failed=0)
    assert report.rejects_by_reason == {"deleted": 1}


def test_verify_sees_that_a_reject_file_of_the_ingest_is_gone(night: RunNight, tmp_path: Path) -> None:
    night(write(tmp_path / "a.jsonl", ["no title"]), format="jsonl")
    next((tmp_path / "out/rejects").glob("ingest-*")).unlink()
    assert any("is missing" in difference for difference in verify_night(tmp_path / "out").differences)


def test_records_that_are_not_accounted_for_are_an_error() -> None:
    account = DumpAccount(files=1, records=5, papers=3, filtered=0, tombstones=1, rejects_by_reason={})
    with pytest.raises(ShardError, match="4 of 5 records of the dump are accounted for"):
        account.check(paper_rows=3)
