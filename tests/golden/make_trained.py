"""Makes a golden training run: the run folder of a BERT as small as can be, and what its model says of a few papers.

Usage: python tests/golden/make_trained.py FOLDER

Run it once with each major version of transformers, into a folder named after the version. Golden runs are never made
again, because they stand for runs that users have.
"""

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from make_bundle import N_EXPECTED, make_encoder

from specter_batch.storage.files import write_json
from specter_batch.training.demo.sample import make_papers, write_sample
from specter_batch.training.evaluation.evaluate import TorchClassifier
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.fit.trainer import train
from specter_batch.training.papers.labelled import read_labelled
from specter_batch.training.run.folder import TrainingRun

# Only for people who look at a run.
LEFT_OUT = ("report.html", "training_curves.svg", "_lock")


def make_trained(out: Path) -> None:
    """Train, and write what the model says of a few papers."""
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        sample = write_sample(Path("papers"), n_papers=300)
        papers = [read_labelled(path) for path in (sample.train, sample.val)]
        make_encoder(Path("encoder"), papers[0])
        config = TrainConfig(encoder="encoder", epochs=2, learning_rate=1e-2, calibration_papers=40)
        train(config, train_papers=papers[0], val_papers=papers[1], out=Path("run"))
        shutil.copytree("run", out, ignore=shutil.ignore_patterns(*LEFT_OUT))
    run = TrainingRun.open(out)
    rows = make_papers(n_papers=N_EXPECTED, seed=7).select(["title", "abstract"]).to_pylist()
    texts = [run.text_template.format(**row) for row in rows]
    token_ids = run.text_encoder().encode(texts)
    expected = {
        "texts": texts,
        "token_ids": [ids.tolist() for ids in token_ids],
        "logits": np.round(TorchClassifier(run).logits(token_ids), 6).tolist(),
    }
    write_json(out.parent / f"{out.name}_expected.json", expected)


if __name__ == "__main__":
    make_trained(Path(sys.argv[1]).resolve())
