"""Compares two models (runs or bundles) with the same labels on the same labelled papers."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from specter_batch import __version__
from specter_batch.errors import ConfigError, GateError, LabelError
from specter_batch.graph_names import Precision
from specter_batch.metrics.bootstrap import macro_f1_interval
from specter_batch.metrics.f1 import F1Report, Floats, Ints, Tally
from specter_batch.metrics.non_inferiority import non_inferiority
from specter_batch.metrics.paired import compare_predictions
from specter_batch.papers.columns import PaperColumns
from specter_batch.papers.labels import LabelSet
from specter_batch.training.evaluation.comparison_model import ComparedModel, LabelChange, ModelComparison
from specter_batch.training.evaluation.evaluate import Evaluation, evaluate_on, opened_model
from specter_batch.training.papers.labelled import read_labelled
from specter_batch.training.papers.split import listed_names
from specter_batch.training.run.folder import TrainingRun

# Most changes of a label that the report lists.
SHOWN_CHANGES = 15


@dataclass(frozen=True, kw_only=True)
class ComparedModels:
    """The comparison of two models, and their predictions.

    Attributes:
        report: The content of `report.json`.
        predictions: Table with one row per paper in file order, and the columns `paper_id`, `label` (the true label),
            `a`, `score_a`, `b`, `score_b` and `compared`. `compared` is False for papers that are left out.
    """

    report: ModelComparison
    predictions: pa.Table

    def refuse_loss(self) -> None:
        """Raise an error if the papers do not show that B loses at most the macro F1 that was given.

        Raises:
            GateError: B may lose more.
        """
        found = self.report.non_inferiority
        if found is not None and not found.passed:
            advice = "" if found.verdict == "worse" else "; more test papers make the interval narrower"
            raise GateError(f"--max-f1-loss {found.max_loss:g}: {found.sentence()}{advice}")


def compare_models(
    a: Path,
    b: Path,
    papers: Path,
    *,
    device: str = "auto",
    graph_a: Precision | None = None,
    graph_b: Precision | None = None,
    columns: PaperColumns | None = None,
    max_f1_loss: float | None = None,
    seed: int = 0,
) -> ComparedModels:
    """Compare two models on labelled papers that neither was trained on.

    Args:
        a: Folder of the run or bundle to compare with.
        b: Folder of the new run or bundle.
        papers: The labelled papers.
        device: Name of the device that bundles run on.
        graph_a: Precision of the graph of bundle A; the fastest graph for the device when None.
        graph_b: Precision of the graph of bundle B.
        columns: Column names of the papers; detected when None.
        max_f1_loss: Largest loss of macro F1 that is accepted; no judgement when None.
        seed: Random seed of the bootstrap.

    Raises:
        BundleError: A folder is neither a run nor a bundle.
        ConfigError: No paper is left to compare the models on.
        LabelError: The models have different labels, or know none of the papers' labels.
    """
    models = opened_model(a), opened_model(b)
    for option, model, graph in zip(("--graph-a", "--graph-b"), models, (graph_a, graph_b), strict=True):
        if graph is not None and isinstance(model, TrainingRun):
            raise ConfigError(
                f"{option} {graph}: {model.path} is a run and has no graphs; leave {option} out, or give the bundle "
                "that was exported from the run"
            )
    labels = models[0].labels
    _check_same_labels(labels, models[1].labels, a=a, b=b)
    labelled = read_labelled(papers, columns)
    found = tuple(
        evaluate_on(labelled, model, device=device, graph=graph)
        for model, graph in zip(models, (graph_a, graph_b), strict=True)
    )
    of_a, of_b = (one.predictions for one in found)
    seen = of_a["seen"].to_numpy() | of_b["seen"].to_numpy()
    true = _ids(of_a["label"], labels)
    finite = pc.and_(pc.is_valid(of_a["predicted"]), pc.is_valid(of_b["predicted"])).to_numpy()
    compared = (true >= 0) & finite & ~seen & ~labelled.copies()
    if not compared.any():
        raise ConfigError(
            f"{papers}: none of its {len(labelled):,} papers can be compared: {int(seen.sum()):,} are in the training "
            f"data of a model, {int((true < 0).sum()):,} have a label that the models do not know, and for "
            f"{int((~finite).sum()):,} a model gives NaN or infinity; give papers that neither model was trained on, "
            "with the models' labels"
        )
    predicted = tuple(_ids(one["predicted"], labels)[compared] for one in (of_a, of_b))
    scores = tuple(one["score"].to_numpy()[compared] for one in (of_a, of_b))
    true = true[compared]
    paired = compare_predictions(true, *predicted, labels=labels.names, seed=seed)
    assert paired is not None  # noqa: S101 - there is at least one paper
    sides = tuple(
        _side(one, true, ids, of_model, labels=labels, seed=seed)
        for one, ids, of_model in zip(found, predicted, scores, strict=True)
    )
    first = found[0].report
    report = ModelComparison(
        a=sides[0],
        b=sides[1],
        papers=first.papers,
        papers_sha256=first.papers_sha256,
        compared=paired,
        non_inferiority=None if max_f1_loss is None else non_inferiority(paired, max_loss=max_f1_loss),
        changes=_changes(true, *predicted, labels=labels),
        changed_papers=int((predicted[0] != predicted[1]).sum()),
        seen_in_training=int(seen.sum()),
        unknown_labels=first.unknown_labels,
        not_finite=int((~finite).sum()),
        dropped=first.dropped,
        labels=labels.names,
        notes=(*labelled.notes, *labelled.note_on_copies("each text is compared once")),
        seed=seed,
        version=__version__,
    )
    return ComparedModels(report=report, predictions=_predictions(of_a, of_b, compared))


def _check_same_labels(a_labels: LabelSet, b_labels: LabelSet, *, a: Path, b: Path) -> None:
    """Check that two models have the same labels, in any order.

    Raises:
        LabelError: A label is missing in one of the models.
    """
    only = {
        model: sorted(set(own) - set(other)) for model, own, other in ((a, a_labels, b_labels), (b, b_labels, a_labels))
    }
    if any(only.values()):
        differing = " and ".join(f"only {model} has {listed_names(names)}" for model, names in only.items() if names)
        raise LabelError(
            f"{a} and {b} have different labels: {differing}; give two models that were trained with the same labels"
        )


def _ids(names: pa.ChunkedArray, labels: LabelSet) -> Ints:
    """Return the label ids `(n,)` of names; -1 for null and for a name that is not in the set."""
    return np.asarray(pc.fill_null(pc.index_in(names, pa.array(labels.names)), -1).to_numpy(), dtype=np.int64)


def _side(
    evaluation: Evaluation, true: Ints, predicted: Ints, scores: Floats, *, labels: LabelSet, seed: int
) -> ComparedModel:
    report = evaluation.report
    tally = Tally.count(true, predicted, scores, n_labels=len(labels))
    interval = macro_f1_interval(tally.confusion, seed=seed)
    assert interval is not None  # noqa: S101 - there is at least one paper
    return ComparedModel(
        model=report.model,
        fingerprint=report.fingerprint,
        model_sha256=report.model_sha256,
        device=report.device,
        provider=report.provider,
        graph=report.graph,
        is_validation_data=report.is_validation_data,
        seen_in_training=int(evaluation.predictions["seen"].to_numpy().sum()),
        macro_f1_interval=interval,
        expected_calibration_error=F1Report.from_tally(tally, labels).expected_calibration_error,
        reliability=tally.reliability(),
    )


def _changes(true: Ints, a: Ints, b: Ints, *, labels: LabelSet) -> tuple[LabelChange, ...]:
    """Return the most frequent changes of a label, the most frequent one first."""
    changed = a != b
    pairs = Counter(zip(a[changed].tolist(), b[changed].tolist(), strict=True))

    def change(i: int, j: int, papers: int) -> LabelChange:
        of_pair = true[(a == i) & (b == j)]
        right = (int((of_pair == label).sum()) for label in (i, j))
        return LabelChange(
            a=labels.names[i], b=labels.names[j], papers=papers, a_right=next(right), b_right=next(right)
        )

    ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return tuple(change(i, j, papers) for (i, j), papers in ordered[:SHOWN_CHANGES])


def _predictions(of_a: pa.Table, of_b: pa.Table, compared: npt.NDArray[np.bool_]) -> pa.Table:
    return pa.table(
        {
            "paper_id": of_a["paper_id"],
            "label": of_a["label"],
            "a": of_a["predicted"],
            "score_a": of_a["score"],
            "b": of_b["predicted"],
            "score_b": of_b["score"],
            "compared": compared,
        }
    )
