"""The parity gate: compares a graph with the Torch model on real texts, one at a time and in batches."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from specter_batch.metrics.f1 import F1Report, Ints, Tally, margins, softmax
from specter_batch.model.certificate import Certificate
from specter_batch.model.session import Embeddings, Graph, Logits
from specter_batch.model.tokens.encoding import TokenIds, pad_batch, plan_batches
from specter_batch.papers.labels import LabelSet
from specter_batch.papers.text import paper_text
from specter_export.recipe import Tolerances

# Number of papers that are compared in batches, which is enough to show that padding changes nothing.
BATCHED_PAPERS = 128
BATCH_TOKENS = 4096
LISTED_FLIPS = 50
# The label id of a paper without a label.
NO_LABEL = -1


def trap_texts(template: str) -> list[str]:
    """Return texts on which exporters and tokenizers often fail."""
    sentence = "Renal outcomes were assessed in 412 patients after treatment with the study drug. "
    return [
        paper_text("Sepsis", None, template),
        paper_text("A", "B", template),
        paper_text("Β-amyloid, naïve T-cells and 日本 cohorts: a 🧠 study", "α ≤ 0.05 — “quoted” ½ mg·kg⁻¹.", template),
        paper_text("Outcomes", sentence * 3, template),
        paper_text("Outcomes of treatment", sentence * 200, template),  # cut at max_length
        paper_text("https://example.org/" + "x" * 300, "A very long unbroken word.", template),
    ]


@dataclass(frozen=True, kw_only=True)
class GatePapers:
    """Papers that graphs are compared on.

    Attributes:
        token_ids: Token ids of the papers, which have different lengths.
        expected: Torch's logits divided by `logit_divisor`, `(n, n_labels)`.
        embeddings: Torch's embeddings, `(n, hidden_size)`.
        true: True label ids, `(n,)`; `NO_LABEL` if a paper has no label.
        logit_divisor: What the graphs divide logits by.
    """

    token_ids: list[TokenIds]
    expected: Logits
    embeddings: Embeddings
    true: Ints
    logit_divisor: float = 1.0

    def longest(self, count: int) -> list[TokenIds]:
        """Return the token ids of the longest papers."""
        return sorted(self.token_ids, key=len)[-count:]


@dataclass(frozen=True, kw_only=True)
class ModeParity:
    """The comparison of a graph with Torch in one mode, such as one paper at a time or sorted batches.

    Attributes:
        papers: Number of papers compared.
        max_logit_difference: Largest difference of a logit.
        max_probability_difference: Largest difference of a probability.
        label_flips: Number of papers with another label than in Torch.
        flip_margins: Lead of Torch's label over the graph's label, in logits, for at most `LISTED_FLIPS` such papers.
        max_embedding_difference: Largest difference of a number of an embedding; None if the graph gives no embeddings.
        min_embedding_cosine: Smallest cosine of a paper's embedding and Torch's; None if the graph gives no embeddings.
    """

    papers: int
    max_logit_difference: float
    max_probability_difference: float
    label_flips: int
    flip_margins: tuple[float, ...]
    max_embedding_difference: float | None = None
    min_embedding_cosine: float | None = None


@dataclass(frozen=True, kw_only=True)
class ParityReport:
    """The result of the parity gate for one graph.

    Attributes:
        file: Name of the graph's file in the bundle.
        modes: Comparison with Torch, by mode.
        macro_f1: Macro F1 of Torch and of the graph; None if the papers have no labels.
        deferral_margin: Margin below which papers are run again with the fp32 graph; None if there is no such margin.
        deferred_papers: Number of papers that were run again with the fp32 graph.
        failures: Reasons why the graph failed; empty if it passed.
        largest_value: For fp16, the largest absolute value in the fp32 graph on the longest papers; None otherwise.
        certificate: How many labels can differ from the fp32 graph on unseen papers; None if nothing was certified.
    """

    file: str
    modes: dict[str, ModeParity]
    macro_f1: dict[str, float] | None
    deferral_margin: float | None
    deferred_papers: int
    failures: tuple[str, ...]
    largest_value: float | None = None
    certificate: Certificate | None = None

    @property
    def passed(self) -> bool:
        """True if the graph may be put into a bundle."""
        return not self.failures

    def as_json(self) -> dict[str, Any]:
        """Return the graph's part of `parity.json`."""
        certificate = None if self.certificate is None else self.certificate.model_dump(mode="json")
        return {**asdict(self), "passed": self.passed, "certificate": certificate}


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The results of a model for papers.

    Attributes:
        logits: Logits of the papers, `(n, n_labels)`.
        embeddings: Embeddings of the papers, `(n, hidden_size)`; None if the graph gives only logits.
    """

    logits: Logits
    embeddings: Embeddings | None = None

    @classmethod
    def of(cls, graph: Graph, token_ids: Sequence[TokenIds], plan: Iterable[npt.NDArray[np.int64]]) -> "Answers":
        """Run papers in the given batches of positions, which together hold each paper once."""
        rows, logits, embeddings = [], [], []
        for batch_rows in plan:
            batch = pad_batch(token_ids, batch_rows)
            rows.append(batch_rows)
            if graph.gives_embeddings:
                found, vectors = graph.logits_and_embeddings(batch)
                embeddings.append(vectors)
            else:
                found = graph.logits(batch)
            logits.append(found)
        order = np.argsort(np.concatenate(rows))
        return cls(
            logits=np.concatenate(logits)[order], embeddings=np.concatenate(embeddings)[order] if embeddings else None
        )


def compare(expected: Answers, found: Answers) -> ModeParity:
    """Compare the results of a graph with those of Torch for the same papers."""
    flipped = found.logits.argmax(axis=1) != expected.logits.argmax(axis=1)
    difference = cosine = None
    if found.embeddings is not None and expected.embeddings is not None:
        difference = float(np.abs(found.embeddings - expected.embeddings).max())
        cosine = float(_cosines(found.embeddings, expected.embeddings).min())
    return ModeParity(
        papers=len(expected.logits),
        max_logit_difference=float(np.abs(found.logits - expected.logits).max()),
        max_probability_difference=float(np.abs(softmax(found.logits) - softmax(expected.logits)).max()),
        label_flips=int(flipped.sum()),
        flip_margins=tuple(round(float(value), 4) for value in margins(expected.logits[flipped])[:LISTED_FLIPS]),
        max_embedding_difference=difference,
        min_embedding_cosine=cosine,
    )


def _cosines(ours: Embeddings, theirs: Embeddings) -> npt.NDArray[np.float64]:
    """Return the cosine of each paper's two vectors, `(n,)`; NaN if a vector has a NaN or no length."""
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        cosines = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return np.asarray(cosines, dtype=np.float64)


def check_graph(
    graph: Graph,
    *,
    file: str,
    papers: GatePapers,
    tolerances: Tolerances,
    reference: Graph | None = None,
    deferral_margin: float | None = None,
) -> ParityReport:
    """Compare a graph with Torch as the job runs it, and in sorted and random right-padded batches.

    Args:
        graph: The graph to check.
        file: Name of the graph's file in the bundle.
        papers: Papers to compare on, with Torch's results.
        tolerances: Tolerances of the graph's recipe.
        reference: The fp32 graph; only needed with a deferral margin.
        deferral_margin: Margin below which papers are run again with the reference; no paper is when None.
    """
    token_ids, expected = papers.token_ids, Answers(logits=papers.expected, embeddings=papers.embeddings)
    single = np.arange(len(token_ids), dtype=np.int64)[:, None]
    alone = Answers.of(graph, token_ids, single)
    deferred = np.zeros(len(token_ids), dtype=np.bool_)
    if reference is not None and deferral_margin:
        deferred = margins(alone.logits) < deferral_margin
        if deferred.any():
            alone = _with_deferred(alone, Answers.of(reference, token_ids, single[deferred]), deferred)
    modes = {"alone": compare(expected, alone)}
    some = list(range(min(BATCHED_PAPERS, len(token_ids))))
    lengths = [len(token_ids[row]) for row in some]
    shuffled = np.random.default_rng(0).permutation(len(some))
    batches = {
        "sorted batches": list(plan_batches(lengths, max_tokens=BATCH_TOKENS)),
        "random batches": [shuffled[start : start + 8] for start in range(0, len(shuffled), 8)],
    }
    first = Answers(logits=papers.expected[some], embeddings=papers.embeddings[some])
    for mode, plan in batches.items():
        modes[mode] = compare(first, Answers.of(graph, token_ids, plan))
    return ParityReport(
        file=file,
        modes=modes,
        macro_f1=_macro_f1(papers.true, {"torch": papers.expected, "graph": alone.logits}),
        deferral_margin=deferral_margin,
        deferred_papers=int(deferred.sum()),
        failures=tuple(_failures(modes, tolerances, logit_divisor=papers.logit_divisor)),
    )


def _with_deferred(answers: Answers, again: Answers, deferred: npt.NDArray[np.bool_]) -> Answers:
    """Return the results with those of the deferred papers replaced, as the job does it."""
    answers.logits[deferred] = again.logits
    if answers.embeddings is not None and again.embeddings is not None:
        answers.embeddings[deferred] = again.embeddings
    return answers


def _macro_f1(true: Ints, logits: dict[str, Logits]) -> dict[str, float] | None:
    known = true != NO_LABEL
    if not known.any():
        return None
    scores = {}
    for name, values in logits.items():
        n_labels = values.shape[1]
        predicted = values[known].argmax(axis=1)
        tally = Tally.count(true[known], predicted, np.ones(len(predicted)), n_labels=n_labels)
        scores[name] = F1Report.from_tally(tally, LabelSet(names=tuple(map(str, range(n_labels))))).macro_f1
    return scores


def _failures(modes: dict[str, ModeParity], tolerances: Tolerances, *, logit_divisor: float) -> list[str]:
    failures = []
    growth = 1 / min(logit_divisor, 1.0)  # a division by less than 1 makes differences larger, as it does logits
    for name, mode in modes.items():
        limit = None if tolerances.max_logit_difference is None else tolerances.max_logit_difference * growth
        if limit is not None and not mode.max_logit_difference <= limit:  # NaN fails too
            failures.append(f"{name}: a logit differs by {mode.max_logit_difference:.2e}, allowed {limit:.2g}")
        cosine, least = mode.min_embedding_cosine, tolerances.min_embedding_cosine
        if cosine is not None and least is not None and not cosine >= least:
            failures.append(
                f"{name}: the cosine of an embedding and Torch's is {cosine:.5f}, allowed {least:g} or more"
            )
    alone, allowed = modes["alone"], tolerances.max_label_flips
    if allowed is not None and alone.label_flips > allowed * alone.papers:
        share = alone.label_flips / alone.papers
        failures.append(
            f"alone: {alone.label_flips} of {alone.papers} labels flip ({share:.2%}), allowed {allowed:.2%}"
        )
    if not np.isfinite(alone.max_logit_difference):
        failures.append("alone: a logit is not a number")
    if alone.max_embedding_difference is not None and not np.isfinite(alone.max_embedding_difference):
        failures.append("alone: a number of an embedding is not finite")
    return failures
