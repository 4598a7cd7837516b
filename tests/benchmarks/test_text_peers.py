"""Peers give the labels of the model that they run: else their speed would say nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
from contest import peers
from contest.contenders import model_flops
from contest.text_peers import pipeline_onnx, pipeline_torch, study_loop

from specter_batch.metrics.f1 import Ints
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.papers.text import paper_text
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.papers.labelled import read_labelled
from specter_batch.training.run.folder import TrainingRun


@pytest.fixture(scope="module")
def texts(tiny_run: TrainingRun, sample_paths: SamplePaths) -> list[str]:
    papers = read_labelled(sample_paths.val).papers.slice(0, 20).to_pylist()
    return [paper_text(row["title"], row["abstract"], tiny_run.text_template) for row in papers]


@pytest.fixture(scope="module")
def labels(tiny_bundle: Path, texts: list[str]) -> Ints:
    bundle = ModelBundle.open(tiny_bundle)
    fp32 = OnnxClassifier(bundle, device=Device(kind="cpu"), precision="fp32")
    return fp32.predict(bundle.text_encoder().encode(texts)).label_id


def test_the_studys_loop_gives_the_labels_of_the_model(tiny_run: TrainingRun, texts: list[str], labels: Ints) -> None:
    np.testing.assert_array_equal(study_loop(tiny_run, device="cpu")(texts), labels)


def test_pipeline_on_torch_gives_the_labels_of_the_model(tiny_run: TrainingRun, texts: list[str], labels: Ints) -> None:
    np.testing.assert_array_equal(pipeline_torch(tiny_run, device="cpu")(texts), labels)


def test_pipeline_on_onnx_runtime_takes_fp32_and_optimums_int8(
    tiny_bundle: Path, texts: list[str], labels: Ints, tmp_path: Path
) -> None:
    bundle = ModelBundle.open(tiny_bundle)
    length = bundle.manifest.max_length
    fp32 = pipeline_onnx(tiny_bundle, "model.onnx", bundle.labels, max_length=length)
    np.testing.assert_array_equal(fp32(texts), labels)
    stock = peers.stock_int8(tiny_bundle / "model.onnx", tmp_path)
    int8 = pipeline_onnx(stock.parent, stock.name, bundle.labels, max_length=length)
    assert (int8(texts) == labels).mean() > 0.8


def test_torch_bf16_gives_nearly_the_labels_of_the_model(tiny_run: TrainingRun, texts: list[str], labels: Ints) -> None:
    found = peers.torch_bf16(tiny_run).logits(tiny_run.text_encoder().encode(texts)).argmax(axis=1)
    assert (found == labels).mean() > 0.8


def test_operations_are_those_that_torch_counts(tiny_run: TrainingRun, texts: list[str]) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import BertConfig, BertModel

    shape = json.loads((tiny_run.path / "config.json").read_text())
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    config = BertConfig(**{name: shape[name] for name in names}, max_position_embeddings=512)
    config._attn_implementation = "eager"
    model = BertModel(config, add_pooling_layer=False)
    token_ids = tiny_run.text_encoder().encode(texts[:3])
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        for ids in token_ids:
            model(torch.from_numpy(ids)[None])
    assert model_flops(tiny_run, token_ids) == counter.get_total_flops()
