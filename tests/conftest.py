"""Fixtures for all tests: no network, and one small encoder, run and bundle that are made once."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.servers.postgres_server import running_postgres
from support.servers.s3_server import S3Server, running_s3_server

# Set before any test module imports transformers or tokenizers: both read them once, at import.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
# The batches here are too small to gain from threads, and forked children of a threaded parent make tokenizers warn.
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Torch's threads wait for each other after each small product. On a busy machine a training of a few seconds then takes
# ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if TYPE_CHECKING:
    from specter_batch.training.demo.sample import SamplePaths
    from specter_batch.training.fit.config import TrainConfig
    from specter_batch.training.run.folder import TrainingRun

N_SAMPLE_PAPERS = 600


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a BERT of two layers, random weights and a tokenizer of the sample's words."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    from specter_batch.training.demo.sample import make_papers

    folder = tmp_path_factory.mktemp("tiny") / "encoder"
    folder.mkdir()
    papers = make_papers(n_papers=300)
    vocabulary = _word_pieces(" ".join([*papers["title"].to_pylist(), *papers["abstract"].to_pylist()]).lower())
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    BertTokenizerFast.from_pretrained(folder, model_max_length=128).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    return folder


def _word_pieces(text: str) -> list[str]:
    """Return BERT's special tokens, every character and every word: the same list on every machine.

    The trainers of tokenizers break ties in another order each time.
    """
    characters = sorted(set(text) - {" "})
    words = sorted(set(re.findall(r"[a-z]{2,}", text)))
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{one}" for one in characters), *words]


@pytest.fixture(scope="session")
def sample_paths(tmp_path_factory: pytest.TempPathFactory) -> "SamplePaths":
    """Return the sample's files: to train, to validate, and a night."""
    from specter_batch.training.demo.sample import write_sample

    return write_sample(tmp_path_factory.mktemp("sample"), n_papers=N_SAMPLE_PAPERS)


@pytest.fixture(scope="session")
def tiny_config(tiny_encoder: Path) -> "TrainConfig":
    """Return the settings of `tiny_run`."""
    from specter_batch.training.fit.config import TrainConfig

    # The learning rate is a hundred times that for a pretrained encoder, because this encoder has random weights.
    return TrainConfig(encoder=str(tiny_encoder), epochs=4, learning_rate=5e-3, compute="fp32", calibration_papers=200)


@pytest.fixture(scope="session")
def tiny_run(
    tiny_config: "TrainConfig", sample_paths: "SamplePaths", tmp_path_factory: pytest.TempPathFactory
) -> "TrainingRun":
    """Return a run that has learned the sample's labels."""
    from specter_batch.training.fit.trainer import train
    from specter_batch.training.papers.labelled import read_labelled

    return train(
        tiny_config,
        train_papers=read_labelled(sample_paths.train),
        val_papers=read_labelled(sample_paths.val),
        out=tmp_path_factory.mktemp("tiny-run") / "run",
    )


@pytest.fixture(scope="session")
def tiny_bundle(tiny_run: "TrainingRun", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the run's bundle: fp32 and int8, through the parity gate."""
    from specter_export.build import build_bundle
    from specter_export.recipe import DEFAULT_RECIPES, load_recipe

    out = tmp_path_factory.mktemp("tiny-bundle") / "bundle"
    # Without Optimum in the environment with transformers 5.
    exporter = "optimum" if find_spec("optimum") else "torch"
    build_bundle(tiny_run, out, recipes=[load_recipe(name) for name in DEFAULT_RECIPES], exporter=exporter)
    return out


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """Return an S3 server in a separate process, so that its warnings do not fail our tests."""
    with running_s3_server() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> S3Server:
    """Return the server with a new bucket; this process and those it starts find it as they would find any store."""
    for name, value in {**s3_server.environment, "XDG_CACHE_HOME": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    return s3_server.with_new_bucket()


@pytest.fixture(scope="session")
def postgres() -> Iterator[None]:
    """Run a Postgres server, which libpq finds in the environment of this process; skip where none is installed."""
    with running_postgres() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def untrained_run(tiny_encoder: Path) -> Callable[..., "TrainingRun"]:
    """Return a function that writes a run folder with random weights, for tests that need no trained model."""

    def make(
        folder: Path,
        *,
        pooling: str = "cls",
        head: dict[str, Any] | None = None,
        labels: Sequence[str] = ("a", "b", "c", "d", "e"),
        max_length: int = 96,
        temperature: float = 1.0,
    ) -> "TrainingRun":
        import torch
        from torch import nn
        from transformers import AutoTokenizer, BertConfig

        from specter_batch.papers.text import TEXT_TEMPLATE
        from specter_batch.training.model.classifier import SpecterClassifierConfig, SpecterForSequenceClassification
        from specter_batch.training.run.folder import RunRecord, TrainingRun

        shape = BertConfig.from_pretrained(tiny_encoder).to_diff_dict()
        # At BERT's own 0.02 so few layers hardly tell one text from another, and any graph would look right.
        shape |= {"initializer_range": 0.2, "id2label": dict(enumerate(labels)), "label2id": {}}
        shape["label2id"] = {name: i for i, name in enumerate(labels)}
        config = SpecterClassifierConfig(pooling=pooling, head=head, **shape)
        torch.manual_seed(1)
        model = SpecterForSequenceClassification(config)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d):  # as after training: not the identity
                for tensor in (module.weight, module.bias, module.running_mean):
                    nn.init.normal_(tensor)
                nn.init.uniform_(module.running_var, 0.5, 2.0)
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(folder)
        return TrainingRun(
            path=folder,
            record=RunRecord(
                encoder=str(tiny_encoder),
                labels=tuple(labels),
                text_template=TEXT_TEMPLATE,
                max_length=max_length,
                pooling=pooling,
                head=config.head,
                temperature=temperature,
                training={},
            ),
        )

    return make
