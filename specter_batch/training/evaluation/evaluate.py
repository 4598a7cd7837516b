"""Scores a run or a bundle on labelled papers. Papers seen in training are counted separately."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from specter_batch import __version__
from specter_batch.errors import ConfigError, LeakError
from specter_batch.graph_names import Precision
from specter_batch.metrics.f1 import Ints
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.manifest import MANIFEST_FILE
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.model.session import Embeddings, Logits
from specter_batch.model.tokens.encoding import TokenIds, pad_batch, plan_batches
from specter_batch.papers.columns import PaperColumns
from specter_batch.storage.files import file_sha256
from specter_batch.training.evaluation.answers import Answers, Classifier
from specter_batch.training.evaluation.figures import EvaluationSettings
from specter_batch.training.evaluation.report_model import EvaluationReport, ScoredPapers
from specter_batch.training.model.settings import TORCH_MAX_TOKENS
from specter_batch.training.papers.labelled import COPIES_COUNT, LabelledPapers, read_labelled
from specter_batch.training.run.folder import RUN_FILE, TrainingRun
from specter_batch.training.run.lineage import validation_sha256s


class TorchClassifier:
    """The checkpoint of a run in Torch, with batches under a token budget as in the job."""

    def __init__(self, run: TrainingRun) -> None:
        import torch

        from specter_batch.training.model.classifier import SpecterForSequenceClassification
        from specter_batch.training.model.threads import use_threads

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = SpecterForSequenceClassification.from_pretrained(run.path).eval().to(self._device)
        use_threads(None, tokens=TORCH_MAX_TOKENS, hidden_size=self.model.config.hidden_size)
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
    return evaluate_on(labelled, opened_model(model), device=device, graph=graph, settings=settings)


def opened_model(model: Path) -> ModelBundle | TrainingRun:
    """Open the folder of a run or a bundle.

    Raises:
        BundleError: The folder is neither a run nor a bundle.
    """
    return ModelBundle.open(model) if (model / MANIFEST_FILE).exists() else TrainingRun.open(model)


def evaluate_on(
    labelled: LabelledPapers,
    model: ModelBundle | TrainingRun,
    *,
    device: str = "auto",
    graph: Precision | None = None,
    settings: EvaluationSettings | None = None,
) -> Evaluation:
    """Score an open run or bundle on papers that were read already; see `evaluate`."""
    if isinstance(model, ModelBundle):
        made_from, fingerprint = model.manifest.training, model.fingerprint
        onnx = OnnxClassifier(model, device=Device.parse(device), precision=graph)
        answers, ran = Answers.of(onnx, labelled, model), onnx.describe()
        onnx.close()
    else:
        if graph is not None:
            raise ConfigError(
                f"--graph {graph}: {model.path} is a run and has no graphs; give the bundle that was exported from it"
            )
        made_from, fingerprint = model.record.training, None
        torch = TorchClassifier(model)
        answers, ran = Answers.of(torch, labelled, model), torch.describe()
    sha256 = labelled.content_sha256()
    report = EvaluationReport(
        **dict(answers.figures(settings)),
        model=str(model.path),
        fingerprint=fingerprint,
        model_sha256=model_sha256(model.path),
        papers=labelled.source,
        papers_sha256=sha256,
        # The best epoch and the temperature were chosen on validation papers, so scores on them are too optimistic.
        is_validation_data=sha256 in validation_sha256s(made_from),
        dropped=dict(labelled.dropped),
        notes=(*labelled.notes, *labelled.note_on_copies(COPIES_COUNT)),
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
    return Answers.of(classifier, labelled, model).figures(settings)
