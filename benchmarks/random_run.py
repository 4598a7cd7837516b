"""Make a run of BERT-base with random weights, to time graphs of this shape. Its labels mean nothing.

Usage: python benchmarks/random_run.py VOCABULARY PAPERS RUN
       specter-batch export RUN BUNDLE --recipe RUN/int8.toml

VOCABULARY is the `vocab.txt` of a BERT, or its name on the Hugging Face hub. PAPERS are used to fit the smoothing of
int8. The recipe allows every label to change, so that no paper is run again in fp32.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from measuring.bench_papers import read_usable
from transformers import BertTokenizerFast

from specter_batch.metrics.score_report import N_SCORE_BINS
from specter_batch.model.manifest import REFERENCE_FILE, SEEN_TEXTS_FILE
from specter_batch.papers.labels import MESH
from specter_batch.papers.text import TEXT_TEMPLATE
from specter_batch.storage.files import write_json, write_text
from specter_batch.training.model.classifier import SpecterClassifierConfig, SpecterForSequenceClassification
from specter_batch.training.run.folder import CALIBRATION_FILE, RUN_FILE, RunRecord
from specter_export.recipe import load_recipe

MAX_LENGTH = 512
CALIBRATION_PAPERS = 32


def main(vocabulary: str, papers: str, out: str) -> None:
    """Write the run and the recipe."""
    folder = Path(out)
    folder.mkdir(parents=True)
    settings: dict[str, Any] = {"model_max_length": MAX_LENGTH}
    if Path(vocabulary).is_file():  # transformers 5 reads a vocabulary from a folder only
        shutil.copyfile(vocabulary, folder / "vocab.txt")
        vocabulary = str(folder)
    tokenizer = BertTokenizerFast.from_pretrained(vocabulary, **settings)
    tokenizer.save_pretrained(folder)
    labels = MESH.names
    torch.manual_seed(0)
    config = SpecterClassifierConfig(vocab_size=len(tokenizer), id2label=dict(enumerate(labels)))
    SpecterForSequenceClassification(config).save_pretrained(folder)
    pq.write_table(read_usable(papers, most=CALIBRATION_PAPERS), folder / CALIBRATION_FILE)
    np.save(folder / SEEN_TEXTS_FILE, np.zeros(0, dtype=np.uint64))
    # Drift is measured against these values, which mean nothing for random weights.
    even = {
        "label_shares": dict.fromkeys(labels, 1 / len(labels)),
        "score_histogram": [1 / N_SCORE_BINS] * N_SCORE_BINS,
    }
    write_json(folder / REFERENCE_FILE, {"papers": CALIBRATION_PAPERS, "mean_score": 0.5, **even})
    recipe = load_recipe("cpu-int8")
    write_text(
        folder / "int8.toml",
        f'precision = "int8"\ndevice = "cpu"\nopset = {recipe.opset}\n'
        f"[quantization]\nsmoothing = {recipe.quantization.smoothing}\n[tolerances]\nmax_label_flips = 1.0\n",
    )
    record = RunRecord(
        encoder="random weights",
        labels=labels,
        text_template=TEXT_TEMPLATE,
        max_length=MAX_LENGTH,
        pooling=config.pooling,
        head=config.head,
        temperature=1.0,
        training={},
    )
    write_json(folder / RUN_FILE, record.model_dump(mode="json"))


if __name__ == "__main__":
    main(*sys.argv[1:])
