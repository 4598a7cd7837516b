import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from specter_batch.metrics.score_report import CAVEAT, EstimatedScores
from specter_batch.model.bundle import ModelBundle
from specter_batch.report.paper_choice import GroupLimits
from specter_batch.report.paper_groups import PaperGroup, PaperGroups, ShownPaper, fitting, left_out_sentences
from specter_batch.training.demo.sample import SamplePaths
from specter_jobs.output.ledger_entry import LedgerEntry
from specter_jobs.output.report_model.parts import TitleOnlyReport
from specter_jobs.plan.limits import GateLimits
from specter_jobs.report.html import MAX_SPANS, N_SLOWEST, night_html
from specter_jobs.report.markdown import night_markdown
from support.drawings import assert_asks_for_nothing, assert_readable_in_dark_and_light, text_of
from support.night_reports import changed, entry_of, manifest_of, report_of
from support.papers_on_disk import RunNight

EVIL = "<script>alert('x')</script>"
MANY = tuple(f"Class number {i}" for i in range(162))


def html_of(entries: list[LedgerEntry] | None = None, **of: Any) -> str:
    report = report_of(**of)
    return night_html(
        report, manifest_of(report), [entry_of(0), entry_of(1)] if entries is None else entries, PaperGroups()
    )


@pytest.mark.parametrize(
    "of",
    [
        {},
        {"previous": report_of(seed=3)},
        {"scored": 0},
        {"papers": 0, "scored": 0, "entries": []},
        {"labels": MANY, "papers": 5000, "scored": 3000},
        {
            "labels": (EVIL, "a & b", '"><b>'),
            "failed_shards": {EVIL: EVIL},
            "ignored": {EVIL: EVIL},
            "entries": [entry_of(0, file=EVIL)],
        },
    ],
    ids=["plain", "previous", "nothing scored", "nothing at all", "162 classes", "hostile names"],
)
def test_the_page_is_whole_and_asks_for_nothing(of: dict[str, Any]) -> None:
    assert_asks_for_nothing(html_of(**of))


def test_the_page_is_readable_in_dark_and_light() -> None:
    assert_readable_in_dark_and_light(html_of())


def test_names_from_data_are_shown_as_text() -> None:
    page = html_of(labels=(EVIL, "law", "music"), failed_shards={"b.parquet": EVIL}, entries=[entry_of(0, file=EVIL)])
    assert "<script" not in page
    assert text_of(page).count(EVIL) > 4


def test_headline_figures_and_every_label_are_told() -> None:
    report = report_of()
    text = text_of(html_of())
    assert f"{report.macro_f1:.4f} macro F1, 100 papers" in text
    assert "210 rows in 200 labelled 0 reused 10 rejected 0 in failed shards" in text
    for row in report.per_label:
        figures = f"{row.f1:.4f} {row.precision:.4f} {row.recall:.4f} {row.support} {row.predicted}"
        assert f"{row.label} {figures}" in text


def test_labels_stand_with_the_most_frequent_first() -> None:
    text = text_of(html_of())
    labels = sorted(report_of().label_papers.items(), key=lambda item: -item[1])
    places = [text.index(f"{name} {papers} {papers / 200:.1%}") for name, papers in labels]
    assert places == sorted(places)


def test_shares_stand_beside_those_of_the_previous_night() -> None:
    previous = report_of(seed=3)
    share = report_of().label_shares["law"]
    alone, both = text_of(html_of()), text_of(html_of(previous=previous))
    assert f"{share:.1%} 33.3% {previous.label_shares['law']:.1%}" in both
    assert "previous night" not in alone
    assert html_of(previous=previous).count('class="mark previous"') == 2 * 3  # the table in two orders


def test_with_a_previous_night_labels_are_also_sorted_by_the_size_of_their_change() -> None:
    previous = report_of(seed=3)
    page = html_of(previous=previous)
    assert "by-change" not in re.sub(r"<style.*?</style>", "", html_of(), flags=re.DOTALL)
    tables = re.findall(r'<div class="wide by-\w+">.*?</table>', page, flags=re.DOTALL)
    by_change, by_papers = (re.findall(r'<td class="name">(\w+)</td>', table) for table in tables)
    report = report_of()
    change = {name: report.label_shares[name] - previous.label_shares[name] for name in report.labels}
    assert by_change == sorted(change, key=lambda name: -abs(change[name]))
    assert by_papers == sorted(report.labels, key=lambda name: -report.label_papers[name])
    assert by_change != by_papers
    assert f"change {100 * change['law']:+.1f}" in text_of(page.replace('data-is="change">', ">change "))


def test_the_page_names_the_labels_that_drift() -> None:
    shares = {"art": 0.8, "law": 0.1, "music": 0.1}
    previous = changed(report_of(), label_shares=shares)
    report = report_of(previous=previous)
    (sentence,) = report.drift.sentences()
    assert f"art 80.0% → {report.label_shares['art']:.1%}" in sentence
    assert sentence in text_of(html_of(previous=previous))
    assert html_of(previous=previous).count("<details open>") == 1


def test_every_figure_of_a_table_is_titled_on_a_narrow_screen() -> None:
    page = html_of(previous=report_of(seed=3), ignored={"a.crc": "a checksum"})
    assert "<table>" not in page
    assert [cell for cell in re.findall(r'<td class="n"[^>]*>', page) if "data-is=" not in cell] == []


def test_pictures_with_names_are_drawn_a_second_time_for_a_narrow_screen() -> None:
    page, many = html_of(), html_of(labels=MANY, papers=5000, scored=3000)
    for name in ("Confusion matrix", "Papers per second over time"):
        widths = [int(width) for width in re.findall(rf'aria-label="{name}" viewBox="0 0 (\d+)', page)]
        assert len(widths) == 2
        assert widths[1] <= 390
    assert many.count('aria-label="Confusion matrix"') == 1


def test_a_night_without_true_labels_says_so_in_place_of_its_pictures() -> None:
    page = html_of(scored=0)
    assert "There is no F1, no confusion matrix and no reliability curve tonight." in text_of(page)
    assert [name for name in ("Confusion matrix", "Reliability diagram") if name in page] == []
    assert "Score histogram" in page


def test_with_many_classes_every_one_is_listed_and_the_confusions_are_named() -> None:
    text = text_of(html_of(labels=MANY, papers=5000, scored=3000))
    assert [name for name in MANY if text.count(f"{name} ") < 2] == []
    assert "Most frequent confusions" in text


def test_the_verdict_names_failed_gates_and_shards() -> None:
    good = text_of(html_of(gates=GateLimits(min_rows=1)))
    bad = text_of(html_of(gates=GateLimits(min_rows=1000, min_macro_f1=1), scored=0, failed_shards={"b": "is empty"}))
    assert "Every row is accounted for, and every gate has passed" in good
    assert "Shards or files that failed: 1 (a rerun does only these). Gates that failed: min_rows, min_macro_f1" in bad
    assert "✗ failed : no unseen paper had a true label" in bad
    assert "b is empty" in bad


def test_rejects_are_counted_by_reason() -> None:
    assert "duplicate_id 3 not_english 7" in text_of(html_of())


def test_the_slowest_shards_are_listed_slowest_first() -> None:
    entries = [entry_of(i, seconds=float(10 + i)) for i in range(30)]
    rows = re.findall(r"a\.parquet ([\d,]+) 100 ([\d.]+) ([\d.]+)", text_of(html_of(entries=entries)))
    assert rows[0] == ("2,900", "39.0", "2.6")
    assert len(rows) == N_SLOWEST


def test_the_page_tells_how_long_the_model_waited_on_the_whole_and_by_shard() -> None:
    text = text_of(html_of())
    assert "In this run the model waited 12.5% of the time" in text
    assert "a.parquet 0 100 20.0 5.0 25.0%" in text


def test_papers_without_abstract_stand_beside_all_papers() -> None:
    report = report_of(labels=(EVIL, "law", "music"))
    part = TitleOnlyReport(
        papers=4,
        mean_score=0.4321,
        label_papers={EVIL: 1, "law": 3, "music": 0},
        label_shares={EVIL: 0.25, "law": 0.75, "music": 0.0},
        macro_f1=0.6543,
        accuracy=0.5,
        scored_papers=2,
        seen_in_training=0,
    )
    report = changed(report, title_only=part)
    text = text_of(night_html(report, manifest_of(report), [entry_of(0)], PaperGroups()))
    assert f"mean score 0.4321 (all papers {report.mean_score:.4f}), macro F1 0.6543 over 2" in text
    assert f"{EVIL} 1 25.0% {report.label_shares[EVIL]:.1%}" in text


def test_more_shards_than_the_picture_has_room_for_are_drawn_together() -> None:
    entries = [entry_of(i) for i in range(10 * MAX_SPANS)]
    curve, _ = re.findall(
        r'aria-label="Papers per second over time".*?class="curve" points="([^"]*)"', html_of(entries)
    )
    heights = {point.split(",")[1] for point in curve.split()}
    assert len(curve.split()) == 2 * MAX_SPANS
    assert len(heights) == 1


def test_a_night_writes_its_page(night: RunNight, sample_paths: SamplePaths, tiny_bundle: Path, tmp_path: Path) -> None:
    report = night(sample_paths.night).report
    text = text_of((tmp_path / "out/report.html").read_text())
    certificate = ModelBundle.open(tiny_bundle).graph_for("cpu").certificate
    assert certificate is not None
    assert report.certificate == certificate.sentence
    assert certificate.sentence in text
    assert f"{report.macro_f1:.4f} macro F1" in text
    assert "model_int8.onnx" in text
    assert [name for name in report.labels if name not in text] == []


def test_ignored_input_is_listed_with_its_reason_and_cut_where_there_is_much() -> None:
    page = text_of(html_of(ignored={f"{number}.crc": "a checksum" for number in range(60)}))
    assert "0.crc" in page
    assert "49.crc" in page
    assert "50.crc" not in page
    assert "All 60 are listed in report.json" in page


def test_a_page_of_162_labels_with_papers_is_under_two_megabytes() -> None:
    report = report_of(MANY, papers=20_000, scored=15_000, previous=report_of(MANY, papers=20_000, seed=3))
    cells = np.array(report.confusion)
    limits = GroupLimits(cells=cells, labels=np.array(list(report.label_papers.values())))
    shown = ShownPaper(paper_id="2611.01234", title="x" * 160, true=MANY[7], predicted=MANY[8], runner_up=MANY[9])
    sizes = {"cell": limits.shown_cells, "label": limits.shown_bars[: len(MANY)], "f1": limits.shown_bars[len(MANY) :]}
    groups = [
        PaperGroup(
            anchor=f"{kind}-{i // len(MANY)}-{i % len(MANY)}" if kind == "cell" else f"{kind}-{i}",
            heading=f"{MANY[i % len(MANY)]}, labelled {MANY[0]}",
            order="the most confident errors first",
            back="f1",
            papers=int(size),
            shown=[shown] * int(size),
        )
        for kind, limit in sizes.items()
        for i, size in enumerate(limit)
        if size
    ]
    papers = PaperGroups(groups=fitting(groups), notes=left_out_sentences(limits))
    page = night_html(report, manifest_of(report), [entry_of(0)], papers)
    assert_asks_for_nothing(page)
    assert 1_000_000 < len(page.encode()) < 2_000_000
    assert "cells with few papers have no list" in page


def test_a_night_without_true_labels_shows_the_estimate_in_their_place() -> None:
    estimated = EstimatedScores(
        papers=200,
        accuracy=0.75,
        accuracy_low=0.7,
        accuracy_high=0.8,
        macro_f1=0.6,
        macro_f1_low=0.5,
        macro_f1_high=0.7,
        f1=(0.5, 0.7, None),
    )
    report = changed(report_of(scored=0), estimated=estimated)
    text = text_of(night_html(report, manifest_of(report), [entry_of(0)], PaperGroups()))
    assert "0.7500 accuracy, estimated without labels: 0.7000 to 0.8000" in text
    assert "macro F1 0.6000 0.5000 to 0.7000 –" in text
    assert CAVEAT in text
    assert f"Over 200 papers, {estimated}. {CAVEAT}." in night_markdown(report)
    assert "estimated without labels" not in text_of(html_of())


def test_the_page_and_the_markdown_say_how_many_labels_can_differ_from_the_exact_model() -> None:
    sentence = "With 95 % confidence at most 0.5 % of labels differ from the exact model, on papers like the 4,000."
    report = report_of().model_copy(update={"certificate": sentence})
    text = text_of(night_html(report, manifest_of(report), [entry_of(0)], PaperGroups()))
    assert sentence in text
    assert sentence in night_markdown(report)
    assert "of labels differ from" not in night_markdown(report_of())
    assert "certificate" not in report_of().model_dump(mode="json")
