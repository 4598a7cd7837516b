"""Chooses the deferral margin of a graph: candidates from some papers, and a test of each candidate on other papers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from specter_batch.metrics.binomial import most_events, upper_bound
from specter_batch.metrics.f1 import Floats, margins
from specter_batch.model.session import Logits


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How the answers of a fast graph compare with the exact ones.

    Attributes:
        margin: Margin of each paper in the fast graph, `(n,)`; minus infinity if a logit is NaN or infinite, because
            the job never trusts such logits.
        differs: True for papers to which the fast graph alone gives another label, `(n,)` bool.
    """

    margin: Floats
    differs: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, fast: Logits, exact: Logits) -> "Agreement":
        """Compare the logits of two graphs for the same papers, both `(n, n_labels)`."""
        finite = np.asarray(np.isfinite(fast).all(axis=1))
        usable = np.where(finite[:, None], fast, 0)
        differs = ~finite | (usable.argmax(axis=1) != exact.argmax(axis=1))
        return cls(margin=np.where(finite, margins(usable), -np.inf), differs=differs)

    def __len__(self) -> int:
        return len(self.margin)

    def disagreements(self, candidates: Floats) -> npt.NDArray[np.int64]:
        """Return how many papers get another label with each deferral margin, `(n_candidates,)`.

        Papers below the margin are run again with the exact graph, so they never get another label. With a margin of 0
        no paper is run again.
        """
        differing = np.sort(self.margin[self.differs])
        least = np.where(candidates > 0, candidates, -np.inf)
        return np.asarray(len(differing) - np.searchsorted(differing, least, side="left"), dtype=np.int64)

    def deferred(self, margin: float) -> int:
        """Return how many papers are run again with this deferral margin."""
        return int((self.margin < margin).sum()) if margin > 0 else 0


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What was shown about a graph.

    Attributes:
        epsilon: The largest share of papers with another label.
        margin: The deferral margin for which it was shown.
        disagreements: Papers with another label.
        upper_bound: Exact upper bound of the share of disagreements.
    """

    epsilon: float
    margin: float
    disagreements: int
    upper_bound: float


def narrowest_margin(fast: Logits, exact: Logits, *, papers: int, target: float, delta: float) -> float:
    """Return the last margin to test: 0 if enough papers test it, and otherwise the margin that was fitted.

    Papers that are too few to show the target also show wide margins and narrow ones alike. The fitted margin is then
    the best estimate of a margin that keeps the target.

    Args:
        fast: Logits of the fast graph for the fitting papers, `(n, n_labels)`.
        exact: Logits of the fp32 graph for the same papers, `(n, n_labels)`.
        papers: Number of papers that test the margins; it may be 0.
        target: Largest allowed share of papers with another label, 0 to 1.
        delta: Largest probability that the promise is wrong.
    """
    if papers and upper_bound(0, papers, delta=delta) <= target:
        return 0.0
    usable = np.isfinite(fast).all(axis=1)
    return fit_deferral_margin(fast[usable], exact[usable], max_label_flips=target) if usable.any() else 0.0


def candidate_margins(fitting: Agreement, narrowest: float) -> Floats:
    """Return the margins to test, the widest first: from one that is wider than all fitting papers to the narrowest.

    With the first one all fitting papers are run again. Between them are the margins of the fitting papers.
    """
    found = np.unique(fitting.margin[fitting.margin > narrowest])[::-1]
    widest = np.nextafter(found[:1], np.inf)
    return np.concatenate([widest, found, [narrowest]])


def certified_margin(candidates: Floats, checking: Agreement, *, target: float, delta: float) -> Bound:
    """Return the narrowest margin for which papers show that at most a share `target` of labels differs.

    This is fixed-sequence testing in Learn-then-Test (Angelopoulos et al. 2021, https://arxiv.org/abs/2110.01052). Each
    candidate is the hypothesis "more than this share of labels differs", and the exact binomial bound tests it. The
    candidates are tested from the widest margin to narrower ones, until the first that the papers do not show. Their
    order is fixed before the papers are looked at, and a narrower margin never lets fewer labels differ. The promise is
    therefore wrong with a probability of at most `delta`, although many margins are tested on the same papers.

    Too few papers cannot show a small share even if all their labels agree. The smallest share that their number can
    show is then used instead of the target. If not even the widest margin passes, its own bound is the promise. Neither
    raises the probability above `delta`: the first depends only on the number of papers. The second happens only if the
    widest margin fails, and is then wrong only if the bound of this one margin is.

    Args:
        candidates: Margins to test, the widest first, `(n_candidates,)`. They must not depend on the checking papers.
        checking: Results for papers that neither the graph nor the candidates were fitted on.
        target: Largest share of papers with another label to show, 0 to 1.
        delta: Largest probability that the promise is wrong, above 0 and below 1.
    """
    papers = len(checking)
    epsilon = max(target, upper_bound(0, papers, delta=delta))
    counts = checking.disagreements(candidates)
    failed = np.flatnonzero(counts > most_events(papers, epsilon, delta=delta))
    passed = int(failed[0]) if len(failed) else len(candidates)
    chosen = max(passed - 1, 0)
    bound = upper_bound(int(counts[chosen]), papers, delta=delta)
    return Bound(
        epsilon=epsilon if passed else bound,
        margin=float(candidates[chosen]),
        disagreements=int(counts[chosen]),
        upper_bound=bound,
    )


def fit_deferral_margin(int8: Logits, fp32: Logits, *, max_label_flips: float) -> float:
    """Return the margin below which the label of the int8 graph cannot be trusted.

    A label flips if int8 overstates the lead of its top label over another label by more than that lead. The error
    hardly depends on the paper. So we combine the int8 margin of every paper with the error of every paper. From n
    papers this gives n^2 pairs, from which even a small share of flips can be estimated. The margin is the smallest one
    at which the papers above it are expected to flip no more often than allowed. As the error we use the largest error
    to any label, which makes the margin rather too wide than too narrow.

    Args:
        int8: Logits of the int8 graph for calibration papers, `(n, n_labels)`.
        fp32: Logits of the reference for the same papers, `(n, n_labels)`.
        max_label_flips: Largest allowed share of papers with another label, 0 to 1.
    """
    top = int8.argmax(axis=1)[:, None]
    leads = [np.take_along_axis(logits, top, axis=1) - logits for logits in (int8, fp32)]
    errors = np.sort((leads[0] - leads[1]).max(axis=1))
    descending = np.sort(margins(int8))[::-1]
    flipped = 1 - np.searchsorted(errors, descending, side="right") / len(errors)
    expected = np.cumsum(flipped) / len(descending)  # of the papers from the widest margin down to each
    trusted = int((expected <= max_label_flips).sum())
    if trusted == len(descending):
        return 0.0
    # Between the widest margin that may not be trusted and the next wider one; above all where there is none.
    limit = descending[trusted]
    wider = descending[descending > limit]
    return float((limit + wider[-1]) / 2 if len(wider) else limit + 1)
