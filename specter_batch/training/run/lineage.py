"""What a model inherits from the run it was trained from: the texts that run has seen, and how that run was made."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from specter_batch.errors import ConfigError
from specter_batch.model.bundle import load_seen_texts
from specter_batch.model.manifest import SEEN_TEXTS_FILE
from specter_batch.papers.text import TEXT_TEMPLATE
from specter_batch.training.model.settings import MODEL_TYPE
from specter_batch.training.run.folder import RUN_FILE, TrainingRun

# Where `run.json` and `bundle.json` keep it, below `training`.
STARTED_FROM = "started_from"
DISTILLED_FROM = "distilled_from"


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """The run that an encoder comes from, and the runs before it.

    Attributes:
        seen_texts: Sorted normalised hashes of all texts that these runs were trained on, `(n_texts,)` uint64.
        record: How the run was made, with its own `started_from`; None for a pretrained encoder.
        distilled_from: How a student was made of its teacher, which is the run; None for other models.
        text_template: The template of the run's texts.
        notes: Sentences that a user should read.
    """

    seen_texts: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    record: dict[str, Any] | None = None
    distilled_from: dict[str, Any] | None = None
    text_template: str = TEXT_TEMPLATE
    notes: tuple[str, ...] = ()

    @classmethod
    def of_encoder(cls, encoder: str) -> "Lineage":
        """Find out what an encoder was fine-tuned on by this tool; nothing for a pretrained one.

        Raises:
            ConfigError: It was fine-tuned by this tool, and its folder does not say on which papers.
            BundleError: It is a run, and a file of the run is missing or damaged.
        """
        return cls._of(Path(encoder), known=frozenset())

    @classmethod
    def _of(cls, folder: Path, *, known: frozenset[Path]) -> "Lineage":
        if not folder.is_dir() or folder.resolve() in known:
            return cls()
        if (folder / RUN_FILE).is_file():
            return cls._of_run(TrainingRun.open(folder), known=known | {folder.resolve()})
        if (folder / SEEN_TEXTS_FILE).is_file():
            return cls(seen_texts=load_seen_texts(folder))
        if _is_fine_tuned(folder):
            raise ConfigError(
                f"--encoder {folder}: was fine-tuned by this tool, and neither {RUN_FILE} nor {SEEN_TEXTS_FILE} is "
                "there, so it is not known which papers it has seen; give the folder of the finished run"
            )
        return cls()

    @classmethod
    def _of_run(cls, run: TrainingRun, *, known: frozenset[Path]) -> "Lineage":
        training = run.record.training
        before, notes = cls(), tuple[str, ...]()
        if STARTED_FROM not in training:  # a run of an older version did not inherit anything
            before, notes = cls._of_older_run(run, known=known)
        return cls(
            seen_texts=np.union1d(run.seen_texts(), before.seen_texts),
            record={
                "run": str(run.path),
                "encoder": run.record.encoder,
                **{name: training.get(name) for name in ("train_sha256", "validation_sha256", "train_papers")},
                STARTED_FROM: training.get(STARTED_FROM, before.record),
            },
            text_template=run.text_template,
            notes=notes,
        )

    @classmethod
    def _of_older_run(cls, run: TrainingRun, *, known: frozenset[Path]) -> "tuple[Lineage, tuple[str, ...]]":
        """Follow the path that an older run started from, as far as it is still there."""
        encoder = Path(run.record.encoder)
        try:
            lineage = cls._of(encoder, known=known)
        except ConfigError:
            lineage = None
        if lineage is not None and (encoder.is_dir() or not encoder.is_absolute()):
            return lineage, lineage.notes
        note = (
            f"{run.path}: was trained from {encoder} by an older version, and what that encoder was trained on is not "
            "known; papers that it has seen count as unseen"
        )
        return cls(), (note,)


def validation_sha256s(training: Mapping[str, Any]) -> frozenset[str]:
    """Return the hashes of the validation papers of a model and of the runs that it was trained from.

    Args:
        training: What a run or a bundle recorded of its training.
    """
    hashes = set()
    step: Any = training
    while isinstance(step, Mapping):
        hashes.add(step.get("validation_sha256"))
        step = step.get(STARTED_FROM)
    return frozenset(sha256 for sha256 in hashes if isinstance(sha256, str))


def _is_fine_tuned(folder: Path) -> bool:
    try:
        settings = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return False
    if not isinstance(settings, dict):
        return False
    # transformers keeps these two settings of a run that it loaded as a plain BERT classifier and saved elsewhere.
    return settings.get("model_type") == MODEL_TYPE or {"pooling", "head"} <= settings.keys()
