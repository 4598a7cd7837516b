"""Compare an epoch of `specter-batch train` with the training loop of transformers' `run_classification.py`, in turn.

Usage: python benchmarks/training/epoch.py ENCODER PAPERS [--papers N] [--tokens N] [--rounds N] [--threads N]
       [--compute NAME]

ENCODER is a folder with a BERT, PAPERS are labelled papers. `run_classification.py` is an example of transformers
(https://github.com/huggingface/transformers/tree/main/examples/pytorch/text-classification). It gives a
`BertForSequenceClassification` to the `Trainer`, and pads every paper to the largest length, unless it is called with
`--pad_to_max_length False`: then a batch is padded to its longest paper. All methods train on the same papers, with the
same batch size, number format and number of threads, from the same encoder. The example keeps the encoder's attention
dropout, so `train` is also measured with that of BERT. On a machine that others use, CPU time is steadier than
wall-clock time.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import numpy as np
import torch
from datasets import Dataset
from measuring.machine import hardware, load, machine
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

from specter_batch.model.tokens.encoding import TextEncoder
from specter_batch.papers.labels import LabelSet
from specter_batch.training.fit.arguments import make_arguments
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.fit.optimisation import make_loss, make_optimizer
from specter_batch.training.fit.sampler import LengthGroupedTrainer
from specter_batch.training.model.encoder import load_encoder
from specter_batch.training.papers.dataset import EncodedPapers, padded
from specter_batch.training.papers.labelled import LabelledPapers, read_labelled

BATCH_SIZE = 16
OURS = "specter-batch train"
Collator = Callable[[Sequence[Any]], dict[str, torch.Tensor]]


class EpochClock(TrainerCallback):
    """Measures wall-clock and CPU seconds of an epoch."""

    wall = cpu = 0.0

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock."""
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """Stop the clock."""
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu


class Counted:
    """A collator that counts the tokens of its batches, padding included."""

    def __init__(self, collate: Collator) -> None:
        self._collate = collate
        self.tokens = 0

    def __call__(self, papers: Sequence[Any]) -> dict[str, torch.Tensor]:
        """Make a batch."""
        batch = self._collate(papers)
        self.tokens += batch["input_ids"].numel()
        return batch


class Epochs:
    """Trains an epoch on the same papers in different ways."""

    def __init__(self, papers: LabelledPapers, config: TrainConfig, scratch: Path) -> None:
        self._papers, self._config, self._scratch = papers, config, scratch
        self._labels = LabelSet.from_values(papers.papers["label"].unique().to_pylist())
        self._label_ids = papers.label_ids(self._labels)

    def ours(self, **settings: Any) -> tuple[Trainer, Counted]:
        """Return the trainer that `specter-batch train` uses, without validation and checkpoints."""
        loaded = load_encoder(self._config.model_copy(update=settings), self._labels)
        loaded.tokenizer.save_pretrained(self._scratch)
        encoder = TextEncoder(self._scratch / "tokenizer.json", max_length=loaded.max_length)
        token_ids = encoder.encode(self._papers.texts(loaded.text_template))
        arguments = make_arguments(self._config, self._scratch)
        arguments.eval_strategy = arguments.save_strategy = "no"
        arguments.load_best_model_at_end = False
        collator = Counted(padded)
        return LengthGroupedTrainer(
            warmup_ratio=self._config.warmup_ratio,
            model=loaded.model,
            args=arguments,
            train_dataset=EncodedPapers(token_ids=token_ids, label_ids=self._label_ids).dataset(),
            data_collator=collator,
            compute_loss_func=make_loss(self._config, self._label_ids, n_labels=len(self._labels)),
            optimizers=(make_optimizer(loaded.model, self._config), None),
        ), collator

    def theirs(self, *, pad_to_max_length: bool) -> tuple[Trainer, Counted]:
        """Return the trainer of `run_classification.py`."""
        model = AutoModelForSequenceClassification.from_pretrained(
            self._config.encoder, num_labels=len(self._labels), ignore_mismatched_sizes=True
        )
        tokenizer = AutoTokenizer.from_pretrained(self._config.encoder)
        rows = Dataset.from_dict({"text": self._papers.texts(f"{{title}}{tokenizer.sep_token}{{abstract}}")})
        rows = rows.map(
            lambda row: tokenizer(
                row["text"],
                padding="max_length" if pad_to_max_length else False,
                max_length=self._config.max_length,
                truncation=True,
            ),
            batched=True,
            remove_columns="text",
        ).add_column("label", self._label_ids)
        collator = Counted(default_data_collator if pad_to_max_length else DataCollatorWithPadding(tokenizer))
        arguments = TrainingArguments(
            output_dir=str(self._scratch),
            num_train_epochs=1,
            per_device_train_batch_size=BATCH_SIZE,
            learning_rate=self._config.learning_rate,
            bf16=self._config.compute == "bf16",
            use_cpu=True,
            seed=self._config.seed,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        return Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collator), collator


def main() -> None:
    """Train epochs in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder")
    parser.add_argument("papers", type=Path)
    parser.add_argument("--papers", dest="number", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compute", choices=("bf16", "fp32"), default="fp32")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    papers = read_labelled(given.papers)
    chosen = np.random.default_rng(0).permutation(len(papers))[: given.number]
    papers = replace(papers, papers=papers.papers.take(chosen))
    settings = {"encoder": given.encoder, "pooling": "cls", "max_length": given.tokens, "compute": given.compute}
    config = TrainConfig.load(None, settings | {"epochs": 1, "batch_size": BATCH_SIZE})
    wall: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    tokens: dict[str, int] = {}
    print(
        f"{len(papers)} papers of at most {given.tokens} tokens, {given.compute}, {given.threads} thread(s); "
        f"{hardware(machine('cpu'))}, load {load()}\n"
    )
    with tempfile.TemporaryDirectory() as scratch:
        epochs = Epochs(papers, config, Path(scratch))
        ways: dict[str, Callable[[], tuple[Trainer, Counted]]] = {
            "run_classification, padded to the largest length": lambda: epochs.theirs(pad_to_max_length=True),
            "run_classification, batches padded to their longest paper": lambda: epochs.theirs(pad_to_max_length=False),
            "specter-batch train --attention-dropout 0.1": lambda: epochs.ours(attention_dropout=0.1),
            OURS: epochs.ours,
        }
        for number in range(given.rounds):
            for way in (list(ways), list(ways)[::-1])[number % 2]:  # none is always the first of its round
                set_seed(config.seed)
                trainer, collator = ways[way]()
                clock = EpochClock()
                trainer.add_callback(clock)
                trainer.train()
                wall.setdefault(way, []).append(clock.wall)
                cpu.setdefault(way, []).append(clock.cpu)
                tokens[way] = collator.tokens
    ours = np.array(cpu[OURS])
    print("\n| loop | tokens with padding | seconds | CPU seconds | our speed-up (CPU) |\n|---|---:|---:|---:|---:|")
    for way in ways:
        ratios = np.array(cpu[way]) / ours
        print(
            f"| {way} | {tokens[way]:,} | {np.median(wall[way]):.1f} | {np.median(cpu[way]):.1f} "
            f"| {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f}) |"
        )


if __name__ == "__main__":
    main()
