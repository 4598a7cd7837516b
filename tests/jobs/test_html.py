import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from night_reports import entry_of, manifest_of, report_of
from papers_on_disk import RunNight
from specter_batch.sample import SamplePaths
from specter_jobs.gates import GateLimits
from specter_jobs.html import MAX_SPANS, N_SLOWEST, night_html
from specter_jobs.ledger import LedgerEntry

VOID = {"meta", "link", "br", "img", "input", "hr"}
EVIL = "<script>alert('x')</script>"
MANY = tuple(f"Class number {i}" for i in range(162))


class Page(HTMLParser):
    """Collects text by section, and refuses a page whose tags do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def html_of(entries: list[LedgerEntry] | None = None, **of: Any) -> str:
    report = report_of(**of)
    return night_html(report, manifest_of(report), [entry_of(0), entry_of(1)] if entries is None else entries)


def text_of(page: str) -> str:
    return " ".join(" ".join(Page(page).text).split())


@pytest.mark.parametrize(
    "of",
    [
        {},
        {"previous": report_of(seed=3)},
        {"scored": 0},
        {"papers": 0, "scored": 0, "entries": []},
        {"labels": MANY, "papers": 5000, "scored": 3000},
        {"labels": (EVIL, "a & b", '"><b>'), "failed_shards": {EVIL: EVIL}, "entries": [entry_of(0, file=EVIL)]},
    ],
    ids=["plain", "previous", "nothing scored", "nothing at all", "162 classes", "hostile names"],
)
def test_the_page_is_whole_and_asks_for_nothing(of: dict[str, Any]) -> None:
    page = html_of(**of)
    parsed = Page(page)
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(parsed.tags)
    names = {name for name, _ in parsed.attributes}
    assert not {"src", "href", "srcset", "xlink:href"} & names
    assert not [name for name in names if name.startswith("on")]
    assert "url(" not in page
    assert "@import" not in page
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ElementTree.fromstring(svg)  # noqa: S314 - of our own making


def test_the_page_is_readable_in_dark_and_light() -> None:
    page = html_of()
    light, _, dark = page.partition("prefers-color-scheme: dark")
    defined = set(re.findall(r"(--[a-z0-9]+):", light))
    assert set(re.findall(r"(--[a-z0-9]+):", dark)) == defined
    assert set(re.findall(r"var\((--[a-z0-9]+)\)", page)) <= defined


def test_names_from_data_are_shown_as_text() -> None:
    page = html_of(labels=(EVIL, "law", "music"), failed_shards={"b.parquet": EVIL}, entries=[entry_of(0, file=EVIL)])
    assert "<script" not in page
    assert text_of(page).count(EVIL) > 4


def test_headline_figures_and_every_label_are_told() -> None:
    report = report_of()
    text = text_of(html_of())
    assert f"{report['macro_f1']:.4f} macro F1, 100 papers" in text
    assert "210 rows in 200 labelled 0 reused 10 rejected 0 in failed shards" in text
    for row in report["per_label"]:
        figures = f"{row['f1']:.4f} {row['precision']:.4f} {row['recall']:.4f} {row['support']} {row['predicted']}"
        assert f"{row['label']} {figures}" in text


def test_labels_stand_with_the_most_frequent_first() -> None:
    text = text_of(html_of())
    labels = sorted(report_of()["label_papers"].items(), key=lambda item: -item[1])
    places = [text.index(f"{name} {papers} {papers / 200:.1%}") for name, papers in labels]
    assert places == sorted(places)


def test_shares_stand_beside_those_of_the_previous_night() -> None:
    previous = report_of(seed=3)
    share = report_of()["label_shares"]["law"]
    alone, both = text_of(html_of()), text_of(html_of(previous=previous))
    assert f"{share:.1%} 33.3% {previous['label_shares']['law']:.1%}" in both
    assert "previous night" not in alone
    assert html_of(previous=previous).count('class="mark previous"') == 3


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
    bad = text_of(html_of(gates=GateLimits(min_rows=1000, max_psi_previous=1), failed_shards={"b": "is empty"}))
    assert "Every row is accounted for, and every gate has passed" in good
    assert (
        "Shards or files that failed: 1 (a rerun does only these). Gates that failed: min_rows, max_psi_previous" in bad
    )
    assert "✗ failed : there is no previous night" in bad
    assert "b is empty" in bad


def test_rejects_are_counted_by_reason() -> None:
    assert "duplicate_id 3 not_english 7" in text_of(html_of())


def test_the_slowest_shards_are_listed_slowest_first() -> None:
    entries = [entry_of(i, seconds=float(10 + i)) for i in range(30)]
    rows = re.findall(r"a\.parquet ([\d,]+) 100 ([\d.]+) ([\d.]+)", text_of(html_of(entries=entries)))
    assert rows[0] == ("2,900", "39.0", "2.6")
    assert len(rows) == N_SLOWEST


def test_more_shards_than_the_picture_has_room_for_are_drawn_together() -> None:
    entries = [entry_of(i) for i in range(10 * MAX_SPANS)]
    (curve,) = re.findall(
        r'aria-label="Papers per second over time".*?class="curve" points="([^"]*)"', html_of(entries)
    )
    heights = {point.split(",")[1] for point in curve.split()}
    assert len(curve.split()) == 2 * MAX_SPANS
    assert len(heights) == 1


def test_a_night_writes_its_page(night: RunNight, sample_paths: SamplePaths, tmp_path: Path) -> None:
    report = night(sample_paths.night).report
    text = text_of((tmp_path / "out/report.html").read_text())
    assert f"{report['macro_f1']:.4f} macro F1" in text
    assert "model_int8.onnx" in text
    assert [name for name in report["labels"] if name not in text] == []
