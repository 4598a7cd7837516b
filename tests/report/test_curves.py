import math
from typing import Any

import pytest

from specter_batch.report.curves import MAX_EPOCHS, MAX_POINTS, training_curves
from support.drawings import elements, points

LOG: list[dict[str, Any]] = [
    {"loss": 2.0, "grad_norm": 3.0, "learning_rate": 1e-5, "epoch": 0.5, "step": 50},
    {"loss": 1.0, "grad_norm": 3.0, "learning_rate": 2e-5, "epoch": 1.0, "step": 100},
    {"eval_loss": 1.5, "eval_macro_f1": 0.7, "eval_accuracy": 0.8, "epoch": 1.0, "step": 100},
    {"loss": 0.5, "grad_norm": 3.0, "learning_rate": 1e-5, "epoch": 1.5, "step": 150},
    {"eval_loss": 1.6, "eval_macro_f1": 0.6, "eval_accuracy": 0.7, "epoch": 2.0, "step": 200},
    {"train_runtime": 60.0, "train_loss": 1.2, "epoch": 2.0, "step": 200},
]


def test_a_log_gives_a_picture_of_loss_rate_and_scores() -> None:
    found = training_curves(LOG)
    assert list(found) == ["Loss", "Learning rate", "Validation scores"]
    assert [len(line) for line in points(found["Loss"], "curve")] == [3, 2]
    assert [len(line) for line in points(found["Learning rate"], "curve")] == [3]
    assert [len(line) for line in points(found["Validation scores"], "curve")] == [2, 2]


def test_the_kept_epoch_is_the_one_with_the_best_macro_f1() -> None:
    svg = training_curves(LOG)["Validation scores"]
    kept, legend = elements(svg, "circle", "kept")
    best = next(dot for dot in elements(svg, "circle", "now") if dot[0].text == "epoch 1, step 100: macro F1 0.7000")
    assert (kept.get("cx"), kept.get("cy")) == (best.get("cx"), best.get("cy"))
    assert len(legend) == 0


def test_every_epoch_ends_at_an_upright_line_in_every_picture() -> None:
    for svg in training_curves(LOG).values():
        ends = points(svg, "end")
        assert len(ends) == 2
        assert all(foot[0] == top[0] for foot, top in ends)


def test_curves_are_named_where_there_are_several() -> None:
    found = training_curves(LOG)
    assert all(f">{name}<" in found["Loss"] for name in ("training", "validation"))
    assert all(f">{name}<" in found["Validation scores"] for name in ("accuracy", "macro F1", "kept"))


def test_the_log_of_an_earlier_version_has_validation_scores_alone() -> None:
    found = training_curves([entry for entry in LOG if "eval_loss" in entry])
    assert list(found) == ["Loss", "Validation scores"]


@pytest.mark.parametrize("log", [[], [{"train_runtime": 3.0}], [{"loss": None, "step": 5}], [{"step": 0, "loss": 1.0}]])
def test_a_log_without_steps_or_figures_gives_no_picture(log: list[dict[str, Any]]) -> None:
    assert training_curves(log) == {}


def test_a_loss_that_is_no_number_is_passed_over() -> None:
    found = training_curves([{"loss": math.nan, "step": 10}, {"loss": math.inf, "step": 20}, *LOG])
    assert found == training_curves(LOG)


def test_a_rate_of_nothing_is_drawn() -> None:
    assert list(training_curves([{"loss": 0.0, "learning_rate": 0.0, "step": 10}])) == ["Loss", "Learning rate"]


def test_a_long_log_is_drawn_with_the_mean_of_neighbours() -> None:
    log = [{"loss": float(i % 2), "step": i} for i in range(1, 8 * MAX_POINTS + 1)]
    (line,) = points(training_curves(log)["Loss"], "curve")
    assert len(line) == MAX_POINTS
    assert len({y for _, y in line}) == 1


def test_many_epochs_are_not_marked() -> None:
    log = [{"eval_loss": 1.0, "step": i, "epoch": float(i)} for i in range(1, MAX_EPOCHS + 2)]
    assert points(training_curves(log)["Loss"], "end") == []
