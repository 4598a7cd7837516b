"""The scores of labelled papers as a report. `evaluate` and the nightly job share it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specter_batch.display import markdown_text
from specter_batch.metrics.f1 import F1Report, Tally
from specter_batch.metrics.score_report import ScoreReport
from specter_batch.papers.labels import LabelSet
from specter_batch.papers.text import TEXT_TEMPLATE, normalised_text_hash, paper_texts


def seen_in_training(texts: Iterable[str], seen_texts: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Return whether each text was trained on, `(n,)` bool. Case and punctuation are ignored.

    Args:
        texts: Texts of the papers.
        seen_texts: Sorted normalised hashes of the training texts, `(n_texts,)` uint64, from a bundle.
    """
    hashes = np.array([normalised_text_hash(text) for text in texts], dtype=np.uint64)
    # np.isin would sort all the training texts again for each call.
    first, after = (np.searchsorted(seen_texts, hashes, side=side) for side in ("left", "right"))
    return np.asarray(first < after, dtype=np.bool_)


def papers_seen(
    papers: pa.Table,
    seen_texts: npt.NDArray[np.uint64],
    *,
    template: str,
    rows: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.bool_]:
    """Return whether a model, or a model that it was trained from, was trained on each paper, `(n,)` bool.

    Hashes of training texts are made with the default template, whatever separator the model uses. Models that were
    trained from each other therefore have the same hashes. Hashes made with the model's template are recognised too.

    Args:
        papers: Table with the columns `title` and `abstract`.
        seen_texts: Sorted normalised hashes of the training texts, `(n_texts,)`, from a run or a bundle.
        template: Text template of the model.
        rows: Numbers of the rows to look up, `(n,)`, in this order; all rows when None.
    """
    texts = (paper_texts(papers, one, rows=rows) for one in {TEXT_TEMPLATE, template})
    seen = np.array([seen_in_training(each, seen_texts) for each in texts])
    return np.asarray(seen.any(axis=0), dtype=np.bool_)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Tallies of labelled papers, with a separate one for papers trained on, so that no main score includes them."""

    unseen: Tally
    seen: Tally

    @classmethod
    def empty(cls, n_labels: int) -> "Scores":
        """Return scores with two empty tallies."""
        return cls(unseen=Tally.empty(n_labels), seen=Tally.empty(n_labels))

    @classmethod
    def count(
        cls,
        true: npt.NDArray[np.int64],
        predicted: npt.NDArray[np.int64],
        scores: npt.NDArray[np.float64],
        *,
        seen: npt.NDArray[np.bool_],
        n_labels: int,
    ) -> "Scores":
        """Return the scores of papers from their true labels, predicted labels, scores and `seen`, all `(n,)`."""
        return cls(
            unseen=Tally.count(true[~seen], predicted[~seen], scores[~seen], n_labels=n_labels),
            seen=Tally.count(true[seen], predicted[seen], scores[seen], n_labels=n_labels),
        )

    def __add__(self, other: "Scores") -> "Scores":
        return Scores(unseen=self.unseen + other.unseen, seen=self.seen + other.seen)

    def as_json(self) -> dict[str, Any]:
        """Return a form of the scores that JSON can hold. The ledger stores it."""
        return {"unseen": self.unseen.as_json(), "seen": self.seen.as_json()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Scores":
        """Return the scores from the value that `as_json` returned."""
        return cls(unseen=Tally.from_json(value["unseen"]), seen=Tally.from_json(value["seen"]))

    @classmethod
    def fits(cls, value: dict[str, Any], *, n_labels: int, papers: int) -> bool:
        """Return whether a value can be the result of `as_json` for at most `papers` papers."""
        try:
            if any(value[part]["n_labels"] != n_labels for part in ("unseen", "seen")):
                return False
            scores = cls.from_json(value)
        except (KeyError, IndexError, TypeError, ValueError, OverflowError):
            return False
        tallies = (scores.unseen, scores.seen)
        return all(tally.adds_up for tally in tallies) and sum(int(t.confusion.sum()) for t in tallies) <= papers

    def as_report(self, labels: LabelSet) -> ScoreReport:
        """Return the scores part of a report. `macro_f1` is None if no unseen paper has a label."""
        unseen = F1Report.from_tally(self.unseen, labels)
        everything = F1Report.from_tally(self.unseen + self.seen, labels)
        scored = unseen.papers > 0
        return ScoreReport(
            macro_f1=unseen.macro_f1 if scored else None,
            micro_f1=unseen.micro_f1 if scored else None,
            weighted_f1=unseen.weighted_f1 if scored else None,
            accuracy=unseen.accuracy if scored else None,
            expected_calibration_error=unseen.expected_calibration_error if scored else None,
            scored_papers=unseen.papers,
            seen_in_training=int(self.seen.confusion.sum()),
            macro_f1_with_seen=everything.macro_f1 if everything.papers else None,
            weighted_f1_with_seen=everything.weighted_f1 if everything.papers else None,
            accuracy_with_seen=everything.accuracy if everything.papers else None,
            per_label=unseen.per_label,
            confusion=unseen.confusion,
            reliability=self.unseen.reliability(),
            labels=labels.names,
        )


def scores_markdown(report: ScoreReport) -> str:
    """Render the scores part of a report as Markdown."""
    if report.macro_f1 is None:
        return headline_markdown(report)
    figures = (
        f"Micro F1 {report.micro_f1:.4f}, weighted F1 {report.weighted_f1:.4f}, accuracy "
        f"{report.accuracy:.4f}, expected calibration error {report.expected_calibration_error:.4f}.\n"
    )
    return "\n".join((headline_markdown(report), figures, label_tables_markdown(report)))


def headline_markdown(report: ScoreReport, *, interval: str = "") -> str:
    """Render the macro F1, its interval if there is one, and the number of papers left out, as Markdown."""
    seen = report.seen_in_training
    if report.macro_f1 is None:
        return f"No unseen paper had a label, so there is no F1 ({seen} labelled papers were in the training data).\n"
    return (
        f"**Macro F1 {report.macro_f1:.4f}**{interval} over {report.scored_papers:,} labelled papers that were "
        f"not in the training data; {seen:,} of the training data are left out "
        f"(macro F1 with them {report.macro_f1_with_seen:.4f}).\n"
    )


def label_tables_markdown(report: ScoreReport) -> str:
    """Render the table of the labels and the confusion matrix as Markdown."""
    numbers = range(len(report.labels))
    lines = [
        "| label | F1 | precision | recall | papers | predicted |",
        "|---|---:|---:|---:|---:|---:|",
        *(
            f"| {markdown_text(row.label)} | {row.f1:.4f} | {row.precision:.4f} | {row.recall:.4f} "
            f"| {row.support:,} | {row.predicted:,} |"
            for row in report.per_label
        ),
        "",
        "Confusion matrix: a row per true label, a column per predicted one, in the order of the table.",
        "",
        "| true \\ predicted |" + "".join(f" {i} |" for i in numbers),
        "|---|" + "---:|" * len(report.labels),
        *(
            f"| {i} {markdown_text(name)} |" + "".join(f" {cell or '·'} |" for cell in report.confusion[i])
            for i, name in enumerate(report.labels)
        ),
    ]
    return "\n".join(lines) + "\n"
