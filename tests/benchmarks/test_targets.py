from typing import Any

import pytest
from contest.contenders import JOB, SESSION, STUDENT_HALF, STUDY
from contest.targets import judge, ratios, spread


def measured(**rates: list[float]) -> dict[str, Any]:
    changed = {"papers": 1000, "changed": 4, "share": 0.004}
    return {key: {"rates": values, "labels_changed": changed} for key, values in rates.items()}


FAST = {STUDY: [1.0, 2.0], "pipeline_int8": [4.0, 8.0], "openvino_bf16": [6.0, 12.0], "openvino_int8": [8.0, 16.0]}
OURS = {"int8": [8.0, 16.0], STUDENT_HALF: [20.0, 40.0], SESSION: [7.2, 14.4], JOB: [7.0, 14.0]}


def verdicts(**changes: list[float]) -> list[bool | None]:
    return [target["reached"] for target in judge(measured(**(FAST | OURS | changes)), trained=True)]


def test_figures_that_keep_every_limit_reach_every_target() -> None:
    assert verdicts() == [True] * 8


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({STUDY: [1.2, 2.4]}, 1),
        ({"pipeline_int8": [5.0, 10.0]}, 2),
        ({"openvino_bf16": [7.1, 14.2]}, 3),
        ({"openvino_int8": [9.0, 18.0]}, 4),
        ({STUDENT_HALF: [15.0, 30.0]}, 5),
        ({SESSION: [7.4, 14.8]}, 7),
    ],
)
def test_a_figure_beyond_its_limit_misses_its_target_alone(changes: dict[str, list[float]], missed: int) -> None:
    assert verdicts(**changes) == [position != missed for position in range(8)]


def test_too_many_changed_labels_miss_the_first_target() -> None:
    figures = measured(**FAST, **OURS)
    figures[SESSION]["labels_changed"] = {"papers": 1000, "changed": 6, "share": 0.006}
    assert not judge(figures, trained=True)[0]["reached"]
    assert judge(figures, trained=True)[0]["note"] == "6 of 1000 papers"


def test_ratios_pair_the_rounds_so_that_a_slow_minute_hits_both() -> None:
    assert ratios(measured(**FAST, **OURS), JOB, STUDY) == [7.0, 7.0]


def test_labels_of_random_weights_are_no_verdict() -> None:
    first = judge(measured(**FAST, **OURS), trained=False)[0]
    assert (first["found"], first["reached"]) == (None, None)
    assert "random" in first["note"]


def test_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    figures = {key: one for key, one in measured(**FAST, **OURS).items() if key != "openvino_int8"}
    target = judge(figures, trained=True)[4]
    assert (target["reached"], target["note"]) == (None, "not measured: openvino_int8")


def test_spread_of_an_even_number_is_between_the_middle_two() -> None:
    assert spread([4.0, 1.0, 3.0, 2.0]) == {"median": 2.5, "low": 1.0, "high": 4.0}
