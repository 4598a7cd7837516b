"""Makes the golden bundle: a whole bundle of a BERT as small as can be, and what each of its graphs says.

Usage: python tests/golden/make_bundle.py FOLDER

Run it once for each new bundle format, into a folder named after the format; a golden bundle is never made anew, for it
stands for those that are out in the world.
"""

import contextlib
import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.model.session import Graph, logits_alone
from specter_batch.papers.text import paper_text
from specter_batch.storage.files import write_json
from specter_batch.training.demo.sample import make_papers, write_sample
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.fit.trainer import train
from specter_batch.training.papers.labelled import LabelledPapers, read_labelled
from specter_export.build import build_bundle
from specter_export.recipe import DEFAULT_RECIPES, load_recipe

EXPECTED_FILE = "expected.json"
N_EXPECTED = 12
N_WORDS = 200


def make_encoder(folder: Path, papers: LabelledPapers) -> None:
    """Write a BERT of random weights that reads letters, digits and the papers' commonest long words."""
    folder.mkdir()
    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    counted = Counter(re.findall(r"[a-z]{6,}", " ".join(papers.texts()).lower()))
    words = sorted(counted, key=lambda word: (-counted[word], word))[:N_WORDS]
    pieces = [*characters, *(f"##{one}" for one in characters), *words]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    BertTokenizerFast.from_pretrained(folder, model_max_length=64).save_pretrained(folder)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    # At BERT's own 0.02 so few layers hardly tell one text from another.
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, initializer_range=0.2, **shape)
    BertModel(config).save_pretrained(folder)


def make_bundle(out: Path) -> None:
    """Train, export and write what every graph says of a few papers."""
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        sample = write_sample(Path("papers"), n_papers=600)
        papers = [read_labelled(path) for path in (sample.train, sample.val)]
        make_encoder(Path("encoder"), papers[0])
        config = TrainConfig(encoder="encoder", epochs=8, learning_rate=1e-2, calibration_papers=120)
        run = train(config, train_papers=papers[0], val_papers=papers[1], out=Path("run"))
        build_bundle(run, Path("bundle"), recipes=[load_recipe(name) for name in DEFAULT_RECIPES])
        shutil.copytree("bundle", out)
    bundle, device = ModelBundle.open(out), Device(kind="cpu")
    rows = make_papers(n_papers=N_EXPECTED, seed=7).to_pylist()
    for number, row in enumerate(rows):
        row["abstract"] = row["abstract"][: 8 * number] or None  # every length
    texts = [paper_text(row["title"], row["abstract"], bundle.text_template) for row in rows]
    token_ids = bundle.text_encoder().encode(texts)
    graphs = {entry.file: Graph(out / entry.file, device=device, threads=1) for entry in bundle.manifest.graphs}
    predictions = OnnxClassifier(bundle, device=device).predict(token_ids)
    expected = {
        "fingerprint": bundle.fingerprint,
        "papers": [{"title": row["title"], "abstract": row["abstract"]} for row in rows],
        "token_ids": [ids.tolist() for ids in token_ids],
        "logits": {file: np.round(logits_alone(graph, token_ids), 6).tolist() for file, graph in graphs.items()},
        "labels": [bundle.labels.names[i] for i in predictions.label_id],
        "scores": np.round(predictions.score, 6).tolist(),
    }
    write_json(out.parent / f"{out.name}_{EXPECTED_FILE}", expected)


if __name__ == "__main__":
    make_bundle(Path(sys.argv[1]).resolve())
