"""SciDocs' classifier on frozen embeddings: a linear SVM whose C is chosen on the training papers."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.svm import LinearSVC

from specter_batch.errors import LabelError
from specter_batch.metrics.f1 import Ints
from specter_batch.model.session import Embeddings

C_VALUES = np.logspace(-4, 2, 7)
FOLDS = 3


@dataclass(frozen=True, kw_only=True)
class LinearSvm:
    """A fitted linear SVM, and how its C was chosen.

    Attributes:
        estimator: The SVM, fitted on all training papers with `c`.
        c: The value of C with the best mean accuracy over the folds.
        folds: Number of folds of the cross-validation.
        cross_validation_accuracy: Mean accuracy over the folds with `c`.
        notes: Sentences that a reader of the SVM's score should know.
    """

    estimator: LinearSVC
    c: float
    folds: int
    cross_validation_accuracy: float
    notes: tuple[str, ...]

    def predict(self, embeddings: Embeddings) -> Ints:
        """Return the label ids `(n,)` of embeddings `(n, hidden_size)`."""
        return np.asarray(self.estimator.predict(embeddings), dtype=np.int64)


def fit_linear_svm(embeddings: Embeddings, label_ids: Ints, *, label_names: Sequence[str], seed: int) -> LinearSvm:
    """Fit a one-against-the-rest linear SVM, and choose C by cross-validation.

    This follows SciDocs (Cohan et al. 2020; `classify` in
    https://github.com/allenai/scidocs/blob/master/scidocs/classification.py). The embeddings are not scaled, and the
    loss is the squared hinge. C is between 1e-4 and 1e2 and is chosen by the best mean accuracy over three stratified
    folds in the order of the papers.

    Unlike SciDocs, which uses lightning's dual solver without an intercept, we use scikit-learn with an intercept. If
    there are more papers than numbers in an embedding, the primal problem is solved. It converges in tens of steps,
    where the dual needs thousands and more.

    Args:
        embeddings: Embeddings of the papers, `(n, hidden_size)`.
        label_ids: Label ids of the papers, `(n,)`.
        label_names: Name of each label, by label id, for the notes.
        seed: Random seed of the order in which the dual solver visits papers.

    Raises:
        LabelError: Fewer than two labels have two papers, so cross-validation is not possible.
    """
    papers = np.bincount(label_ids, minlength=len(label_names))
    if (papers >= 2).sum() < 2:
        raise LabelError("C is searched by cross-validation: at least two labels need two papers or more to train on")
    folds = min(FOLDS, int(papers.max()))
    notes = []
    if folds < FOLDS:
        notes.append(f"C was searched on {folds} folds instead of {FOLDS}: no label has {FOLDS} papers to train on")
    rare = [f"{name} ({count})" for name, count in zip(label_names, papers, strict=True) if 0 < count < folds]
    if rare:
        notes.append(f"labels with too few papers to be in each of the {folds} folds: {', '.join(rare)}")
    estimator = LinearSVC(loss="squared_hinge", dual="auto", random_state=seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search = GridSearchCV(estimator, {"C": C_VALUES}, cv=folds).fit(embeddings, label_ids)
    unconverged = sum(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    if unconverged:
        n_fits = folds * len(C_VALUES) + 1
        scored = ", the scored one among them" if search.best_estimator_.n_iter_ >= estimator.max_iter else ""
        notes.append(
            f"{unconverged} of {n_fits} fits of the SVM had not converged after {estimator.max_iter} iterations{scored}"
        )
    c = float(search.best_params_["C"])
    if c in (C_VALUES[0], C_VALUES[-1]):
        notes.append(f"C = {c:g} is the end of SciDocs' range: a value outside of it might be better")
    warnings_raised = {
        str(warning.message) for warning in caught if not issubclass(warning.category, ConvergenceWarning)
    }
    notes += sorted(
        message for message in warnings_raised if not message.startswith("The least populated class")
    )  # the note on rare labels replaces this warning
    return LinearSvm(
        estimator=search.best_estimator_,
        c=c,
        folds=folds,
        cross_validation_accuracy=float(search.best_score_),
        notes=tuple(notes),
    )
