"""The run folder that training leaves behind: a checkpoint, its record, and what export needs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import ValidationError

from specter_batch.errors import BundleError
from specter_batch.file_problems import file_problem
from specter_batch.model.bundle import load_seen_texts
from specter_batch.model.card import ModelCard
from specter_batch.model.manifest import REFERENCE_FILE, SEEN_TEXTS_FILE, TOKENIZER_FILE
from specter_batch.model.tokens.encoding import TextEncoder
from specter_batch.papers.labels import LabelSet
from specter_batch.papers.parquet import read_table
from specter_batch.storage.files import file_sha256
from specter_batch.storage.location import name_meant
from specter_batch.storage.output_claim import output_command

RUN_FILE = "run.json"
CALIBRATION_FILE = "calibration.parquet"
VALIDATION_FILE = "validation.parquet"

# Where `run.json` keeps number and hash of the validation papers in the run folder, below `training`.
KEPT_VALIDATION = "kept_validation_papers"


class RunRecord(ModelCard):
    """`run.json`: written last, so a run folder that has it is complete.

    Attributes:
        training: How the model was trained: settings, data, versions and the log of its steps.
    """

    training: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """A complete run folder; made by `TrainingRun.open`."""

    path: Path
    record: RunRecord

    @classmethod
    def open(cls, path: str | Path) -> "TrainingRun":
        """Read a run folder's record.

        Raises:
            BundleError: It is no run folder, or its training did not finish.
        """
        folder = Path(path)
        file = folder / RUN_FILE
        if not file.is_file():
            raise BundleError(f"{folder}: {_no_run(folder)}")
        try:
            record = RunRecord.model_validate_json(file.read_bytes())
        except ValidationError as error:
            raise BundleError(f"{file}: {file_problem(error, RunRecord)}; train again") from error
        weights = ("config.json", "model.safetensors", TOKENIZER_FILE)
        for name in (*weights, REFERENCE_FILE, SEEN_TEXTS_FILE, CALIBRATION_FILE):
            if not (folder / name).is_file():
                raise BundleError(f"{folder / name}: a file of the training run is missing; copy it again or train")
        return cls(path=folder, record=record)

    @property
    def labels(self) -> LabelSet:
        """The labels in the order of the logits."""
        return LabelSet(names=self.record.labels)

    @property
    def text_template(self) -> str:
        """The template that joins a paper's title and abstract into one text."""
        return self.record.text_template

    @property
    def temperature(self) -> float:
        """The temperature that training fitted."""
        return self.record.temperature

    @property
    def logit_divisor(self) -> float:
        """What the logits of the checkpoint must be divided by, so that a softmax gives calibrated scores."""
        return self.record.temperature

    def seen_texts(self) -> npt.NDArray[np.uint64]:
        """Return the sorted normalised hashes of the training texts, `(n_texts,)` uint64."""
        return load_seen_texts(self.path)

    def text_encoder(self) -> TextEncoder:
        """Make the encoder of the checkpoint's tokenizer and `max_length`."""
        return TextEncoder(self.path / TOKENIZER_FILE, max_length=self.record.max_length)

    def calibration_papers(self) -> pa.Table:
        """Return the training papers kept for export, in the canonical schema."""
        return read_table(self.path / CALIBRATION_FILE)

    def validation_papers(self) -> pa.Table | None:
        """Return the validation papers kept for export, in the canonical schema; None in runs of earlier versions.

        Raises:
            BundleError: The file is missing, or it is not the one that training wrote. It may then hold papers that
                the model was trained on.
        """
        kept = self.record.training.get(KEPT_VALIDATION)
        if not isinstance(kept, dict):
            return None
        file = self.path / VALIDATION_FILE
        if not file.is_file() or file_sha256(file) != kept.get("sha256"):
            raise BundleError(
                f"{file}: is missing or was changed after training; copy the run again, or give papers that the model "
                "was not trained on with --calibration"
            )
        return read_table(file)


def _no_run(folder: Path) -> str:
    """Return what is in the place of a run, and what to do."""
    train = f"`specter-batch train TRAIN --val VAL --out {folder}`"
    if not folder.exists():
        return f"there is no such folder{name_meant(folder)}; train a model with {train}"
    made_by = output_command(folder) if folder.is_dir() else None
    if made_by == "export":
        return "is a bundle, not a training run; give the run that it was exported from"
    missing = f"not a finished training run, {RUN_FILE} is missing"
    if made_by == "train":
        return f"{missing}; run the same `specter-batch train` or `distill` command again to finish it"
    return f"{missing}; train a model with {train}"
