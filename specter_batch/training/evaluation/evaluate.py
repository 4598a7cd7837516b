"""Scores a run or a bundle on labelled papers. Papers seen in training are counted separately."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from specter_batch import __version__
from specter_batch.errors import ConfigError, LeakError
from specter_batch.graph_names import Precision
from specter_batch.metrics.f1 import Ints
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.manifest import MANIFEST_FILE
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.model.ranking import Predictions
from specter_batch.model.session import Embeddings, Logits
from specter_batch.model.tokens.encoding import TokenIds, pad_batch, plan_batches
from specter_batch.papers.columns import PaperColumns
from specter_batch.storage.files import file_sha256
from specter_batch.training.evaluation.figures import EvaluationSettings, figures
from specter_batch.training.evaluation.report_model import EvaluationReport, ScoredPapers
from specter_batch.training.model.settings import TORCH_MAX_TOKENS
from specter_batch.training.papers.labelled import LabelledPapers, read_labelled
from specter_batch.training.run.folder import RUN_FILE, TrainingRun
from specter_batch.training.run.lineage import validation_sha256s


class Classifier(Protocol):
    """A model that computes logits from token ids."""

    def logits(self, token_ids: Sequence[TokenIds]) -> Logits:
        """Return the logits `(n, n_labels)` float32 of papers, given as token ids, in input order."""


class TorchClassifier:
    """The checkpoint of a run in Torch, with batches under a token budget as in the job."""

    def __init__(self, run: TrainingRun) -> None:
        import torch

        from specter_batch.training.model.classifier import SpecterForSequenceClassification

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = SpecterForSequenceClassification.from_pretrained(run.path).eval().to(self._device)
        self._n_labels = len(run.labels)

    def describe(self) -> dict[str, str]:
        """Return the device, the provider and the weights in use, by name."""
        return {"device": str(self._device), "provider": "torch", "graph": "model.safetensors"}

    def logits(self, token_ids: Sequence[TokenIds]) -> Logits:
        """Return the logits `(n, n_labels)` float32 of papers, given as token ids, in input order."""
        logits = np.zeros((len(token_ids), self._n_labels), dtype=np.float32)
        for rows, found, _ in self._batches(token_ids):
            logits[rows] = found
        return logits

    def logits_and_embeddings(self, token_ids: Sequence[TokenIds]) -> tuple[Logits, Embeddings]:
        """Return the logits `(n, n_labels)` and embeddings `(n, hidden_size)` of papers, from one pass.

        Both are float32 and in input order.
        """
        logits = np.zeros((len(token_ids), self._n_labels), dtype=np.float32)
        embeddings = np.zeros((len(token_ids), self.model.config.hidden_size), dtype=np.float32)
        for rows, found, pooled in self._batches(token_ids):
            logits[rows], embeddings[rows] = found, pooled
        return logits, embeddings

    def _batches(self, token_ids: Sequence[TokenIds]) -> Iterator[tuple[Ints, Logits, Embeddings]]:
        """Yield the positions of the papers of each batch, with their logits and their embeddings."""
        import torch

        for rows in plan_batches([len(ids) for ids in token_ids], max_tokens=TORCH_MAX_TOKENS):
            batch = pad_batch(token_ids, rows)
            with torch.inference_mode():
                pooled = self.model.pooled(
                    torch.from_numpy(batch.input_ids).to(self._device),
                    torch.from_numpy(batch.attention_mask).to(self._device),
                )
                logits = self.model.head(pooled)
            yield rows, logits.float().cpu().numpy(), pooled.float().cpu().numpy()


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of a model on labelled papers, and its predictions.

    Attributes:
        report: The content of `report.json`.
        predictions: Table with one row per paper in file order, and the columns `paper_id`, `label`, `predicted`,
            `score`, `seen`, `runner_up` and `margin`. `label` is the true label, unchanged if the model does not know
            it. `seen` is True if the paper was trained on. `runner_up` is the label with the second highest
            probability, and `margin` is the difference between the two probabilities. Columns about the prediction are
            null if the model gave NaN or infinity.
        titles: Titles of the papers, `(n_papers,)`.
    """

    report: EvaluationReport
    predictions: pa.Table
    titles: pa.ChunkedArray

    def refuse_leaks(self) -> None:
        """Raise an error if a test paper was in the training data.

        Raises:
            LeakError: At least one test paper has the same text as a training paper.
        """
        seen, papers = self.report.seen_in_training, len(self.predictions)
        if seen:
            raise LeakError(
                f"{self.report.papers}: expected no paper of the training data of {self.report.model}, got "
                f"{seen:,} of {papers:,}, by a hash of the text without case and punctuation; take them out of the "
                "test (with --out, the column seen of predictions.parquet marks them)"
            )


def evaluate(
    model: Path,
    papers: Path,
    *,
    device: str = "auto",
    graph: Precision | None = None,
    columns: PaperColumns | None = None,
    settings: EvaluationSettings | None = None,
) -> Evaluation:
    """Score a run folder (in Torch) or a bundle (in ONNX Runtime) on labelled papers.

    Papers whose label the model does not know, and papers for which it gives NaN or infinity, are not scored. The
    report has the number of such papers.

    Args:
        model: Folder of the run or the bundle.
        papers: The labelled papers.
        device: Name of the device that a bundle runs on.
        graph: Precision of the bundle's graph to run; the fastest graph for the device when None.
        columns: Column names of the papers; detected when None.
        settings: What to compute; the defaults when None.

    Returns:
        The scores and the predictions.

    Raises:
        BundleError: The folder is neither a run nor a bundle.
        ConfigError: A graph is given for a run, which has no graphs.
        LabelError: The model knows none of the papers' labels.
    """
    labelled = read_labelled(papers, columns)
    if (model / MANIFEST_FILE).exists():
        bundle = ModelBundle.open(model)
        made_from, fingerprint = bundle.manifest.training, bundle.fingerprint
        onnx = OnnxClassifier(bundle, device=Device.parse(device), precision=graph)
        answers, ran = _Answers.of(onnx, labelled, bundle), onnx.describe()
        onnx.close()
    else:
        run = TrainingRun.open(model)
        if graph is not None:
            raise ConfigError(
                f"--graph {graph}: {model} is a run and has no graphs; give the bundle that was exported from it"
            )
        made_from, fingerprint = run.record.training, None
        torch = TorchClassifier(run)
        answers, ran = _Answers.of(torch, labelled, run), torch.describe()
    sha256 = labelled.content_sha256()
    report = EvaluationReport(
        **dict(answers.figures(settings)),
        model=str(model),
        fingerprint=fingerprint,
        model_sha256=model_sha256(model),
        papers=str(papers),
        papers_sha256=sha256,
        # The best epoch and the temperature were chosen on validation papers, so scores on them are too optimistic.
        is_validation_data=sha256 in validation_sha256s(made_from),
        dropped=dict(labelled.dropped),
        notes=tuple(labelled.notes),
        device=ran["device"],
        provider=ran["provider"],
        graph=ran["graph"],
        version=__version__,
    )
    return Evaluation(report=report, predictions=answers.table(labelled), titles=labelled.papers["title"])


def model_sha256(model: Path) -> str | None:
    """Return the SHA-256 of `run.json` or `bundle.json`, which describe the whole model; None if there is none."""
    files = (model / MANIFEST_FILE, model / RUN_FILE)
    return next((file_sha256(file) for file in files if file.is_file()), None)


def score(
    classifier: Classifier,
    labelled: LabelledPapers,
    model: ModelBundle | TrainingRun,
    settings: EvaluationSettings | None = None,
) -> ScoredPapers:
    """Label papers and compare the labels with the true ones.

    Returns:
        The figures of `report.json`, without the description of the model and the papers.
    """
    return _Answers.of(classifier, labelled, model).figures(settings)


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """The logits of a model for papers, together with the true labels.

    Attributes:
        model: The run or bundle.
        logits: Logits of the papers, `(n, n_labels)`.
        true: True label ids, `(n,)`; -1 if the model does not know the label.
        seen: True for papers that were trained on, `(n,)` bool.
        unknown: Label that the model does not know -> number of papers with it.
    """

    model: ModelBundle | TrainingRun
    logits: Logits
    true: Ints
    seen: npt.NDArray[np.bool_]
    unknown: Mapping[str, int]

    @classmethod
    def of(cls, classifier: Classifier, labelled: LabelledPapers, model: ModelBundle | TrainingRun) -> "_Answers":
        true = labelled.known_label_ids(model.labels)
        if (true < 0).all():
            raise labelled.unknown_error(model.labels)
        texts = labelled.texts(model.text_template)
        return cls(
            model=model,
            logits=classifier.logits(model.text_encoder().encode(texts)),
            true=true,
            seen=labelled.seen_by(model.seen_texts(), template=model.text_template),
            unknown=labelled.unknown_labels(model.labels),
        )

    def figures(self, settings: EvaluationSettings | None) -> ScoredPapers:
        known = self.true >= 0
        is_finite = Predictions.from_logits(self.logits, temperature=self.model.logit_divisor).is_finite
        scored = known & is_finite
        scores = figures(
            self.logits[scored],
            self.true[scored],
            seen=self.seen[scored],
            temperature=self.model.temperature,
            logit_divisor=self.model.logit_divisor,
            labels=self.model.labels,
            settings=settings or EvaluationSettings(),
            validation_papers=self._training.get("validation_papers"),
        )
        return ScoredPapers(
            **dict(scores),
            not_finite=int((known & ~is_finite).sum()),
            unknown_labels=sum(self.unknown.values()),
            unknown_label_papers={self.model.labels.described(name): self.unknown[name] for name in self.unknown},
        )

    def table(self, labelled: LabelledPapers) -> pa.Table:
        predictions = Predictions.from_logits(self.logits, temperature=self.model.logit_divisor)
        ranking = predictions.ranking()
        names = pa.array(self.model.labels.names)
        known = names.take(pa.array(self.true, mask=self.true < 0))
        return pa.table(
            {
                "paper_id": labelled.papers["paper_id"],
                "label": pc.coalesce(known, labelled.papers["label"]),
                "predicted": names.take(pa.array(predictions.label_id, mask=~predictions.is_finite)),
                "score": pa.array(predictions.score, mask=~predictions.is_finite),
                "seen": self.seen,
                "runner_up": names.take(pa.array(ranking.runner_up, mask=~predictions.is_finite)),
                "margin": pa.array(ranking.margin, mask=~predictions.is_finite),
            }
        )

    @property
    def _training(self) -> Mapping[str, Any]:
        """What is recorded about the training of the model."""
        return self.model.manifest.training if isinstance(self.model, ModelBundle) else self.model.record.training
