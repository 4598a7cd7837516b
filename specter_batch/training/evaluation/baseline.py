"""The baseline: compares fine-tuned models with a linear SVM on the embeddings of a frozen encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from specter_batch.display import markdown_text
from specter_batch.errors import ConfigError, LabelError
from specter_batch.metrics.bootstrap import macro_f1_interval
from specter_batch.metrics.f1 import macro_f1
from specter_batch.papers.columns import PaperColumns
from specter_batch.papers.labels import LabelSet
from specter_batch.storage.files import write_json, write_text
from specter_batch.training.embeddings.cache import EmbeddingCache
from specter_batch.training.embeddings.embed import Embedder
from specter_batch.training.evaluation.evaluate import Evaluation, evaluate
from specter_batch.training.evaluation.linear_svm import fit_linear_svm
from specter_batch.training.evaluation.report import unscored_sentences
from specter_batch.training.evaluation.report_model import BaselineReport, MethodScores, SvmFacts
from specter_batch.training.papers.labelled import LabelledPapers, label_warnings, read_labelled
from specter_batch.training.run.lineage import Lineage
from specter_batch.training.run.result_folder import claim_results


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """The predictions of one method for the test papers.

    Attributes:
        method: Name of the method in the table.
        true: True label names, as spelled in the method's label set, `(n_papers,)`.
        predicted: Predicted label names, `(n_papers,)`.
    """

    method: str
    true: Sequence[str]
    predicted: Sequence[str]

    @classmethod
    def of(cls, evaluation: Evaluation) -> "_Answers":
        true, predicted = (evaluation.predictions[name].to_pylist() for name in ("label", "predicted"))
        return cls(method=f"fine-tuned {evaluation.report.model}", true=true, predicted=predicted)

    def scores(self, rows: npt.NDArray[np.bool_], *, seed: int) -> MethodScores:
        """Return the method's scores over the papers at which `rows` `(n_papers,)` is True."""
        true, predicted = np.array(self.true)[rows], np.array(self.predicted)[rows]
        names, ids = np.unique(np.concatenate([true, predicted]), return_inverse=True)
        n_labels = len(names)
        cells = np.bincount(ids[: len(true)] * n_labels + ids[len(true) :], minlength=n_labels * n_labels)
        confusion = cells.reshape(n_labels, n_labels)
        right = np.diag(confusion)
        interval = macro_f1_interval(confusion, seed=seed)
        assert interval is not None  # noqa: S101 - there is at least one paper
        return MethodScores(
            method=self.method,
            macro_f1=float(macro_f1(right, confusion.sum(axis=1), confusion.sum(axis=0))),
            macro_f1_interval=interval,
            accuracy=float(right.sum() / len(true)),
            papers=len(true),
        )


def baseline(
    train: Path,
    test: Path,
    *,
    embedder: Embedder,
    cache: EmbeddingCache,
    models: Sequence[Path] = (),
    device: str = "auto",
    columns: PaperColumns | None = None,
    seed: int = 0,
) -> BaselineReport:
    """Score a linear SVM on frozen embeddings, and fine-tuned models on the same papers.

    Test papers that are in TRAIN, or in the training data of a model, are not scored.

    Args:
        train: Labelled papers to fit the SVM on.
        test: Labelled papers to score.
        embedder: The frozen encoder.
        cache: Cache for the embeddings.
        models: Folders of runs and bundles to compare with the SVM.
        device: Name of the device that bundles run on.
        columns: Column names of both inputs; detected when None.
        seed: Random seed of the bootstrap.

    Raises:
        ConfigError: No test paper is left to score.
        LabelError: A test paper's label is not in TRAIN or is unknown to a model, or TRAIN has too few papers.
    """
    fitted, scored = read_labelled(train, columns), read_labelled(test, columns)
    # Models come before the SVM, so that a wrong folder fails before the slow search for C.
    evaluations = [_evaluated(model, test, device=device, columns=columns) for model in models]
    lineage = Lineage.of_encoder(embedder.name)
    in_train = _met_by_svm(fitted, scored, lineage)
    met = np.logical_or.reduce([in_train, *(one.predictions["seen"].to_numpy() for one in evaluations)])
    if met.all():
        raise ConfigError(
            f"{test}: all {len(scored):,} papers are in {train} or in a model's training data; give unseen papers"
        )
    svm, facts = _svm_answers(fitted, scored, embedder=embedder, cache=cache)
    chosen_on_test = [one.report.model for one in evaluations if one.report.is_validation_data]
    return BaselineReport(
        train=str(train),
        test=str(test),
        models=tuple(str(model) for model in models),
        train_papers=len(fitted),
        test_papers=len(scored),
        seen_in_train=int(in_train.sum()),
        seen_by_models_alone=int((met & ~in_train).sum()),
        dropped={"train": dict(fitted.dropped), "test": dict(scored.dropped)},
        seed=seed,
        **dict(facts)
        | {
            "notes": (
                *facts.notes,
                *fitted.notes,
                *scored.notes,
                *label_warnings(fitted),
                *embedder.notes,
                *lineage.notes,
                *(
                    f"TEST is the validation data of {name}: its best epoch was chosen on these papers"
                    for name in chosen_on_test
                ),
            )
        },
        methods=tuple(answers.scores(~met, seed=seed) for answers in (svm, *map(_Answers.of, evaluations))),
    )


def _evaluated(model: Path, test: Path, *, device: str, columns: PaperColumns | None) -> Evaluation:
    """Score a model on all test papers, because every method is scored on the same papers."""
    evaluation = evaluate(model, test, device=device, columns=columns)
    if evaluation.report.unknown_labels or evaluation.report.not_finite:
        raise LabelError(f"{test}: {model} cannot be compared: {unscored_sentences(evaluation.report)[0]}")
    return evaluation


def _met_by_svm(train: LabelledPapers, test: LabelledPapers, lineage: Lineage) -> npt.NDArray[np.bool_]:
    """Return whether each test paper is in TRAIN or in the encoder's known training data, `(n_papers,)` bool."""
    return test.seen_by(train.seen_hashes()) | test.seen_by(lineage.seen_texts, template=lineage.text_template)


def _svm_answers(
    train: LabelledPapers, test: LabelledPapers, *, embedder: Embedder, cache: EmbeddingCache
) -> tuple[_Answers, SvmFacts]:
    """Fit the SVM and label the test papers; return its predictions and how the SVM was made."""
    labels = LabelSet.from_values(train.papers["label"].unique().to_pylist())
    train_ids, test_ids = train.label_ids(labels), test.label_ids(labels)
    train_texts, test_texts = train.texts(embedder.text_template), test.texts(embedder.text_template)
    svm = fit_linear_svm(cache.embed(embedder, train_texts), train_ids, label_names=labels.names)
    predicted = svm.fitted.predict(cache.embed(embedder, test_texts))
    answers = _Answers(
        method=f"frozen {embedder.name}, {embedder.pooling} pooling, linear SVM",
        true=[labels.names[i] for i in test_ids],
        predicted=[labels.names[i] for i in predicted],
    )
    facts = SvmFacts(
        encoder=embedder.name,
        pooling=embedder.pooling,
        max_length=embedder.text_encoder.max_length,
        hidden_size=embedder.hidden_size,
        c=svm.c,
        folds=svm.folds,
        cross_validation_accuracy=svm.cross_validation_accuracy,
        embeddings_from_cache=cache.hits,
        notes=(*svm.notes, *cache.problems),
    )
    return answers, facts


def baseline_markdown(report: BaselineReport) -> str:
    """Render the report as Markdown."""
    lines = [
        "| method | macro F1 | 95 % interval | accuracy | papers |",
        "|---|---:|---|---:|---:|",
    ]
    for row in report.methods:
        low, high = row.macro_f1_interval.low, row.macro_f1_interval.high
        lines.append(
            f"| {markdown_text(row.method)} | {row.macro_f1:.4f} | {low:.4f} to {high:.4f} "
            f"| {row.accuracy:.4f} | {row.papers:,} |"
        )
    lines += [
        "",
        f"Of {report.test_papers:,} test papers, {report.seen_in_train:,} are also training papers and "
        f"{report.seen_by_models_alone:,} more are in the training data of a model; they are left out. The SVM was "
        f"fitted on {report.train_papers:,} papers with C = {report.c:g}, the best of {report.folds}-fold "
        f"cross-validation there (accuracy {report.cross_validation_accuracy:.4f}). Embeddings: "
        f"{report.hidden_size} numbers of at most {report.max_length} tokens.",
    ]
    lines += ["", *(f"- {markdown_text(note)}" for note in report.notes)] if report.notes else []
    return "\n".join(lines) + "\n"


def claim_baseline(
    out: Path, *, train: Path, test: Path, encoder: str, models: Sequence[Path], replace: bool = False
) -> None:
    """Create and mark the output folder of a baseline before the work begins.

    Raises:
        ConfigError: The folder holds other files, or it holds another baseline and `replace` is False.
    """
    identity = {"encoder": encoder, "train": str(train), "test": str(test), "models": [str(model) for model in models]}
    claim_results(out, "baseline", report="baseline.json", identity=identity, replace=replace)


def write_baseline(report: BaselineReport, out: Path) -> None:
    """Write `baseline.json` and `baseline.md` into a folder from `claim_baseline`."""
    write_json(out / "baseline.json", report.model_dump(mode="json"))
    write_text(out / "baseline.md", f"# Frozen baseline on {markdown_text(report.test)}\n\n{baseline_markdown(report)}")
