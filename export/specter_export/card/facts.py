"""What a model card says about a bundle, read from the bundle's manifest. Runs of earlier versions recorded less."""

import ntpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from specter_batch.display import without_credentials
from specter_batch.metrics.bootstrap import Interval, label_f1_intervals, macro_f1_interval
from specter_batch.metrics.score_report import LabelF1, ScoreReport
from specter_batch.model.manifest import BundleManifest
from specter_batch.training.evaluation.figures import EvaluationSettings
from specter_batch.training.run.lineage import DISTILLED_FROM, STARTED_FROM

TRAIN, VALIDATION, TEST = "training", "validation", "test"


@dataclass(frozen=True, kw_only=True)
class ScoredLabel:
    """The scores of one label, with the interval of its F1.

    Attributes:
        scores: Precision, recall, F1 and numbers of papers.
        interval: Bootstrap interval of the F1; None if the label did not occur.
    """

    scores: LabelF1
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class ScoredPart:
    """The scores on the validation papers or on the test papers.

    Attributes:
        part: Name of the part.
        report: The scores.
        interval: Bootstrap interval of the macro F1.
        labels: The scores of each label.
    """

    part: str
    report: ScoreReport
    interval: Interval | None
    labels: tuple[ScoredLabel, ...]

    @classmethod
    def of(cls, part: str, training: Mapping[str, Any]) -> "ScoredPart | None":
        """Return the scores that training recorded of a part; None if it recorded none."""
        recorded = training.get(part)
        if not isinstance(recorded, Mapping) or not recorded.get("scored_papers") or not recorded.get("confusion"):
            return None
        report = ScoreReport.model_validate(recorded)
        confusion, seed = np.array(report.confusion, dtype=np.int64), EvaluationSettings().seed
        intervals = label_f1_intervals(confusion, seed=seed)
        return cls(
            part=part,
            report=report,
            interval=macro_f1_interval(confusion, seed=seed),
            labels=tuple(
                ScoredLabel(scores=scores, interval=interval)
                for scores, interval in zip(report.per_label, intervals, strict=True)
            ),
        )


@dataclass(frozen=True, kw_only=True)
class DataPart:
    """One part of the papers.

    Attributes:
        part: Name of the part.
        file: Name of the file or folder, without the folders above it; None if it was not recorded.
        papers: Number of papers.
        dropped: Number of rows that were left out, such as rows without a label.
        sha256: Hash of ids, texts and labels.
    """

    part: str
    file: str | None
    papers: int | None
    dropped: int
    sha256: str | None


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """A run that the model was trained from or learned from.

    Attributes:
        how: What the model took from it.
        name: Name of the run's folder.
        train_papers: Number of papers that the run was trained on; None if it was not recorded.
        train_sha256: Hash of these papers; None if it was not recorded.
        layers: Which of its layers a student took from it; empty if it took all.
    """

    how: str
    name: str
    layers: str
    train_papers: int | None
    train_sha256: str | None


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """Everything that the template of a model card shows.

    Attributes:
        manifest: The manifest of the bundle.
        encoder: Name of the pretrained encoder; for a local folder only the folder's own name.
        base_model: Name of the encoder on the Hugging Face hub; None if it was a local folder, or is not known.
        shares: Label -> number and share of the training papers; empty if it was not recorded.
        parts: The parts of the papers.
        scored: The scores, of the test papers first.
        ancestors: The runs that the model was trained from, the nearest first.
    """

    manifest: BundleManifest
    encoder: str
    base_model: str | None
    shares: Mapping[str, tuple[int, float]]
    parts: tuple[DataPart, ...]
    scored: tuple[ScoredPart, ...]
    ancestors: tuple[Ancestor, ...]

    @classmethod
    def of(cls, manifest: BundleManifest) -> "CardFacts":
        """Read the facts from a manifest."""
        training = manifest.training
        on_hub = training.get("encoder_is_folder") is False
        counts = training.get("train_labels")
        counts = counts if isinstance(counts, Mapping) else {}
        papers = sum(counts.values()) or 1
        scored = (ScoredPart.of(part, training) for part in (TEST, VALIDATION))
        return cls(
            manifest=manifest,
            encoder=manifest.encoder if on_hub else last_part(manifest.encoder),
            base_model=manifest.encoder if on_hub else None,
            shares={name: (count, count / papers) for name, count in counts.items()},
            parts=tuple(_parts(training)),
            scored=tuple(part for part in scored if part is not None),
            ancestors=tuple(_ancestors(training)),
        )


def last_part(place: str) -> str:
    """Return the last part of a path or URL: the folders of the machine that made the model stay private."""
    return ntpath.basename(without_credentials(place).rstrip("/\\")) or "–"


def _parts(training: Mapping[str, Any]) -> list[DataPart]:
    dropped = training.get("dropped")
    dropped = dropped if isinstance(dropped, Mapping) else {}
    found = []
    for part, short in ((TRAIN, "train"), (VALIDATION, "validation"), (TEST, "test")):
        sha256, papers = training.get(f"{short}_sha256"), training.get(f"{short}_papers")
        if sha256 is None and papers is None:
            continue
        file = training.get(f"{short}_file")
        found.append(
            DataPart(
                part=part,
                file=last_part(file) if isinstance(file, str) else None,
                papers=papers,
                dropped=sum((dropped.get(short) or {}).values()),
                sha256=sha256,
            )
        )
    return found


def _ancestors(training: Mapping[str, Any]) -> list[Ancestor]:
    found = []
    for key, how in ((STARTED_FROM, "trained from"), (DISTILLED_FROM, "distilled from")):
        step = training.get(key)
        while isinstance(step, Mapping):
            found.append(
                Ancestor(
                    how=how,
                    name=last_part(str(step.get("run") or "–")),
                    layers=_layers(step),
                    train_papers=step.get("train_papers"),
                    train_sha256=step.get("train_sha256"),
                )
            )
            step = step.get(key)
    return found


def _layers(step: Mapping[str, Any]) -> str:
    layers, of_layers = step.get("layers"), step.get("of_layers")
    if not isinstance(layers, list) or of_layers is None:
        return ""
    return f"with its layers {', '.join(map(str, layers))} of {of_layers}"
