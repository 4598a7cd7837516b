"""Which epoch of a fine-tuning is kept."""

from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainerState

from specter_batch.training.fit.epoch_choice import NOT_KEPT, epoch_rank, standard_error

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def ranks(scores: list[float], *, papers: int, restart_after: int | None = None) -> list[float]:
    """Return the ranks of epochs with these scores, as the Trainer asks for them."""
    state, found = TrainerState(), []
    for epoch, score in enumerate(scores, 1):
        state.epoch = float(epoch)
        found.append(epoch_rank(score, state, papers=papers))
        state.log_history.append({"eval_macro_f1": score, "epoch": float(epoch)})
        if epoch == restart_after:  # another process reads the log of the checkpoint
            state = TrainerState(log_history=list(state.log_history))
    return found


def test_a_later_epoch_is_kept_if_its_score_is_lower_by_chance_only() -> None:
    assert standard_error(0.64, papers=269) > 0.02
    assert ranks([0.55, 0.64, 0.63], papers=269) == [1.0, 2.0, 3.0]


def test_an_epoch_that_is_clearly_worse_is_not_kept() -> None:
    assert ranks([0.55, 0.64, 0.60], papers=269) == [1.0, 2.0, NOT_KEPT]
    assert ranks([0.55, 0.64, 0.63], papers=20_000) == [1.0, 2.0, NOT_KEPT]


def test_scores_do_not_fall_step_by_step() -> None:
    """Each epoch is compared with the best one, not with the one before."""
    assert ranks([0.64, 0.625, 0.61, 0.595], papers=269) == [1.0, 2.0, NOT_KEPT, NOT_KEPT]


@given(SCORES, st.integers(1, 100_000), st.integers(1, 8))
def test_the_best_epoch_so_far_is_always_kept_and_a_restart_changes_nothing(
    scores: list[float], papers: int, restart_after: int
) -> None:
    found = ranks(scores, papers=papers)
    for epoch, (score, rank) in enumerate(zip(scores, found, strict=True), 1):
        assert rank in (NOT_KEPT, float(epoch))
        assert rank == epoch or score < max(scores[:epoch])
    assert ranks(scores, papers=papers, restart_after=restart_after) == found
