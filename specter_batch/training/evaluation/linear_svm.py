"""SciDocs' classifier on frozen embeddings: a linear SVM whose C is chosen on the training papers."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from specter_batch.errors import ConfigError, LabelError
from specter_batch.metrics.f1 import Ints
from specter_batch.model.session import Embeddings
from specter_batch.training.evaluation.squared_hinge import Floats, SvmWeights, fit_for_each_c

C_VALUES = tuple(float(c) for c in np.logspace(-4, 2, 7))
FOLDS = 3
MAX_STEPS = 100  # a fit takes about four


@dataclass(frozen=True, kw_only=True)
class LinearSvm:
    """A fitted linear SVM, and how its C was chosen.

    Attributes:
        fitted: The SVM, fitted on all training papers with `c`.
        c: The value of C with the best mean accuracy over the folds.
        folds: Number of folds of the cross-validation.
        cross_validation_accuracy: Mean accuracy over the folds with `c`.
        notes: Sentences that a reader of the SVM's score should know.
    """

    fitted: SvmWeights
    c: float
    folds: int
    cross_validation_accuracy: float
    notes: tuple[str, ...]


def fit_linear_svm(
    embeddings: Embeddings, label_ids: Ints, *, label_names: Sequence[str], max_steps: int = MAX_STEPS
) -> LinearSvm:
    """Fit a one-against-the-rest linear SVM, and choose C by cross-validation.

    This follows SciDocs (Cohan et al. 2020; `classify` in
    https://github.com/allenai/scidocs/blob/master/scidocs/classification.py). The embeddings are not scaled, and the
    loss is the squared hinge. C is between 1e-4 and 1e2 and is chosen by the best mean accuracy over three stratified
    folds in the order of the papers.

    SciDocs uses lightning's dual solver without an intercept. We have an intercept, which is regularised like the other
    weights, as in scikit-learn's `LinearSVC`. We solve the primal problem with Newton's method. It is exact at every C,
    where `LinearSVC` needs most of its time for large values of C and stops before it has converged.

    Args:
        embeddings: Embeddings of the papers, `(n, hidden_size)`.
        label_ids: Label ids of the papers, `(n,)`.
        label_names: Name of each label, by label id, for the notes.
        max_steps: Largest number of Newton steps for one label and one C.

    Raises:
        ConfigError: An embedding is not finite.
        LabelError: Fewer than two labels have two papers, so cross-validation is not possible.
    """
    papers = np.bincount(label_ids, minlength=len(label_names))
    if (papers >= 2).sum() < 2:
        raise LabelError(
            "cross-validation chooses C, and needs at least two labels with two papers each; add training papers"
        )
    if not np.isfinite(embeddings).all():
        raise ConfigError("the encoder gives embeddings that are NaN or infinite: choose another --encoder")
    folds = min(FOLDS, int(papers.max()))
    notes = []
    if folds < FOLDS:
        notes.append(f"C was searched on {folds} folds instead of {FOLDS}: no label has {FOLDS} papers to train on")
    rare = [f"{name} ({count})" for name, count in zip(label_names, papers, strict=True) if 0 < count < folds]
    if rare:
        notes.append(f"labels with too few papers to be in each of the {folds} folds: {', '.join(rare)}")
    # Products of this size are no faster with more threads, which would wait for each other on a busy machine.
    with threadpool_limits(1, user_api="blas"):
        accuracies, searched = _cross_validated(embeddings, label_ids, folds=folds, max_steps=max_steps)
        c = C_VALUES[int(accuracies.argmax())]
        (final,) = fit_for_each_c(embeddings, label_ids, [c], max_steps=max_steps)
    notes += _notes_on_fits([*searched, final], max_steps=max_steps)
    if c in (C_VALUES[0], C_VALUES[-1]):
        notes.append(f"C = {c:g} is the end of SciDocs' range: a value outside of it might be better")
    return LinearSvm(
        fitted=final, c=c, folds=folds, cross_validation_accuracy=float(accuracies.max()), notes=tuple(notes)
    )


def _cross_validated(
    embeddings: Embeddings, label_ids: Ints, *, folds: int, max_steps: int
) -> tuple[Floats, list[SvmWeights]]:
    """Return the mean accuracy over the folds of each C, `(n_c,)`, and all SVMs that were fitted."""
    accuracies = np.zeros((folds, len(C_VALUES)))
    searched: list[SvmWeights] = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # the note on rare labels replaces it
        splits = list(StratifiedKFold(folds).split(embeddings, label_ids))
    for fold, (fitted_on, scored_on) in enumerate(splits):
        of_fold = fit_for_each_c(embeddings[fitted_on], label_ids[fitted_on], C_VALUES, max_steps=max_steps)
        accuracies[fold] = [(svm.predict(embeddings[scored_on]) == label_ids[scored_on]).mean() for svm in of_fold]
        searched += of_fold
    return accuracies.mean(axis=0), searched


def _notes_on_fits(svms: Sequence[SvmWeights], *, max_steps: int) -> list[str]:
    """Return a sentence about fits that had not converged, if there are any; the last SVM is the one that is scored."""
    unconverged = sum(svm.unconverged for svm in svms)
    if not unconverged:
        return []
    fits = sum(len(svm.label_ids) for svm in svms)
    scored = f", {svms[-1].unconverged} of them in the scored SVM" if svms[-1].unconverged else ""
    return [
        f"{unconverged:,} of {fits:,} fits of the SVM (one for each label, C and fold) had not converged after "
        f"{max_steps} Newton steps{scored}"
    ]
