"""The audit of a night: it finds labels that differ from the fp32 graph, and changes none."""

import json
import shutil
from pathlib import Path

import pytest

from specter_batch.errors import UsageError
from specter_batch.model.manifest import MANIFEST_FILE, BundleManifest
from specter_jobs.inspect.verify import verify_night
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.report_model.audit import AuditReport
from specter_jobs.output.report_model.report import NightReport, read_report
from support.flipping_bundle import flipping_bundle
from support.other_bundle import other_bundle
from support.papers_on_disk import ENGLISH, RunNight, label_bytes, paper, read_all, write_dump

PAPERS = 60


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """Write papers, of which one text is there twice and one paper is not labelled."""
    # Texts of several lengths, so that the sums of their token ids differ.
    texts = [f"{ENGLISH} {'patients ' * (number % 13)}{number}." for number in range(PAPERS)]
    papers = [paper(number, abstract=text) for number, text in enumerate(texts)]
    papers = [*papers, paper(900, title=paper(3)["title"], abstract=texts[3])]
    write_dump(tmp_path / "in" / "a.parquet", [*papers, paper(901, abstract=None)])
    return tmp_path / "in"


@pytest.fixture(scope="module")
def flipping(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flipping_bundle(tiny_bundle, tmp_path_factory.mktemp("flipping") / "bundle", one_in=4)


def audit_of(report: NightReport) -> AuditReport:
    assert report.audit is not None
    return report.audit


def entries_of(out: Path) -> list[LedgerEntry]:
    return [LedgerEntry.model_validate_json(line) for line in (out / "ledger.jsonl").read_text().splitlines()]


def test_the_audit_changes_no_label(night: RunNight, dump: Path, tmp_path: Path) -> None:
    everything = audit_of(night(dump, out=tmp_path / "all", audit_share=1).report)
    assert everything.tonight.papers == PAPERS  # a copied label is not audited again
    assert everything.tonight.disagreements == 0
    nothing = audit_of(night(dump, out=tmp_path / "none", audit_share=0).report)
    assert (nothing.tonight.papers, nothing.without_audit) == (0, PAPERS)
    assert nothing.not_audited == "--audit-share 0 turns the audit off"
    assert nothing.series.nights == ()
    assert label_bytes(tmp_path / "all") == label_bytes(tmp_path / "none")


def test_it_finds_the_labels_that_differ(night: RunNight, dump: Path, flipping: Path, tmp_path: Path) -> None:
    result = night(dump, bundle=flipping, audit_share=1, gates={"max_disagreement": 0.005})
    exact = night(dump, bundle=flipping, graph="fp32", out=tmp_path / "exact", gates={"max_disagreement": 0.005})
    labels, exact_labels = (
        {row["paper_id"]: row for row in read_all(tmp_path / o / "labels")} for o in ("out", "exact")
    )
    differ = {name for name, row in labels.items() if row["label"] != exact_labels[name]["label"]} - {"p900"}
    audit = audit_of(result.report)
    assert len(differ) >= 5
    assert audit.tonight.disagreements == len(differ)
    clear = {name for name, row in labels.items() if row["score"] >= 2 * (row["score"] - row["margin"])} - {"p900"}
    assert audit.tonight.clear_papers == len(clear)
    assert audit.tonight.clear_disagreements == len(clear & differ)
    assert audit.tonight.deferred < PAPERS - len(differ)
    for shown in audit.tonight.shown:
        assert shown.paper_id in differ
        assert (shown.label, shown.exact_label) == (
            labels[shown.paper_id]["label"],
            exact_labels[shown.paper_id]["label"],
        )
        assert shown.row == labels[shown.paper_id]["row"]
    assert result.exit_code == 4
    (gate,) = result.report.failed_gates
    assert gate.name == "max_disagreement"
    assert gate.found == audit.series.every.low > 0.005
    page, text = ((tmp_path / "out" / name).read_text() for name in ("report.html", "report.md"))
    for sentence in result.report.audit_sentences:
        assert sentence in page
    assert f"Papers with another label: {len(differ)}" in text
    assert f"| {audit.tonight.shown[0].paper_id} |" in text
    # A night of the fp32 graph has nothing to compare, so the gate does not apply.
    assert audit_of(exact.report).not_audited == "that model labelled all papers itself"
    assert exact.exit_code == 0
    assert [gate.name for gate in exact.report.inapplicable_gates] == ["max_disagreement"]


def test_the_same_papers_are_chosen_whatever_the_shards_and_workers(
    night: RunNight, dump: Path, flipping: Path, tmp_path: Path
) -> None:
    one = audit_of(night(dump, bundle=flipping, audit_share=0.5, out=tmp_path / "one").report)
    assert one.tonight.papers == PAPERS / 2
    assert one.tonight.disagreements > 0
    small = night(dump, bundle=flipping, audit_share=0.5, out=tmp_path / "two", shard_rows=7)
    many = night(dump, bundle=flipping, audit_share=0.5, out=tmp_path / "three", shard_rows=7, workers=2)
    assert audit_of(small.report).tonight == audit_of(many.report).tonight == one.tonight


def test_nights_of_the_same_papers_audit_different_ones(
    night: RunNight, dump: Path, flipping: Path, tmp_path: Path
) -> None:
    """Otherwise a series would count the same few papers again and again as if they were new."""
    found = set()
    for day in range(1, 5):
        out = tmp_path / f"2026-01-{day:02d}"
        audit = audit_of(night(dump, bundle=flipping, audit_share=0.5, out=out, date=f"2026-01-{day:02d}").report)
        assert audit.tonight.papers == PAPERS / 2
        found.add(tuple(shown.paper_id for shown in audit.tonight.shown))
    assert len(found) > 1


def test_a_resumed_night_has_the_same_audit(night: RunNight, dump: Path, flipping: Path, tmp_path: Path) -> None:
    settings = {"bundle": flipping, "audit_share": 0.5, "shard_rows": 20}
    night(dump, **settings)
    out = tmp_path / "out"
    report, ledger = (out / "report.json").read_bytes(), (out / "ledger.jsonl").read_text().splitlines(keepends=True)
    (out / "ledger.jsonl").write_text("".join(ledger[:2]))  # as if it was killed after two shards
    night(dump, **settings)
    assert (out / "report.json").read_bytes() == report
    for before, after in zip(map(json.loads, ledger), entries_of(out), strict=True):
        assert after.audit is not None
        assert after.audit.model_dump(mode="json") == before["audit"]


def test_a_rerun_with_another_share_labels_nothing(
    night: RunNight, dump: Path, asked: list[int], tmp_path: Path
) -> None:
    first = night(dump, audit_share=0.5)
    asked.clear()
    again = night(dump, audit_share=0)
    assert asked == []
    assert audit_of(again.report).tonight == audit_of(first.report).tonight
    never = night(dump, audit_share=0, out=tmp_path / "never")
    asked.clear()
    late = audit_of(night(dump, out=tmp_path / "never").report)
    assert asked == []
    assert (late.tonight.papers, late.without_audit) == (0, PAPERS)
    assert never.report.labels == first.report.labels


def test_a_night_of_a_model_that_gives_no_numbers_is_not_called_a_night_without_work(
    night: RunNight, dump: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    """Logits that are divided by next to nothing are infinite."""
    broken = Path(shutil.copytree(tiny_bundle, tmp_path / "broken"))
    manifest = json.loads((broken / MANIFEST_FILE).read_bytes())
    manifest |= {"format_version": 1, "temperature": 1e-320}
    manifest["fingerprint"] = BundleManifest.model_validate(manifest).expected_fingerprint()
    (broken / MANIFEST_FILE).write_text(json.dumps(manifest))
    result = night(dump, bundle=broken, audit_share=1, gates={"max_disagreement": 0.005})
    assert result.exit_code == 4
    assert result.report.rejects_by_reason["not_finite"] >= PAPERS
    assert audit_of(result.report).tonight.papers == 0
    assert audit_of(result.report).not_audited == "the model labelled no paper"


def test_a_gate_of_the_audit_needs_the_audit(night: RunNight, dump: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="max_clear_disagreement needs the audit"):
        night(dump, audit_share=0, gates={"max_clear_disagreement": 0.001})
    assert not (tmp_path / "out").exists()


def series_nights(out: Path) -> list[tuple[str, int]]:
    return [(one.date, one.papers) for one in audit_of(read_report(out)).series.nights]


def test_nights_of_one_model_are_a_series(
    night: RunNight, dump: Path, tiny_bundle: Path, flipping: Path, tmp_path: Path
) -> None:
    def run(day: int, bundle: Path, **settings: object) -> int:
        place = {"out": tmp_path / f"2026-03-{day:02d}", "previous": str(tmp_path / "{yesterday}")}
        values = {"date": f"2026-03-{day:02d}", "bundle": bundle, "audit_share": 0.5} | settings
        return night(dump, **place, **values).exit_code

    assert run(1, flipping, gates={"max_disagreement": 0.9}) == 0
    assert audit_of(read_report(tmp_path / "2026-03-01")).series.begins == "there is no earlier night"
    # A night that fails the gate does not leave the series, and a missed one does not end it.
    assert run(2, flipping, gates={"max_disagreement": 0.005}) == 4
    assert run(4, flipping, gates={"max_disagreement": 0.005}) == 4
    assert series_nights(tmp_path / "2026-03-04") == [(f"2026-03-{day:02d}", 30) for day in (1, 2, 4)]
    audit = audit_of(read_report(tmp_path / "2026-03-04"))
    assert audit.series.every.papers == 90
    assert audit.series.begins == "there is no earlier night"
    # A night whose labels are all reused adds nothing to the series, and does not end it.
    assert run(5, flipping, reuse=[tmp_path / "2026-03-04"]) == 0
    reused = audit_of(read_report(tmp_path / "2026-03-05"))
    assert reused.not_audited == "the model labelled no paper"
    assert reused.series == audit.series
    other = other_bundle(tiny_bundle, tmp_path / "other")
    assert run(6, other) == 0
    begun = audit_of(read_report(tmp_path / "2026-03-06")).series
    assert (begun.begins, len(begun.nights)) == ("another bundle, device or graph labelled the night before", 1)


def test_nights_of_older_versions_stay_readable(night: RunNight, dump: Path, tmp_path: Path) -> None:
    night(dump, audit_share=0)
    out = tmp_path / "out"
    report = json.loads((out / "report.json").read_bytes())
    del report["audit"]
    (out / "report.json").write_text(json.dumps(report))
    entries = [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]
    for entry in entries:
        del entry["audit"]
    (out / "ledger.jsonl").write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    assert verify_night(out).differences == []
    assert read_report(out).audit_sentences == []
    later = audit_of(night(dump, out=tmp_path / "later", previous=out).report)
    assert later.series.begins == "the night before has no audit"


@pytest.mark.parametrize(
    ("count", "change", "told"),
    [
        ("papers", -1, "papers audited: 49 in the report, 50 found"),
        ("disagreements", 5, "audited papers with another label: 5 in the report, 0 found"),
        ("clear_disagreements", 1, "audited clear papers with another label: 1 in the report, 0 found"),
    ],
)
def test_verify_finds_other_counts_of_the_audit(
    night: RunNight, dump: Path, tmp_path: Path, count: str, change: int, told: str
) -> None:
    night(dump)
    file = tmp_path / "out" / "report.json"
    report = json.loads(file.read_bytes())
    report["audit"]["tonight"][count] += change
    file.write_text(json.dumps(report))
    assert verify_night(tmp_path / "out").differences == [f"report.json: {told}"]
