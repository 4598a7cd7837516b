"""Writes the results of training into the run folder, except for the tokenizer."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from specter_batch.metrics.f1 import score_bins
from specter_batch.metrics.score_report import N_SCORE_BINS
from specter_batch.metrics.temperature import fit_temperature
from specter_batch.model.manifest import REFERENCE_FILE, SEEN_TEXTS_FILE
from specter_batch.model.ranking import Predictions
from specter_batch.model.session import Logits
from specter_batch.papers.labels import LabelSet
from specter_batch.papers.parquet import write_table
from specter_batch.papers.text import paper_texts, text_hash
from specter_batch.storage.files import apply_umask, file_sha256, write_json, written_whole
from specter_batch.training.evaluation.figures import EvaluationSettings, figures
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.fit.final_test import FinalTest
from specter_batch.training.fit.run_report import write_run_report
from specter_batch.training.model.classifier import SpecterForSequenceClassification
from specter_batch.training.model.saving import save_model
from specter_batch.training.papers.labelled import LabelledPapers
from specter_batch.training.run.folder import (
    CALIBRATION_FILE,
    KEPT_VALIDATION,
    RUN_FILE,
    VALIDATION_FILE,
    RunRecord,
)
from specter_batch.training.run.lineage import DISTILLED_FROM, STARTED_FROM, Lineage
from specter_batch.training.run.resume import saving

# Export certifies the model on 4,000 of them, and chooses the margins to test with others.
MOST_KEPT_VALIDATION = 5_000


def write_run(
    out: Path,
    model: SpecterForSequenceClassification,
    config: TrainConfig,
    *,
    train_papers: LabelledPapers,
    val_papers: LabelledPapers,
    val_logits: Logits,
    labels: LabelSet,
    max_length: int,
    text_template: str,
    lineage: Lineage,
    facts: dict[str, Any],
    test: FinalTest | None = None,
    test_logits: Logits | None = None,
) -> None:
    """Write weights, papers for export, drift reference, seen texts, the report page and, last, the record.

    Args:
        out: The run folder.
        model: The model with the best weights.
        config: Settings of the training run.
        train_papers: The training papers.
        val_papers: The validation papers, on which the best epoch was chosen.
        val_logits: Logits of the validation papers, `(n_val_papers, n_labels)`; the temperature is fitted to them.
        labels: The labels in the order of the logits.
        max_length: Largest number of tokens of a paper that the model reads.
        text_template: Template that joined title and abstract into one text.
        lineage: The run that the encoder comes from, and the texts that it was trained on.
        facts: Other values to record about the training.
        test: The test papers; no test when None.
        test_logits: Logits of the test papers, `(n_test_papers, n_labels)`, if there are any.
    """
    val_ids = val_papers.label_ids(labels)
    seen_texts = np.union1d(train_papers.seen_hashes(), lineage.seen_texts)
    temperature = fit_temperature(val_logits.astype(np.float64), val_ids)
    with saving(out):
        save_model(model, out)
        apply_umask(out)
        np.save(out / SEEN_TEXTS_FILE, seen_texts)
        _write_calibration(out, config, train_papers)
        kept_validation = write_validation(out, val_papers)
    predictions = Predictions.from_logits(val_logits, temperature=temperature)
    write_json(out / REFERENCE_FILE, _reference(predictions, labels))
    packages = ("specter-batch", "torch", "transformers", "tokenizers", "numpy")
    record = RunRecord(
        encoder=config.encoder,
        labels=labels.names,
        text_template=text_template,
        max_length=max_length,
        pooling=model.config.pooling,
        head=model.config.head,
        temperature=temperature,
        training={
            **facts,
            STARTED_FROM: lineage.record,
            **({} if lineage.distilled_from is None else {DISTILLED_FROM: lineage.distilled_from}),
            "encoder_is_folder": Path(config.encoder).is_dir(),
            "train_papers": len(train_papers),
            "train_labels": _label_counts(train_papers, labels),
            "train_file": train_papers.file_name,
            "validation_papers": len(val_papers),
            KEPT_VALIDATION: kept_validation,
            "validation_file": val_papers.file_name,
            "dropped": {
                name: dict(papers.dropped)
                for name, papers in (
                    ("train", train_papers),
                    ("validation", val_papers),
                    *(() if test is None else (("test", test.papers),)),
                )
            },
            "validation": figures(
                val_logits,
                val_ids,
                seen=val_papers.seen_by(seen_texts, template=text_template),
                temperature=temperature,
                labels=labels,
                settings=EvaluationSettings(),
            ).model_dump(mode="json"),
            **(
                {}
                if test is None or test_logits is None
                else test.facts(test_logits, labels, temperature=temperature, validation_papers=len(val_papers))
            ),
            "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        },
    )
    write_run_report(out, record)
    write_json(out / RUN_FILE, record.model_dump(mode="json"))


def _label_counts(papers: LabelledPapers, labels: LabelSet) -> dict[str, int]:
    """Return the number of papers with each label."""
    counts = np.bincount(papers.label_ids(labels), minlength=len(labels))
    return {name: int(count) for name, count in zip(labels, counts, strict=True)}


def _write_calibration(out: Path, config: TrainConfig, papers: LabelledPapers) -> None:
    generator = np.random.default_rng(config.seed)
    size = min(config.calibration_papers, len(papers))
    rows = np.sort(generator.choice(len(papers), size=size, replace=False))
    with written_whole(out / CALIBRATION_FILE) as partial:
        write_table(partial, papers.papers.take(rows), compression="snappy")


def write_validation(out: Path, papers: LabelledPapers, *, most: int = MOST_KEPT_VALIDATION) -> dict[str, Any]:
    """Write the validation papers with the smallest hashes of their texts, and return their number and the file's hash.

    Export certifies the model on them, because training papers would say little about new papers.

    Args:
        out: The run folder.
        papers: The validation papers.
        most: Largest number of papers to keep.
    """
    hashes = [text_hash(text) for text in paper_texts(papers.papers)]
    rows = np.sort(np.argsort(hashes, kind="stable")[:most])
    with written_whole(out / VALIDATION_FILE) as partial:
        write_table(partial, papers.papers.take(rows), compression="snappy")
    return {"papers": len(rows), "sha256": file_sha256(out / VALIDATION_FILE)}


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
