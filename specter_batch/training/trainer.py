"""Fine-tuning with transformers' Trainer: from labelled papers to a run folder."""

import json
import platform
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from datasets import Dataset
from scipy.optimize import minimize_scalar
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    EvalPrediction,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

from specter_batch.bundle import REFERENCE_FILE, SEEN_TEXTS_FILE, TOKENIZER_FILE
from specter_batch.encoding import TextEncoder
from specter_batch.errors import ConfigError, LabelError
from specter_batch.files import write_json, written_whole
from specter_batch.labels import MAG, MESH, LabelSet
from specter_batch.metrics import N_SCORE_BINS, F1Report, Ints, Tally, score_bins, softmax
from specter_batch.papers import TEXT_TEMPLATE
from specter_batch.runtime import Predictions
from specter_batch.training.config import TrainConfig
from specter_batch.training.data import LabelledPapers
from specter_batch.training.encoder import load_encoder
from specter_batch.training.optimisation import make_loss, make_optimizer
from specter_batch.training.run import CALIBRATION_FILE, RUN_FILE, RunRecord, TrainingRun

# What a run was asked to do; a second start on the same folder goes on only if it asks for the same.
REQUEST_FILE = "training.json"
CHECKPOINTS = "checkpoints"


def train(config: TrainConfig, *, train_papers: LabelledPapers, val_papers: LabelledPapers, out: Path) -> TrainingRun:
    """Fine-tune an encoder with a head and keep the epoch with the best validation macro F1.

    A run that was killed goes on from its last finished epoch when it is started again with the same settings and
    papers.

    Args:
        config: What to do.
        train_papers: Fitted on.
        val_papers: The best epoch and the temperature are chosen on these.
        out: The run folder to write.

    Raises:
        ConfigError: The folder holds another run, or the encoder cannot be loaded.
        LabelError: A validation paper has a label that no training paper has.
    """
    labels = choose_labels(config, train_papers)
    train_ids, val_ids = train_papers.label_ids(labels), val_papers.label_ids(labels)
    missing = sorted({labels.names[i] for i in set(val_ids.tolist()) - set(train_ids.tolist())})
    if missing:
        raise LabelError(f"{val_papers.source}: no training paper has the label(s) {', '.join(missing)}")
    if config.head.batch_norm and config.batch_size < 2:
        raise ConfigError("batch norm needs a batch of at least two papers; raise --batch-size")

    set_seed(config.seed)
    model, tokenizer, max_length = load_encoder(config, labels)
    _claim_folder(out, config, train_papers, val_papers)
    tokenizer.save_pretrained(out)
    if not (out / TOKENIZER_FILE).is_file():
        raise ConfigError(f"{config.encoder}: its tokenizer cannot be written as {TOKENIZER_FILE}; is it a BERT?")
    encoder = TextEncoder(out / TOKENIZER_FILE, max_length=max_length)

    trainer = Trainer(
        model=model,
        args=_arguments(config, out),
        train_dataset=_without_lone_paper(_dataset(encoder, train_papers, train_ids), config),
        eval_dataset=_dataset(encoder, val_papers, val_ids),
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=_metrics_of(labels),
        compute_loss_func=make_loss(config, train_ids, n_labels=len(labels)),
        callbacks=[EarlyStoppingCallback(config.early_stopping_patience)],
        optimizers=(make_optimizer(model, config), None),
    )
    trainer.train(resume_from_checkpoint=_last_whole_checkpoint(out / CHECKPOINTS))

    output = trainer.predict(trainer.eval_dataset)
    # Length grouping reorders evaluation too: the labels that belong to these logits are the output's own.
    logits, true = np.asarray(output.predictions, np.float64), np.asarray(output.label_ids, np.int64)
    temperature = fit_temperature(logits, true)
    predictions = Predictions.from_logits(logits, temperature=temperature)
    tally = Tally.count(true, predictions.label_id, predictions.score, n_labels=len(labels))
    report = F1Report.from_tally(tally, labels)

    trainer.save_model(str(out))
    (out / "training_args.bin").unlink(missing_ok=True)  # a pickle; training.json says the same
    np.save(out / SEEN_TEXTS_FILE, train_papers.seen_hashes())
    _write_calibration(out, config, train_papers)
    write_json(out / REFERENCE_FILE, _reference(predictions, labels))
    record = RunRecord(
        encoder=config.encoder,
        labels=labels.names,
        text_template=TEXT_TEMPLATE,
        max_length=max_length,
        pooling=config.pooling,
        head=config.head.model_dump(mode="json"),
        temperature=temperature,
        training={
            **_request(config, train_papers, val_papers),
            "train_papers": len(train_papers),
            "validation_papers": len(val_papers),
            "dropped": {"train": dict(train_papers.dropped), "validation": dict(val_papers.dropped)},
            "validation": {
                "macro_f1": report.macro_f1,
                "accuracy": report.accuracy,
                "expected_calibration_error": report.expected_calibration_error,
            },
            "history": [entry for entry in trainer.state.log_history if "eval_macro_f1" in entry],
            "versions": {"python": platform.python_version()}
            | {name: version(name) for name in ("specter-batch", "torch", "transformers", "tokenizers", "numpy")},
        },
    )
    write_json(out / RUN_FILE, record.model_dump(mode="json"))
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    return TrainingRun.open(out)


def choose_labels(config: TrainConfig, papers: LabelledPapers) -> LabelSet:
    """Return SciDocs' table where one was named, else the labels of the papers in an order of their own."""
    if config.labels == "auto":
        return LabelSet.from_values(papers.papers["label"].unique().to_pylist())
    return {"mesh": MESH, "mag": MAG}[config.labels]


def fit_temperature(logits: np.ndarray[Any, np.dtype[np.float64]], true: Ints) -> float:
    """Return the temperature that makes the papers' true labels likeliest (Guo et al. 2017).

    Args:
        logits: `(n, n_labels)`.
        true: `(n,)` label ids.
    """

    def negative_log_likelihood(log_temperature: float) -> float:
        probabilities = softmax(logits, temperature=float(np.exp(log_temperature)))
        return float(-np.log(np.maximum(probabilities[np.arange(len(true)), true], 1e-12)).mean())

    # Between a twentieth and twenty: outside, the scores would all be 1 or all be equal.
    found = minimize_scalar(negative_log_likelihood, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))


def _request(config: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers) -> dict[str, Any]:
    return {
        "settings": config.model_dump(mode="json"),
        "train_sha256": train_papers.content_sha256(),
        "validation_sha256": val_papers.content_sha256(),
    }


def _claim_folder(out: Path, config: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers) -> None:
    request = _request(config, train_papers, val_papers)
    file = out / REQUEST_FILE
    if (out / RUN_FILE).exists():
        raise ConfigError(f"{out}: holds a finished run; give another --out, or remove the folder")
    if file.exists():
        if json.loads(file.read_text()) != request:
            raise ConfigError(f"{out}: holds an unfinished run with other settings or papers; give another --out")
    elif out.exists() and any(not path.name.endswith(".partial") for path in out.iterdir()):
        raise ConfigError(f"{out}: is not empty and holds no training run; give another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_json(file, request)


def _last_whole_checkpoint(folder: Path) -> str | None:
    """Remove checkpoints that a kill left half-written, and return the newest of the others."""
    for checkpoint in folder.glob("checkpoint-*"):
        try:
            json.loads((checkpoint / "trainer_state.json").read_text())  # what the Trainer writes last
        except (OSError, ValueError):
            shutil.rmtree(checkpoint)
    return get_last_checkpoint(str(folder)) if folder.is_dir() else None


def _arguments(config: TrainConfig, out: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(out / CHECKPOINTS),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=2 * config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        gradient_checkpointing=config.gradient_checkpointing,
        max_grad_norm=config.max_grad_norm,
        learning_rate=config.learning_rate,
        warmup_ratio=config.warmup_ratio,
        bf16=config.precision == "bf16",
        fp16=config.precision == "fp16",
        use_cpu=not torch.cuda.is_available(),  # said aloud, or bf16 on a CPU is refused
        seed=config.seed,
        data_seed=config.seed,
        group_by_length=True,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        restore_callback_states_from_checkpoint=True,  # early stopping goes on counting
        metric_for_best_model="macro_f1",
        logging_steps=20,
        disable_tqdm=not sys.stderr.isatty(),  # in a log file a bar is a thousand lines
        report_to="none",
        label_names=["labels"],
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _dataset(encoder: TextEncoder, papers: LabelledPapers, label_ids: Ints) -> Dataset:
    token_ids = encoder.encode(papers.texts())
    return Dataset.from_dict(
        {
            "input_ids": token_ids,
            "attention_mask": [np.ones_like(ids) for ids in token_ids],
            "length": [len(ids) for ids in token_ids],
            "labels": label_ids,
        }
    )


def _without_lone_paper(dataset: Dataset, config: TrainConfig) -> Dataset:
    """Leave the last paper out where it would be a batch of its own: batch norm finds no variance in one paper."""
    lone = config.head.batch_norm and len(dataset) % config.batch_size == 1
    return dataset.select(range(len(dataset) - 1)) if lone else dataset


def _metrics_of(labels: LabelSet) -> Callable[[EvalPrediction], dict[str, float]]:
    def metrics(evaluation: EvalPrediction) -> dict[str, float]:
        predictions = Predictions.from_logits(np.asarray(evaluation.predictions), temperature=1.0)
        true = np.asarray(evaluation.label_ids, dtype=np.int64)
        tally = Tally.count(true, predictions.label_id, predictions.score, n_labels=len(labels))
        report = F1Report.from_tally(tally, labels)
        return {"macro_f1": report.macro_f1, "accuracy": report.accuracy}

    return metrics


def _write_calibration(out: Path, config: TrainConfig, papers: LabelledPapers) -> None:
    generator = np.random.default_rng(config.seed)
    size = min(config.calibration_papers, len(papers))
    rows = np.sort(generator.choice(len(papers), size=size, replace=False))
    with written_whole(out / CALIBRATION_FILE) as partial:
        pq.write_table(papers.papers.take(rows), partial)


def _reference(predictions: Predictions, labels: LabelSet) -> dict[str, Any]:
    n_papers = len(predictions.label_id)
    counts = np.bincount(predictions.label_id, minlength=len(labels))
    histogram = np.bincount(score_bins(predictions.score), minlength=N_SCORE_BINS)
    return {
        "papers": n_papers,
        "label_shares": {name: float(counts[i] / n_papers) for i, name in enumerate(labels)},
        "score_histogram": (histogram / n_papers).tolist(),
        "mean_score": float(predictions.score.mean()),
    }
