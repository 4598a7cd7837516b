"""Runs that transformers 4 and 5 wrote are read by the version that is installed, and give the same logits."""

import json
from pathlib import Path

import numpy as np
import pytest

from specter_batch.training.evaluation.evaluate import TorchClassifier
from specter_batch.training.run.folder import TrainingRun

FOLDER = Path(__file__).parent / "trained"


@pytest.mark.parametrize("written_by", ["transformers4", "transformers5"])
def test_a_run_gives_the_logits_that_it_had_when_it_was_written(written_by: str) -> None:
    run = TrainingRun.open(FOLDER / written_by)
    assert run.record.training["versions"]["transformers"].startswith(f"{written_by[-1]}.")
    expected = json.loads((FOLDER / f"{written_by}_expected.json").read_text())
    token_ids = run.text_encoder().encode(expected["texts"])
    assert [ids.tolist() for ids in token_ids] == expected["token_ids"]
    np.testing.assert_allclose(TorchClassifier(run).logits(token_ids), expected["logits"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("written_by", ["transformers4", "transformers5"])
def test_a_run_can_be_trained_on(written_by: str) -> None:
    from specter_batch.papers.labels import LabelSet
    from specter_batch.training.fit.config import TrainConfig
    from specter_batch.training.model.encoder import load_encoder

    run = FOLDER / written_by
    loaded = load_encoder(TrainConfig(encoder=str(run)), LabelSet(names=("a", "b")))
    assert loaded.notes == ()
    expected = json.loads((FOLDER / f"{written_by}_expected.json").read_text())
    found = loaded.tokenizer(expected["texts"], truncation=True, max_length=64)["input_ids"]
    assert found == expected["token_ids"]
