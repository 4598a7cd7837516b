"""Scores of a run or a bundle on labelled papers, with those it was trained on kept apart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from specter_batch.bundle import MANIFEST_FILE, ModelBundle
from specter_batch.encoding import TokenIds, pad_batch, plan_batches
from specter_batch.files import write_json, write_text
from specter_batch.papers import PaperColumns
from specter_batch.runtime import Device, Logits, OnnxClassifier, Predictions
from specter_batch.scores import Scores, scores_markdown, seen_in_training
from specter_batch.training.data import LabelledPapers, read_labelled
from specter_batch.training.run import TrainingRun

# Padded tokens held at once by the Torch model; on a CPU small batches of equal length are the fastest.
TORCH_MAX_TOKENS = 4096


class Classifier(Protocol):
    """What can be asked for the logits of token ids."""

    def logits(self, token_ids: Sequence[TokenIds]) -> Logits:
        """Return `(n, n_labels)` float32, in input order."""


class TorchClassifier:
    """A run's checkpoint in Torch, batched like the job under a token budget."""

    def __init__(self, run: TrainingRun) -> None:
        import torch

        from specter_batch.training.model import SpecterForSequenceClassification

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = SpecterForSequenceClassification.from_pretrained(run.path).eval().to(self._device)
        self._n_labels = len(run.labels)

    def describe(self) -> dict[str, str]:
        """Return the device, provider and weights that do the work."""
        return {"device": str(self._device), "provider": "torch", "graph": "model.safetensors"}

    def logits(self, token_ids: Sequence[TokenIds]) -> Logits:
        """Return `(n, n_labels)` float32 for the papers' token ids, in input order."""
        import torch

        found = np.zeros((len(token_ids), self._n_labels), dtype=np.float32)
        for rows in plan_batches([len(ids) for ids in token_ids], max_tokens=TORCH_MAX_TOKENS):
            batch = pad_batch(token_ids, rows)
            with torch.inference_mode():
                output = self.model(
                    torch.from_numpy(batch.input_ids).to(self._device),
                    torch.from_numpy(batch.attention_mask).to(self._device),
                )
            found[rows] = output.logits.float().cpu().numpy()
        return found


def evaluate(model: Path, papers: Path, *, device: str = "auto", columns: PaperColumns | None = None) -> dict[str, Any]:
    """Score a run folder (in Torch) or a bundle (in ONNX Runtime) on labelled papers.

    Returns:
        The fields of `report.json`.

    Raises:
        BundleError: The folder is neither a run nor a bundle.
        LabelError: A paper's label is not one of the model's.
    """
    labelled = read_labelled(papers, columns)
    classifier: OnnxClassifier | TorchClassifier
    if (model / MANIFEST_FILE).exists():
        bundle = ModelBundle.open(model)
        classifier = OnnxClassifier(bundle, device=Device.parse(device))
        scores = score(classifier, labelled, bundle)
    else:
        run = TrainingRun.open(model)
        classifier = TorchClassifier(run)
        scores = score(classifier, labelled, run)
    return scores | {
        "model": str(model),
        "papers": str(papers),
        "dropped": dict(labelled.dropped),
        **classifier.describe(),
    }


def score(classifier: Classifier, labelled: LabelledPapers, model: ModelBundle | TrainingRun) -> dict[str, Any]:
    """Label papers and compare with their true labels."""
    true = labelled.label_ids(model.labels)
    texts = labelled.texts(model.text_template)
    logits = classifier.logits(model.text_encoder().encode(texts))
    predictions = Predictions.from_logits(logits, temperature=model.temperature)
    seen = seen_in_training(texts, model.seen_texts())
    scores = Scores.count(true, predictions.label_id, predictions.score, seen=seen, n_labels=len(model.labels))
    return scores.as_report(model.labels)


def write_evaluation(report: dict[str, Any], out: Path) -> None:
    """Write `report.json` and `report.md` into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "report.json", report)
    write_text(out / "report.md", f"# Evaluation of {report['model']}\n\n{scores_markdown(report)}")
