"""Runs load in transformers with the logits that they have here."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertForSequenceClassification

from specter_batch.training import load_run
from specter_batch.training.demo.sample import SamplePaths, make_papers
from specter_batch.training.embeddings.embed import Embedder
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.model.classifier import SpecterForSequenceClassification
from specter_batch.training.model.encoder import load_encoder
from specter_batch.training.model.head_config import HeadConfig
from specter_batch.training.model.saving import LOADER_FILE, save_model
from specter_batch.training.papers.labelled import read_labelled
from specter_batch.training.run.folder import TrainingRun

LINEAR: dict[str, Any] = {}
OWN_LINEAR = HeadConfig.of(nn.Sequential(nn.Dropout(0.3), nn.Linear(32, 5))).model_dump()
MLP: dict[str, Any] = {"hidden_sizes": (24,)}
PLAIN = [("cls", LINEAR), ("pooler", LINEAR), ("cls", OWN_LINEAR)]
OTHERS = [("mean", LINEAR), ("cls", MLP), ("pooler", MLP)]
PAPERS = make_papers(n_papers=24, seed=3).to_pylist()
TEXTS = [*(f"{row['title']}[SEP]{row['abstract']}" for row in PAPERS), "Sepsis[SEP]"]


def logits_of(model: nn.Module, folder: Path, *, dtype: torch.dtype = torch.float32) -> np.ndarray:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(TEXTS, truncation=True, max_length=96, padding=True, return_tensors="pt")
    with torch.inference_mode():
        return model.eval().to(dtype)(**batch).logits.float().numpy()


@pytest.fixture
def saved(untrained_run: Callable[..., TrainingRun], tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a run as training does."""

    def save(pooling: str, head: dict[str, Any]) -> Path:
        run = untrained_run(tmp_path / "run", pooling=pooling, head=head)
        save_model(SpecterForSequenceClassification.from_pretrained(run.path), run.path)
        return run.path

    return save


@pytest.mark.parametrize(("pooling", "head"), PLAIN)
def test_a_linear_head_loads_as_berts_own_classifier(
    saved: Callable[..., Path], pooling: str, head: dict[str, Any]
) -> None:
    folder = saved(pooling, head)
    ours = SpecterForSequenceClassification.from_pretrained(folder)
    theirs = AutoModelForSequenceClassification.from_pretrained(folder)
    assert type(theirs) is BertForSequenceClassification
    expected = logits_of(ours, folder)
    np.testing.assert_allclose(logits_of(theirs, folder), expected, rtol=0, atol=2e-5)
    assert expected.std(axis=0).min() > 0.01
    half = logits_of(theirs, folder, dtype=torch.bfloat16)
    np.testing.assert_allclose(half, logits_of(ours, folder, dtype=torch.bfloat16), rtol=0, atol=0.1)
    assert theirs.config.id2label == ours.config.id2label


@pytest.mark.parametrize(("pooling", "head"), OTHERS)
def test_other_models_load_with_the_class_of_this_project(
    saved: Callable[..., Path], pooling: str, head: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("sys.path", [*sys.path])
    folder = saved(pooling, head)
    ours = SpecterForSequenceClassification.from_pretrained(folder)
    for options in ({}, {"trust_remote_code": True}):
        theirs = AutoModelForSequenceClassification.from_pretrained(folder, **options)
        assert type(theirs) is SpecterForSequenceClassification
        np.testing.assert_array_equal(logits_of(theirs, folder), logits_of(ours, folder))
    assert (folder / LOADER_FILE).is_file()


def test_without_this_project_transformers_says_what_to_add(saved: Callable[..., Path]) -> None:
    folder = saved("mean", LINEAR)
    load = f"import transformers; transformers.AutoModelForSequenceClassification.from_pretrained({str(folder)!r})"
    found = subprocess.run(
        [sys.executable, "-c", load], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert found.returncode == 1
    assert "trust_remote_code=True" in found.stderr.splitlines()[-1]


def test_a_trained_run_loads_everywhere_with_equal_logits(tiny_run: TrainingRun, sample_paths: SamplePaths) -> None:
    ours, theirs = load_run(tiny_run.path), AutoModelForSequenceClassification.from_pretrained(tiny_run.path)
    np.testing.assert_allclose(logits_of(theirs, tiny_run.path), logits_of(ours, tiny_run.path), rtol=0, atol=2e-5)
    texts = read_labelled(sample_paths.val).texts()[:8]
    assert Embedder.of_run(tiny_run.path).embed(texts).shape == (8, 32)


def test_the_pooler_that_only_transformers_needs_is_not_trained_further(
    saved: Callable[..., Path], tiny_config: TrainConfig, tiny_run: TrainingRun
) -> None:
    folder = saved("cls", LINEAR)
    config = tiny_config.model_copy(update={"encoder": str(folder), "pooling": "pooler"})
    loaded = load_encoder(config, tiny_run.labels)
    assert any("has no pooler" in note for note in loaded.notes)
    weight = loaded.model.bert.pooler.dense.weight
    assert not torch.equal(weight, torch.diag(weight.diag()))
