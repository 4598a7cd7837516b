"""Make the inputs of the CUDA benchmark: BERT-base's exported graph without weights, and token lengths of real papers.

Usage: python benchmarks/cuda/make_inputs.py VOCABULARY PAPERS [PAPERS ...]

VOCABULARY is SPECTER's `vocab.txt`, PAPERS are parquet files with title and abstract. The papers' lengths are drawn so
that their mean is 256 tokens: papers with longer texts are drawn more often (exponential tilting), up to 512.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pyarrow.parquet as pq
import torch
from hollow import hollow, save_hollow
from transformers import BertTokenizerFast

from specter_batch.model.tokens.encoding import TextEncoder
from specter_batch.papers.labels import MESH
from specter_batch.papers.text import paper_texts
from specter_batch.training.model.classifier import SpecterClassifierConfig, SpecterForSequenceClassification

HERE = Path(__file__).parent
GRAPH_FILE, LENGTHS_FILE = HERE / "bert_base.onnx.xz", HERE / "lengths.npy"
VOCABULARY_SIZE = 31_090  # of SciBERT, SPECTER's vocabulary
MEAN_TOKENS, MAX_LENGTH, N_LENGTHS = 256, 512, 4_096


def hollow_graph(*, layers: int = 12) -> onnx.ModelProto:
    """Export a classifier of SPECTER's shape as the product does, and return its graph without weights."""
    from specter_export.graphs.reference import export_reference

    torch.manual_seed(0)
    config = SpecterClassifierConfig(
        vocab_size=VOCABULARY_SIZE, num_hidden_layers=layers, id2label=dict(enumerate(MESH.names))
    )
    model = SpecterForSequenceClassification(config)
    with torch.no_grad():
        for weight in model.parameters():  # equal tensors, as fresh biases are, would be stored once
            weight.add_(0.01 * torch.randn_like(weight))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model.save_pretrained(folder)
        export_reference(_Checkpoint(folder), folder / "model.onnx", opset=18)  # type: ignore[arg-type]
        return hollow(onnx.load(folder / "model.onnx"))


class _Checkpoint:
    """A folder with weights, as far as the export looks at a run."""

    temperature = 1.0

    def __init__(self, path: Path) -> None:
        self.path = path


def tilted(lengths: npt.NDArray[np.int64], *, mean: float, n: int, seed: int) -> npt.NDArray[np.uint16]:
    """Draw lengths with probabilities proportional to exp(rate · length), the rate chosen for the mean wanted."""
    low, high = -0.1, 0.1
    for _ in range(100):
        rate = (low + high) / 2
        weights = np.exp(rate * (lengths - lengths.mean()))
        low, high = (rate, high) if np.average(lengths, weights=weights) < mean else (low, rate)
    drawn = np.random.default_rng(seed).choice(lengths, size=n, p=weights / weights.sum())
    return drawn.astype(np.uint16)


def main(vocabulary: str, *papers: str) -> None:
    """Write both files next to this script."""
    save_hollow(hollow_graph(), GRAPH_FILE)
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copyfile(vocabulary, Path(scratch) / "vocab.txt")  # transformers 5 reads it from a folder only
        BertTokenizerFast.from_pretrained(scratch, model_max_length=MAX_LENGTH).save_pretrained(scratch)
        encoder = TextEncoder(Path(scratch) / "tokenizer.json", max_length=MAX_LENGTH)
        texts = [text for file in papers for text in paper_texts(pq.read_table(file, columns=["title", "abstract"]))]
        lengths = np.array([len(ids) for ids in encoder.encode(texts)], dtype=np.int64)
    np.save(LENGTHS_FILE, tilted(lengths, mean=MEAN_TOKENS, n=N_LENGTHS, seed=0))
    print(f"{GRAPH_FILE}: {GRAPH_FILE.stat().st_size} bytes")
    print(f"{LENGTHS_FILE}: mean {np.load(LENGTHS_FILE).mean():.1f} tokens")


if __name__ == "__main__":
    main(*sys.argv[1:])
