from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specter_batch.errors import ConfigError
from specter_batch.training.distillation.student import evenly_spaced, make_student
from specter_batch.training.run.folder import TrainingRun


@pytest.mark.parametrize(
    ("layers", "of", "chosen"),
    [(1, 6, (6,)), (2, 6, (1, 6)), (3, 6, (1, 3, 6)), (4, 12, (1, 4, 8, 12)), (6, 12, (1, 3, 5, 7, 9, 12))],
)
def test_layers_are_taken_at_even_distances(layers: int, of: int, chosen: tuple[int, ...]) -> None:
    assert evenly_spaced(layers, of=of) == chosen


@given(data=st.data(), of=st.integers(2, 48))
def test_distances_differ_by_one_at_most_and_both_ends_are_kept(data: st.DataObject, of: int) -> None:
    layers = data.draw(st.integers(2, of))
    chosen = evenly_spaced(layers, of=of)
    distances = {after - before for before, after in pairwise(chosen)}
    assert len(chosen) == layers
    assert (chosen[0], chosen[-1]) == (1, of)
    assert min(distances) >= 1
    assert max(distances) - min(distances) <= 1


def test_more_layers_than_the_teacher_has_are_refused() -> None:
    with pytest.raises(ConfigError, match="--layers 7: the teacher has 6 layers; give a number from 1 to 6"):
        evenly_spaced(7, of=6)


def test_a_student_has_the_layers_and_all_else_of_its_teacher(tiny_run: TrainingRun) -> None:
    teacher, student = (
        make_student(tiny_run, [1, 2], attention_dropout=0.0).model,
        make_student(tiny_run, [2], attention_dropout=0.0).model,
    )
    assert student.config.num_hidden_layers == 1
    taken = {
        name.replace("encoder.layer.1.", "encoder.layer.0."): tensor
        for name, tensor in teacher.state_dict().items()
        if "encoder.layer.0." not in name
    }
    assert student.state_dict().keys() == taken.keys()
    assert all(tensor.equal(taken[name]) for name, tensor in student.state_dict().items())
