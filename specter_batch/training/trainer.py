"""Fine-tuning with transformers' Trainer: from labelled papers to a run folder."""

import platform
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from datasets import Dataset
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedTokenizerBase,
    TrainingArguments,
    set_seed,
)

from specter_batch.bundle import REFERENCE_FILE, SEEN_TEXTS_FILE, TOKENIZER_FILE
from specter_batch.encoding import TextEncoder, TokenIds
from specter_batch.errors import ConfigError, LabelError
from specter_batch.files import write_json, written_whole
from specter_batch.labels import MAG, MESH, LabelSet
from specter_batch.metrics import N_SCORE_BINS, F1Report, Ints, Tally, score_bins
from specter_batch.papers import TEXT_TEMPLATE
from specter_batch.runtime import Predictions
from specter_batch.scores import seen_in_training
from specter_batch.training.arguments import CHECKPOINTS, autocast_dtype, make_arguments, resolve_precision
from specter_batch.training.calibration import fit_temperature
from specter_batch.training.config import TrainConfig
from specter_batch.training.data import LabelledPapers
from specter_batch.training.embeddings import embed
from specter_batch.training.encoder import load_encoder
from specter_batch.training.evaluation import TORCH_MAX_TOKENS
from specter_batch.training.figures import EvaluationSettings, figures
from specter_batch.training.model import SpecterForSequenceClassification
from specter_batch.training.optimisation import make_loss, make_optimizer
from specter_batch.training.resume import (
    SaveWhenInterrupted,
    checkpoints_fit,
    claim_folder,
    last_checkpoint,
    remove_broken_checkpoints,
)
from specter_batch.training.run import CALIBRATION_FILE, RUN_FILE, RunRecord, TrainingRun
from specter_batch.training.run_report import write_run_report
from specter_batch.training.sampler import LengthGroupedTrainer
from specter_batch.training.warm_start import EmbeddedPapers, head_logits, train_head


class _Papers:
    """Labelled papers as the model takes them."""

    def __init__(self, papers: LabelledPapers, labels: LabelSet) -> None:
        self.papers = papers
        self.label_ids: Ints = papers.label_ids(labels)
        self.token_ids: list[TokenIds] = []

    def encode(self, encoder: TextEncoder) -> None:
        self.token_ids = encoder.encode(self.papers.texts())

    def dataset(self) -> Dataset:
        return Dataset.from_dict(
            {
                "input_ids": self.token_ids,
                "attention_mask": [np.ones_like(ids) for ids in self.token_ids],
                "length": [len(ids) for ids in self.token_ids],
                "labels": self.label_ids,
            }
        )


def train(config: TrainConfig, *, train_papers: LabelledPapers, val_papers: LabelledPapers, out: Path) -> TrainingRun:
    """Fine-tune an encoder with a head and keep the epoch with the best validation macro F1.

    A run that was killed goes on from its last checkpoint when it is started again with the same settings and papers.
    Under torchrun each process calls this, and the first one writes.

    Args:
        config: What to do.
        train_papers: Fitted on.
        val_papers: The best epoch and the temperature are chosen on these.
        out: The run folder to write.

    Raises:
        ConfigError: The folder holds another run, or the encoder cannot be loaded.
        LabelError: A validation paper has a label that no training paper has.
        KeyboardInterrupt: Interrupted; what was trained is saved.
    """
    labels = choose_labels(config, train_papers)
    train_set, val_set = _Papers(train_papers, labels), _Papers(val_papers, labels)
    missing = sorted({labels.names[i] for i in set(val_set.label_ids.tolist()) - set(train_set.label_ids.tolist())})
    if missing:
        raise LabelError(f"{val_papers.source}: no training paper has the label(s) {', '.join(missing)}")
    if config.head.normalises_batches and config.batch_size < 2:
        raise ConfigError("batch norm needs a batch of at least two papers; raise --batch-size")
    arguments = make_arguments(config, out)
    set_seed(config.seed)
    model, tokenizer, max_length = load_encoder(config, labels)
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            claim_folder(out, _request(config, train_papers, val_papers))
            remove_broken_checkpoints(out / CHECKPOINTS)
            tokenizer.save_pretrained(out)
    if not (out / TOKENIZER_FILE).is_file():
        raise ConfigError(f"{config.encoder}: its tokenizer cannot be written as {TOKENIZER_FILE}; is it a BERT?")
    encoder = TextEncoder(out / TOKENIZER_FILE, max_length=max_length)
    for papers in (train_set, val_set):
        papers.encode(encoder)

    log: list[dict[str, Any]] = []
    if (config.warm_start or config.freeze_encoder) and last_checkpoint(out / CHECKPOINTS) is None:
        _train_head(model, config, train_set, val_set, labels)
    if not config.freeze_encoder:
        log = _fine_tune(model, tokenizer, config, arguments, train_set, val_set, labels)
    if arguments.process_index == 0:
        # In full precision and one by one batch plan, as the model will be served and evaluated.
        logits = head_logits(model.head.cpu(), embed(model, val_set.token_ids, max_tokens=TORCH_MAX_TOKENS))
        temperature = fit_temperature(logits.astype(np.float64), val_set.label_ids)
        record = RunRecord(
            encoder=config.encoder,
            labels=labels.names,
            text_template=TEXT_TEMPLATE,
            max_length=max_length,
            pooling=model.config.pooling,
            head=model.config.head,
            temperature=temperature,
            training={
                **_request(config, train_papers, val_papers),
                "precision": resolve_precision(config),
                "train_papers": len(train_papers),
                "validation_papers": len(val_papers),
                "dropped": {"train": dict(train_papers.dropped), "validation": dict(val_papers.dropped)},
                "validation": figures(
                    logits,
                    val_set.label_ids,
                    seen=seen_in_training(val_papers.texts(), train_papers.seen_hashes()),
                    temperature=temperature,
                    labels=labels,
                    settings=EvaluationSettings(),
                ),
                "log": log,
                "versions": {"python": platform.python_version()}
                | {name: version(name) for name in ("specter-batch", "torch", "transformers", "tokenizers", "numpy")},
            },
        )
        _write_run(
            out,
            record,
            model,
            config,
            train_papers,
            _reference(Predictions.from_logits(logits, temperature=temperature), labels),
        )
    with arguments.main_process_first(local=False):  # the others wait for the files
        return TrainingRun.open(out)


def choose_labels(config: TrainConfig, papers: LabelledPapers) -> LabelSet:
    """Return SciDocs' table where one was named, else the labels of the papers in an order of their own."""
    if config.labels == "auto":
        return LabelSet.from_values(papers.papers["label"].unique().to_pylist())
    return {"mesh": MESH, "mag": MAG}[config.labels]


def _request(config: TrainConfig, train_papers: LabelledPapers, val_papers: LabelledPapers) -> dict[str, Any]:
    return {
        "settings": config.model_dump(mode="json"),
        "train_sha256": train_papers.content_sha256(),
        "validation_sha256": val_papers.content_sha256(),
    }


def _train_head(
    model: SpecterForSequenceClassification, config: TrainConfig, train_set: _Papers, val_set: _Papers, labels: LabelSet
) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.eval().to(device)
    embedded = [
        EmbeddedPapers(
            embeddings=embed(
                model, papers.token_ids, max_tokens=TORCH_MAX_TOKENS, autocast_dtype=autocast_dtype(config)
            ),
            label_ids=papers.label_ids,
        )
        for papers in (train_set, val_set)
    ]
    loss = make_loss(config, train_set.label_ids, n_labels=len(labels))
    train_head(model.head.cpu(), loss, train=embedded[0], val=embedded[1], labels=labels, seed=config.seed)
    model.eval().to(device)


def _fine_tune(
    model: SpecterForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    config: TrainConfig,
    arguments: TrainingArguments,
    train_set: _Papers,
    val_set: _Papers,
    labels: LabelSet,
) -> list[dict[str, Any]]:
    """Train encoder and head in place, and return the Trainer's log."""
    stop = SaveWhenInterrupted()
    trainer = LengthGroupedTrainer(
        model=model,
        args=arguments,
        train_dataset=_without_lone_paper(train_set.dataset(), config),
        eval_dataset=val_set.dataset(),
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=_metrics_of(labels),
        compute_loss_func=make_loss(config, train_set.label_ids, n_labels=len(labels)),
        callbacks=[EarlyStoppingCallback(config.early_stopping_patience), stop],
        optimizers=(make_optimizer(model, config), None),
    )
    checkpoints = Path(str(arguments.output_dir))
    with checkpoints_fit(checkpoints), stop.listening():
        trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    log: list[dict[str, Any]] = trainer.state.log_history
    return log


def _without_lone_paper(dataset: Dataset, config: TrainConfig) -> Dataset:
    """Leave the last paper out where it would be a batch of its own: batch norm finds no variance in one paper."""
    lone = config.head.normalises_batches and len(dataset) % config.batch_size == 1
    return dataset.select(range(len(dataset) - 1)) if lone else dataset


def _metrics_of(labels: LabelSet) -> Callable[[EvalPrediction], dict[str, float]]:
    def metrics(evaluation: EvalPrediction) -> dict[str, float]:
        predictions = Predictions.from_logits(np.asarray(evaluation.predictions), temperature=1.0)
        # Length grouping reorders evaluation too: the labels that belong to these logits are the evaluation's own.
        true = np.asarray(evaluation.label_ids, dtype=np.int64)
        tally = Tally.count(true, predictions.label_id, predictions.score, n_labels=len(labels))
        report = F1Report.from_tally(tally, labels)
        return {"macro_f1": report.macro_f1, "accuracy": report.accuracy}

    return metrics


def _write_run(
    out: Path,
    record: RunRecord,
    model: SpecterForSequenceClassification,
    config: TrainConfig,
    papers: LabelledPapers,
    reference: dict[str, Any],
) -> None:
    with checkpoints_fit(out):
        model.save_pretrained(out)
        np.save(out / SEEN_TEXTS_FILE, papers.seen_hashes())
        _write_calibration(out, config, papers)
    write_json(out / REFERENCE_FILE, reference)
    write_json(out / RUN_FILE, record.model_dump(mode="json"))
    write_run_report(out)
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)


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
