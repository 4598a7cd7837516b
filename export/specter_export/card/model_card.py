"""Writes the model card of a bundle, `README.md`, as the Hugging Face hub shows it."""

import re
from functools import cache
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from specter_batch.display import markdown_text, visible_text
from specter_batch.model.manifest import CARD_FILE, BundleManifest
from specter_batch.papers.text import paper_text
from specter_batch.storage.files import write_text
from specter_export.card.facts import CardFacts, ScoredPart

_TASK = "text-classification"


def write_card(folder: Path, manifest: BundleManifest) -> None:
    """Write the model card into the folder of a bundle.

    Args:
        folder: Folder of the bundle.
        manifest: Manifest of the bundle. It need not list the card.
    """
    write_text(folder / CARD_FILE, model_card(manifest))


def model_card(manifest: BundleManifest) -> str:
    """Return the model card of a bundle as Markdown, with its metadata as YAML before it."""
    facts = CardFacts.of(manifest)
    title = f"Scientific papers by label: {len(manifest.labels)} labels"
    example = paper_text("A trial of statins", "We treated 412 patients.", manifest.text_template)
    template = _environment().get_template("README.md.j2")
    body = template.render(facts=facts, manifest=manifest, title=title, example=example)
    return f"---\n{_metadata(facts, title)}\n---\n\n{body}"


def _metadata(facts: CardFacts, title: str) -> str:
    """Return the metadata that the hub reads, as YAML. The license is left out: nobody told us."""
    return str(
        ModelCardData(
            language="en",
            library_name="specter-batch",
            pipeline_tag=_TASK,
            base_model=visible_text(facts.base_model) if facts.base_model else None,
            tags=[_TASK, "scientific-papers", "onnx", "specter-batch"],
            metrics=["f1", "accuracy"] if facts.scored else None,
            model_name=title if facts.scored else None,
            eval_results=[result for part in facts.scored for result in _results(part, facts)] or None,
        ).to_yaml()
    )


def _results(part: ScoredPart, facts: CardFacts) -> list[EvalResult]:
    data = next((data for data in facts.parts if data.part == part.part), None)
    figures = (
        ("f1", "Macro F1", part.report.macro_f1),
        ("accuracy", "Accuracy", part.report.accuracy),
        ("expected_calibration_error", "Expected calibration error", part.report.expected_calibration_error),
    )
    return [
        EvalResult(
            task_type=_TASK,
            task_name="Label of a scientific paper",
            dataset_type="labelled-papers",
            dataset_name=visible_text((data.file if data else None) or f"{part.part} papers"),
            dataset_split=part.part,
            metric_type=kind,
            metric_name=name,
            metric_value=round(value, 4),
        )
        for kind, name, value in figures
        if value is not None
    ]


@cache
def _environment() -> Environment:
    """Return the environment of the template. Every text in it is escaped for Markdown unless it is marked as safe."""
    environment = Environment(
        loader=PackageLoader("specter_export.card"),
        autoescape=False,  # noqa: S701 - HTML's escapes are not Markdown's; `_shown` escapes every value
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "code": _code,
        "python": _python,
        "count": lambda value: "–" if value is None else f"{value:,}",
        "four": lambda value: "–" if value is None else f"{value:.4f}",
        "percent": lambda value: "–" if value is None else f"{value:.1%}",
    }
    return environment


def _shown(value: object) -> object:
    return markdown_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _code(value: object) -> Markup:
    """Return a text as code in a line or in a table cell."""
    text = visible_text(value).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return Markup(f"{fence}{space}{text}{space}{fence}")  # noqa: S704 - Markdown, in which code is shown as it is


def _python(value: object) -> Markup:
    """Return a value as a literal of Python, for a block of code."""
    return Markup(ascii(value).replace("`", "\\x60"))  # noqa: S704 - Markdown, in which code is shown as it is
