import math
import re
from typing import Any
from xml.etree import ElementTree

import matplotlib
import pytest

from specter_batch.training.fit.curves import MAX_EPOCHS, MAX_POINTS, training_curves
from specter_batch.training.fit.epoch_choice import EPOCH_RANK, NOT_KEPT

LOG: list[dict[str, Any]] = [
    {"loss": 2.0, "grad_norm": 3.0, "learning_rate": 1e-5, "epoch": 0.5, "step": 50},
    {"loss": 1.0, "grad_norm": 3.0, "learning_rate": 2e-5, "epoch": 1.0, "step": 100},
    {"eval_loss": 1.5, "eval_macro_f1": 0.7, "eval_accuracy": 0.8, "epoch": 1.0, "step": 100},
    {"loss": 0.5, "grad_norm": 3.0, "learning_rate": 1e-5, "epoch": 1.5, "step": 150},
    {"eval_loss": 1.6, "eval_macro_f1": 0.6, "eval_accuracy": 0.7, "epoch": 2.0, "step": 200},
    {"train_runtime": 60.0, "train_loss": 1.2, "epoch": 2.0, "step": 200},
]
SVG = "{http://www.w3.org/2000/svg}"
CURVES = ("training", "validation", "learning rate", "accuracy", "macro F1")
TITLES = ("Loss", "Learning rate", "Validation scores")


def parsed(log: list[dict[str, Any]]) -> ElementTree.Element:
    drawn = training_curves(log)
    assert drawn is not None
    return ElementTree.fromstring(drawn)  # noqa: S314 - of our own making


def words(log: list[dict[str, Any]]) -> list[str]:
    return [text.text or "" for text in parsed(log).iter(f"{SVG}text")]


def titles(log: list[dict[str, Any]]) -> list[str]:
    return [word for word in words(log) if word in TITLES]


def curves(log: list[dict[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Return the points of each curve by its name."""
    found = {}
    for group in parsed(log).iter(f"{SVG}g"):
        path, name = group.find(f"{SVG}path"), group.get("id", "")
        if path is not None and name in CURVES:
            pairs = re.findall(r"[ML] ([-0-9.]+) ([-0-9.]+)", path.get("d", ""))
            found[name] = [(float(x), float(y)) for x, y in pairs]
    return found


def n_ends_of_epochs(log: list[dict[str, Any]]) -> int:
    return len([path for path in parsed(log).iter(f"{SVG}path") if "stroke-dasharray: 3,4" in path.get("style", "")])


def test_a_log_gives_panels_of_loss_learning_rate_and_scores() -> None:
    assert titles(LOG) == list(TITLES)
    assert {name: len(points) for name, points in curves(LOG).items()} == {
        "training": 3,
        "validation": 2,
        "learning rate": 3,
        "accuracy": 2,
        "macro F1": 2,
    }


def test_axes_and_curves_are_named_in_plain_words() -> None:
    found = words(LOG)
    for name in ("Loss", "Learning rate", "Validation scores", "training", "validation", "accuracy", "macro F1"):
        assert name in found
    assert found.count("steps (dashed lines: end of an epoch)") == 3


def test_no_name_of_an_axis_stands_next_to_the_ticks() -> None:
    turned = [text for text in parsed(LOG).iter(f"{SVG}text") if "rotate(-90" in text.get("transform", "")]
    assert turned == []


def test_the_picture_for_a_phone_is_narrow_and_holds_the_same_words() -> None:
    narrow = training_curves(LOG, narrow=True)
    assert narrow is not None
    assert int(re.findall(r'viewBox="0 0 (\d+)', narrow)[0]) <= 390
    for word in words(LOG):
        assert word in narrow or word.replace(",", "").isdigit() or "." in word


def test_the_kept_epoch_is_the_one_with_the_best_macro_f1() -> None:
    assert "kept epoch, macro F1 0.7000" in words(LOG)
    ranked = [entry | {f"eval_{EPOCH_RANK}": entry["epoch"]} if "eval_loss" in entry else entry for entry in LOG]
    assert "kept epoch, macro F1 0.6000" in words(ranked)
    ranked[-2] = ranked[-2] | {f"eval_{EPOCH_RANK}": NOT_KEPT}
    assert "kept epoch, macro F1 0.7000" in words(ranked)


def test_every_epoch_ends_at_a_dashed_line_in_every_panel() -> None:
    assert n_ends_of_epochs(LOG) == 2 * 3


def test_the_log_of_an_earlier_version_has_validation_scores_alone() -> None:
    assert titles([entry for entry in LOG if "eval_loss" in entry]) == ["Loss", "Validation scores"]


@pytest.mark.parametrize("log", [[], [{"train_runtime": 3.0}], [{"loss": None, "step": 5}], [{"step": 0, "loss": 1.0}]])
def test_a_log_without_steps_or_values_gives_no_picture(log: list[dict[str, Any]]) -> None:
    assert training_curves(log) is None


def test_nan_and_infinity_are_left_out() -> None:
    found = training_curves([{"loss": math.nan, "step": 10}, {"loss": math.inf, "step": 20}, *LOG])
    assert found == training_curves(LOG)


def test_a_learning_rate_of_zero_is_drawn() -> None:
    assert titles([{"loss": 0.0, "learning_rate": 0.0, "step": 10}]) == ["Loss", "Learning rate"]


def test_a_long_log_is_drawn_with_the_mean_of_neighbours() -> None:
    log = [{"loss": float(i % 7), "step": i} for i in range(1, 7 * MAX_POINTS + 1)]
    assert len({y for _, y in curves(log)["training"]}) == 1


def test_many_epochs_are_not_marked() -> None:
    log = [{"eval_loss": 1.0, "step": i, "epoch": float(i)} for i in range(1, MAX_EPOCHS + 2)]
    assert n_ends_of_epochs(log) == 0
    assert "steps" in words(log)


def test_the_same_log_gives_the_same_bytes_whatever_style_the_user_has() -> None:
    first = training_curves(LOG)
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "svg.hashsalt": None}):
        assert training_curves(LOG) == first


def test_the_picture_follows_the_colours_of_the_page_and_changes_nothing_else_there() -> None:
    drawn = str(training_curves(LOG))
    assert re.findall(r"#[0-9a-f]{6}\b", drawn) == []
    assert set(re.findall(r"var\(--(\w+)\)", drawn)) == {"card", "ink", "soft", "line", "now", "previous", "good"}
    assert "<style" not in drawn
    assert "<metadata" not in drawn
