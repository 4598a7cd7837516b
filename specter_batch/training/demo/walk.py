"""The demo: runs every command from labelled papers to a labelled night, on synthetic papers."""

import json
import shlex
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from specter_batch.errors import ConfigError, SpecterBatchError
from specter_batch.storage.files import apply_umask, write_text
from specter_batch.terminal import print_above
from specter_batch.training.demo.sample import NIGHT_DIRT, write_sample
from specter_batch.training.papers.labelled import read_labelled

# Papers of the sample have about a hundred WordPieces; SPECTER itself takes 512.
MAX_LENGTH = 192

# Training from scratch on 900 papers needs a higher learning rate and more epochs than fine-tuning SPECTER.
TRAINING = f"""\
max_length = {MAX_LENGTH}
epochs = 8
batch_size = 16
learning_rate = 1e-3
early_stopping_patience = 3
"""


def run_demo(folder: Path, *, console: Console) -> dict[str, Any]:
    """Make sample papers and a stand-in encoder, then train, export, classify and report.

    Args:
        folder: A new or empty folder.
        console: Console on which each step is printed.

    Returns:
        The night's `report.json`.

    Raises:
        ConfigError: The folder is not empty.
        SpecterBatchError: A step failed. Its error has been printed.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: is not empty; give the demo a new folder, or remove this one")
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    console.rule("papers")
    sample = write_sample(folder / "papers")
    print_above(
        console,
        f"{sample.n_train} papers to train on, {sample.n_val} to validate on, and a night of four files: all "
        f"synthetic, made by this project. {NIGHT_DIRT.n_rows} rows of the night have errors, as in real dumps.",
    )
    encoder = make_stand_in_encoder(folder / "encoder", sample.train)
    print_above(console, f"{encoder}: a compact BERT with random weights, a stand-in for allenai/specter.")
    write_text(folder / "training.toml", TRAINING)

    run, bundle, out = folder / "run", folder / "bundle", folder / "labels"
    train_options = ("--val", sample.val, "--encoder", encoder, "--out", run, "--config", folder / "training.toml")
    steps: tuple[tuple[str | Path, ...], ...] = (
        ("train", sample.train, *train_options),
        ("export", run, bundle, *(() if find_spec("optimum") else ("--exporter", "torch"))),
        ("classify", sample.night, out, "--bundle", bundle),
    )
    for step in steps:
        command = [str(part) for part in step]
        console.rule(command[0])
        print_above(console, f"$ specter-batch {shlex.join(command)}", style="bold")
        if subprocess.run([sys.executable, "-m", "specter_batch", *command], check=False).returncode:
            raise SpecterBatchError(f"the demo's step {command[0]} failed; its error is printed above")
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    console.rule("report")
    for line in (out / "report.md").read_text(encoding="utf-8").splitlines():
        print_above(console, line)
    for line in (
        f"Labels: {out / 'labels'}   report: {out / 'report.md'}   bundle: {bundle}",
        f"Done in {time.monotonic() - began:.0f} s. The papers are synthetic and the encoder is tiny, made for the",
        "demo: these figures show that every step works, not how well SPECTER labels. For that, type:",
        "",
        "  specter-batch train TRAIN.parquet --val VAL.parquet --encoder allenai/specter --out RUN",
    ):
        print_above(console, line)
    return report


def make_stand_in_encoder(folder: Path, train: Path) -> Path:
    """Write a BERT of 4 layers of 128 with random weights, and a WordPiece vocabulary made of the papers."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, BertTokenizerFast, set_seed

    folder.mkdir(parents=True)
    words = BertWordPieceTokenizer(lowercase=True)
    words.train_from_iterator(read_labelled(train).texts("{title} {abstract}"), vocab_size=3000, show_progress=False)
    words.save_model(str(folder))
    BertTokenizerFast.from_pretrained(folder, do_lower_case=True).save_pretrained(folder)
    set_seed(321)
    shape = BertConfig(
        vocab_size=words.get_vocab_size(),
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=MAX_LENGTH,
    )
    BertModel(shape).save_pretrained(folder)
    apply_umask(folder)
    return folder
