"""The parity gate of a bundle: compares every graph with Torch on the same papers, and checks the range of fp16."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
from pydantic import ValidationError

from specter_batch.cpus import usable_cpus
from specter_batch.errors import BundleError
from specter_batch.file_problems import file_problem
from specter_batch.graph_names import Precision
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.manifest import MANIFEST_FILE, GraphEntry
from specter_batch.model.session import Graph
from specter_batch.papers.text import paper_texts
from specter_batch.training.evaluation.evaluate import TorchClassifier
from specter_batch.training.papers.labelled import read_labelled
from specter_batch.training.run.folder import TrainingRun
from specter_export.graphs.probe import largest_value
from specter_export.parity import NO_LABEL, GatePapers, ParityReport, check_graph, trap_texts
from specter_export.recipe import Tolerances

FP16_MAX = float(np.finfo(np.float16).max)
# Number of the longest papers for the range check, because the largest values occur in long papers.
LONGEST_PAPERS = 32


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The papers and the reference graph with which the graphs of a bundle are compared.

    Attributes:
        papers: Papers to compare on, with Torch's logits.
        reference_file: Path of the fp32 graph.
        reference: The fp32 graph, loaded.
    """

    papers: GatePapers
    reference_file: Path
    reference: Graph

    @classmethod
    def open(cls, papers: GatePapers, reference_file: Path) -> "Gate":
        """Load the fp32 graph of a bundle for a comparison on the papers."""
        reference = Graph(reference_file, device=Device(kind="cpu"), threads=usable_cpus())
        return cls(papers=papers, reference_file=reference_file, reference=reference)

    def judge(
        self,
        graph: Graph,
        *,
        file: str,
        precision: Precision,
        tolerances: Tolerances,
        deferral_margin: float | None = None,
    ) -> ParityReport:
        """Compare a graph with Torch; for fp16, also check that no value in the model is too large for fp16.

        The logits can be finite although a value inside the graph is infinite, and kernels differ in which values they
        hold in fp16. So we check all values of the fp32 graph, including values inside fused attention.
        """
        report = check_graph(
            graph,
            file=file,
            papers=self.papers,
            tolerances=tolerances,
            reference=self.reference,
            deferral_margin=deferral_margin,
        )
        if precision != "fp16":
            return report
        name, value = largest_value(onnx.load(str(self.reference_file)), self.papers.longest(LONGEST_PAPERS))
        overflow = (
            f"{name} gives a value of {value:.3g}, fp16 holds {FP16_MAX:,.0f} at most; leave fp16 out of the recipes, "
            "CUDA then runs the fp32 graph"
        )
        failures = report.failures if value <= FP16_MAX else (*report.failures, overflow)
        return replace(report, largest_value=value, failures=failures)


def gate_papers(run: TrainingRun, table: pa.Table, *, logit_divisor: float | None = None) -> GatePapers:
    """Return the papers of a table, with the trap texts before them, and Torch's results for all.

    Args:
        run: The training run.
        table: The papers.
        logit_divisor: What the graphs divide logits by; the run's temperature when None. It is 1 for graphs of bundle
            format 1.
    """
    traps = trap_texts(run.text_template)
    label_ids = [run.labels.find(label) if label else None for label in table["label"].to_pylist()]
    true = [NO_LABEL] * len(traps) + [NO_LABEL if label_id is None else label_id for label_id in label_ids]
    token_ids = run.text_encoder().encode([*traps, *paper_texts(table, run.text_template)])
    logits, embeddings = TorchClassifier(run).logits_and_embeddings(token_ids)
    divisor = run.temperature if logit_divisor is None else logit_divisor
    return GatePapers(
        token_ids=token_ids,
        expected=(logits.astype(np.float64) / divisor).astype(np.float32),
        embeddings=embeddings,
        true=np.array(true, dtype=np.int64),
        logit_divisor=divisor,
    )


def check_bundle(bundle: ModelBundle, run: TrainingRun, papers: Path) -> dict[str, ParityReport]:
    """Run the parity gate again for all graphs of a bundle, on the given papers.

    Raises:
        BundleError: The bundle was not exported from a run with these labels.
    """
    if tuple(bundle.labels) != tuple(run.labels):
        raise BundleError(f"{bundle.path} and {run.path} have different labels; give the run it was exported from")
    device, fp32_entry = Device(kind="cpu"), bundle.graph_for("cpu", "fp32")
    gate = Gate(
        papers=gate_papers(run, read_labelled(papers).papers, logit_divisor=run.temperature / bundle.logit_divisor),
        reference_file=bundle.path / fp32_entry.file,
        reference=Graph.of_bundle(bundle, fp32_entry, device=device, threads=usable_cpus()),
    )
    reports = {}
    for entry in bundle.manifest.graphs:
        fp32 = entry.precision == "fp32"
        graph = gate.reference if fp32 else Graph.of_bundle(bundle, entry, device=device, threads=1)
        report = gate.judge(
            graph,
            file=entry.file,
            precision=entry.precision,
            tolerances=_tolerances(bundle, entry),
            deferral_margin=entry.deferral_margin,
        )
        reports[entry.file] = replace(report, certificate=entry.certificate)
    return reports


def _tolerances(bundle: ModelBundle, entry: GraphEntry) -> Tolerances:
    try:
        return Tolerances.model_validate(entry.parity.tolerances)
    except ValidationError as error:
        raise BundleError(
            f"{bundle.path / MANIFEST_FILE}: tolerances of {entry.file}: {file_problem(error, Tolerances)}; export the "
            "bundle again"
        ) from error
