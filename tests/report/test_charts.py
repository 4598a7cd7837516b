from xml.etree import ElementTree

import pytest

from specter_batch.metrics.score_report import ReliabilityBin
from specter_batch.metrics.selective import CurvePoint
from specter_batch.report import charts
from specter_batch.report.heat_map import MAX_NAMED_LABELS, heat_map, heat_maps
from specter_batch.report.svg import MAX_NAME, nice_ticks
from support.drawings import elements, points


@pytest.mark.parametrize(
    ("highest", "expected"),
    [(1, [0, 0.25, 0.5, 0.75, 1]), (0.37, [0, 0.1, 0.2, 0.3, 0.4]), (4100, [0, 2000, 4000, 6000]), (3e-5, None)],
)
def test_ticks_are_round_and_reach_the_highest_value(highest: float, expected: list[float] | None) -> None:
    ticks = nice_ticks(highest)
    assert ticks[0] == 0
    assert ticks[-2] < highest <= ticks[-1]
    assert len(ticks) <= 7
    assert expected is None or ticks == pytest.approx(expected)


@pytest.mark.parametrize(("share", "width"), [(0.25, "25.00%"), (1.7, "100.00%"), (-1, "0.00%")])
def test_a_bar_is_as_long_as_its_share_and_stays_in_its_cell(share: float, width: str) -> None:
    (rect,) = elements(charts.bar(share, kind="f1"), "rect", "f1")
    assert rect.get("width") == width


def test_marks_of_a_bar_stand_at_their_shares() -> None:
    lines = elements(charts.bar(0.5, marks={"reference": 0.25, "previous": 0.75}), "line")
    assert [(line.get("class"), line.get("x1")) for line in lines] == [
        ("mark reference", "25.00%"),
        ("mark previous", "75.00%"),
    ]


def test_a_heat_map_has_a_cell_for_every_pair_that_occurs() -> None:
    svg = heat_map([[8, 2], [0, 5]], ["art", "law"])
    titles = [rect[0].text for rect in elements(svg, "rect") if len(rect)]
    assert titles == ["art → art: 8 of 10 (80%)", "art → law: 2 of 10 (20%)", "law → law: 5 of 5 (100%)"]
    hits = [float(rect.get("fill-opacity", "")) for rect in elements(svg, "rect", "hit")]
    (miss,) = elements(svg, "rect", "miss")
    assert hits[1] == 1 > hits[0] > float(miss.get("fill-opacity", "")) > 0


def test_the_cells_of_a_heat_map_stand_in_the_row_of_the_true_label() -> None:
    svg = heat_map([[0, 3], [0, 0]], ["art", "law"])
    (cell,), (frame,) = elements(svg, "rect", "miss"), elements(svg, "rect", "frame")
    assert cell.get("y") == frame.get("y")
    assert float(cell.get("x", "")) > float(frame.get("x", ""))


def test_counts_and_names_leave_a_heat_map_that_is_too_large_for_them() -> None:
    def of(n: int) -> str:
        return heat_map([[int(i == j) for j in range(n)] for i in range(n)], [f"label {i}" for i in range(n)])

    assert len(elements(of(20), "text", "count")) == 20
    assert (len(elements(of(40), "text", "count")), of(40).count(">label 39<")) == (0, 2)
    large = of(162)
    assert "<title>label 161 → label 161: 1 of 1 (100%)</title>" in large
    assert len(elements(large, "rect", "hit")) == 162
    assert [text.text for text in elements(large, "text")] == ["predicted →", "true →"]


def test_rare_confusions_of_many_labels_are_drawn_without_words() -> None:
    n = MAX_NAMED_LABELS + 1
    confusion = [[99 if i == j else 0 for j in range(n)] for i in range(n)]
    confusion[0][1] = 1
    svg = heat_map(confusion, [f"label {i}" for i in range(n)])
    (rare,) = elements(svg, "path", "miss")
    assert len(rare) == 0
    assert rare.get("d", "").count("z") == 1
    assert svg.count("<title>") == n


@pytest.mark.parametrize("n", [2, 11, 19, MAX_NAMED_LABELS])
def test_a_phone_gets_a_heat_map_with_numbers_that_fits_its_screen(n: int) -> None:
    names = [f"label {i}" for i in range(n)]
    maps = heat_maps([[1] * n for _ in range(n)], names)
    assert maps.narrow is not None
    assert float(ElementTree.fromstring(maps.narrow).get("viewBox", "").split()[2]) <= 320  # noqa: S314 - our own
    assert len(elements(maps.narrow, "rect")) == n * n + 1
    assert f">label {n - 1} → label 0: 1 of {n}" in maps.narrow
    assert f"<title>label {n - 1}</title>{n}</text>" in maps.narrow


def test_a_heat_map_without_names_is_the_same_on_a_phone() -> None:
    n = MAX_NAMED_LABELS + 1
    assert heat_maps([[1] * n for _ in range(n)], [f"label {i}" for i in range(n)]).narrow is None


def test_cells_link_to_the_part_of_the_page_that_they_are_given() -> None:
    maps = heat_maps([[8, 2], [0, 5]], ["art", "law"], link=lambda i, j: f"c{i}-{j}" if i != j else None)
    for drawn in (maps.wide, maps.narrow):
        (link,) = elements(str(drawn), "a")
        assert link.get("href") == "#c0-1"
        assert link[0][0].text == "art → law: 2 of 10 (20%)"


def test_a_long_name_is_cut_and_told_in_full_by_its_title() -> None:
    name = "Category of an exceedingly long and winding name"
    svg = heat_map([[1]], [name])
    shown = elements(svg, "text")[1]
    assert shown[0].text == name
    assert (shown[0].tail or "").endswith("…")
    assert len(shown[0].tail or "") <= MAX_NAME


def test_names_are_escaped_in_texts_and_titles() -> None:
    svg = heat_map([[1, 1], [0, 1]], ["<b>&", 'say "no"'])
    assert "<b>" not in svg
    assert any(rect[0].text == '<b>& → say "no": 1 of 2 (50%)' for rect in elements(svg, "rect") if len(rect))


def test_a_reliability_curve_has_a_point_for_every_bin_with_papers() -> None:
    bins = [
        ReliabilityBin(start=0, end=0.3, papers=0, accuracy=None, mean_score=None),
        ReliabilityBin(start=0.3, end=0.6, papers=4, accuracy=0.5, mean_score=0.5),
        ReliabilityBin(start=0.6, end=1, papers=100, accuracy=1.0, mean_score=0.9),
    ]
    svg = charts.reliability(bins)
    few, many = elements(svg, "circle")
    assert [few[0].text, many[0].text] == [
        "4 papers: mean score 0.500, accuracy 0.500",
        "100 papers: mean score 0.900, accuracy 1.000",
    ]
    assert float(few.get("r", "")) < float(many.get("r", ""))
    ((few_low, few_high), (many_low, many_high)) = points(svg, "whisker")
    assert few_low[1] - few_high[1] > many_low[1] - many_high[1] > 0


def test_calibrated_scores_lie_on_the_diagonal() -> None:
    bins = [ReliabilityBin(start=x - 0.1, end=x, papers=10, accuracy=x, mean_score=x) for x in (0.2, 0.6, 1.0)]
    svg = charts.reliability(bins)
    ((start, end),) = points(svg, "diagonal")
    slope = (end[1] - start[1]) / (end[0] - start[0])
    (curve,) = points(svg, "curve")
    for x, y in curve:
        assert y == pytest.approx(start[1] + slope * (x - start[0]), abs=0.2)


def test_a_histogram_has_a_bar_for_every_bin_and_steps_for_the_others() -> None:
    svg = charts.histogram([0.1, 0.4, 0.5], {"reference": [0.5, 0.5, 0.0]})
    heights = [float(rect.get("height", "")) for rect in elements(svg, "rect", "now")]
    assert heights[1] / heights[0] == pytest.approx(4, rel=0.02)
    (steps,) = points(svg, "reference")
    assert len(steps) == 6
    assert steps[0][1] == steps[3][1] < steps[4][1]


# Risk and coverage

CURVE = [
    CurvePoint(coverage=0.5, risk=0.0, threshold=0.9),
    CurvePoint(coverage=1.0, risk=0.2, threshold=0.4),
]


def test_a_risk_coverage_curve_goes_through_its_points_which_tell_their_thresholds() -> None:
    svg = charts.risk_coverage(CURVE, chosen=None)
    (curve,), (level,) = points(svg, "curve"), points(svg, "diagonal")
    assert curve[0][1] > curve[1][1] == level[0][1]
    told = [dot[0].text for dot in elements(svg, "circle")]
    assert told == ["score at least 0.9000: 50% kept, 0.00% wrong", "score at least 0.4000: 100% kept, 20.00% wrong"]


def test_the_chosen_threshold_stands_upright_at_its_coverage() -> None:
    ((foot, top),) = points(charts.risk_coverage(CURVE, chosen=0.5), "chosen")
    (curve,) = points(charts.risk_coverage(CURVE, chosen=0.5), "curve")
    assert foot[0] == top[0] == curve[0][0]
    assert points(charts.risk_coverage(CURVE, chosen=0.0), "chosen") == []


def test_a_curve_without_errors_is_drawn() -> None:
    assert points(charts.risk_coverage([CurvePoint(coverage=1.0, risk=0.0, threshold=0.9)], chosen=1.0), "curve")
