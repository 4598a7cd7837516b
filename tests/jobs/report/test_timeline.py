import re

import pytest

from specter_jobs.report.timeline import timeline
from support.drawings import elements, points


def test_a_timeline_shows_each_span_at_its_rate() -> None:
    svg = timeline([(0, 10, 30.0), (10, 20, 60.0)])
    (curve,) = points(svg, "curve")
    assert curve[0][1] == curve[1][1] > curve[2][1] == curve[3][1]
    assert curve[1][0] == curve[2][0]


@pytest.mark.parametrize(("end", "unit"), [(50, "seconds"), (600, "minutes"), (5 * 3600, "hours")])
def test_a_timeline_counts_in_the_unit_that_suits_it(end: float, unit: str) -> None:
    svg = timeline([(0, end, 30.0)])
    assert re.search(rf">{unit} of labelling<", svg)


def test_a_timeline_of_no_speed_at_all_is_drawn() -> None:
    assert elements(timeline([(0, 10, 0.0)]), "polyline", "curve")
