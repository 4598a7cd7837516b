"""The parts that all pages share: templates, number formats, and the rows of the tables of labels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from specter_batch.display import visible_text, without_credentials
from specter_batch.metrics.score_report import LabelF1, ScoreReport
from specter_batch.report import charts

N_CONFUSIONS = 15


def page_environment(
    package: str | None = None, *, filters: Mapping[str, Callable[..., str]] | None = None
) -> Environment:
    """Make the jinja environment for the template of a page.

    Every value is escaped: HTML's special characters by jinja, invisible and control characters by `visible_text`.

    Args:
        package: Package whose folder `templates` is searched before the shared one; only the shared one when None.
        filters: Number formats of the page, in addition to the shared ones.
    """
    shared = PackageLoader("specter_batch.report")
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), shared]) if package else shared,
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "count": lambda value: f"{value:,}",
        "dash": lambda value: "–" if value is None else value,
        "three": lambda value: "–" if value is None else f"{value:.3f}",
        "four": lambda value: "–" if value is None else f"{value:.4f}",
        "signed": lambda value: "–" if value is None else f"{value:+.4f}",
        "percent": lambda value: "–" if value is None else f"{value:.1%}",
        **(filters or {}),
    }
    environment.globals |= {"bar": charts.bar}
    return environment


def _shown(value: object) -> object:
    """Make the value of an expression in a template safe to show. jinja calls this for every expression."""
    if isinstance(value, Markup):  # parts of a picture: the tags are ours, but names in them come from data
        return Markup(visible_text(value, keep="\n"))  # noqa: S704 - already escaped, and this adds no markup
    return visible_text(without_credentials(value)) if isinstance(value, str) else value


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """A row of the table of F1 by label.

    Attributes:
        number: Position of the label in the model's order.
        scores: Scores of the label.
        f1_bar: F1 of the label, drawn as a bar.
    """

    number: int
    scores: LabelF1
    f1_bar: Markup

    @property
    def label(self) -> str:
        """Name of the label."""
        return self.scores.label

    @property
    def occurs(self) -> bool:
        """True if the label occurs as a true or a predicted label."""
        return self.scores.support + self.scores.predicted > 0


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """A pair of labels that the model confuses: a true label, and another label that the model gave.

    Attributes:
        true: True label.
        predicted: Label that the model gave.
        papers: Number of papers.
        share: Share of the papers that truly have the label.
        cell: Positions of both labels in the model's order.
    """

    true: str
    predicted: str
    papers: int
    share: float
    cell: tuple[int, int]


def label_rows(report: ScoreReport) -> list[LabelRow]:
    """Return the rows of the table of F1 by label, in the order of the labels."""
    return [
        LabelRow(number=number, scores=scores, f1_bar=f1_bar(scores)) for number, scores in enumerate(report.per_label)
    ]


def f1_bar(scores: LabelF1) -> Markup:
    """Draw the F1 of a label as a bar."""
    return charts.bar(scores.f1, kind="f1")


def top_confusions(report: ScoreReport) -> list[Confusion]:
    """Return the pairs of labels that are confused most often, the most frequent pair first."""
    labels = report.labels
    pairs = [
        Confusion(true=labels[i], predicted=labels[j], papers=count, share=count / sum(row), cell=(i, j))
        for i, row in enumerate(report.confusion)
        for j, count in enumerate(row)
        if count and i != j
    ]
    return sorted(pairs, key=lambda pair: -pair.papers)[:N_CONFUSIONS]
