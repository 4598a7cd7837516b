"""Builds the graph of a recipe: quantizes or converts it, certifies it, and compares it with Torch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from specter_batch.metrics.binomial import papers_needed
from specter_batch.model.certificate import Certificate, shown_share
from specter_batch.model.device import Device, cuda_problem
from specter_batch.model.external_data import external_data_files
from specter_batch.model.manifest import GraphEntry, GraphParity, content_sha256
from specter_batch.model.session import Graph
from specter_batch.model.tokens.encoding import TokenIds
from specter_batch.storage.files import file_sha256
from specter_batch.training.run.folder import TrainingRun
from specter_export.certificate.certify import Certifier
from specter_export.certificate.sources import FEWEST_FITTING
from specter_export.gate import Gate
from specter_export.graphs.exporters import ExporterName
from specter_export.graphs.optimize import GraphShape, optimize_fp16
from specter_export.graphs.quantize import quantize
from specter_export.parity import ParityReport
from specter_export.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class GraphBuilder:
    """Builds the graphs of one bundle.

    Attributes:
        run: The training run.
        folder: The folder to write graphs to.
        gate: The papers and the fp32 graph that graphs are compared with.
        certifier: Certifies graphs.
        fitting: Token ids of the papers that int8 is smoothed with.
        exporter: The packages that make the graphs.
    """

    run: TrainingRun
    folder: Path
    gate: Gate
    certifier: Certifier
    fitting: Sequence[TokenIds]
    exporter: ExporterName

    def build(self, recipe: Recipe) -> ParityReport:
        """Write the graph of a recipe, and return how it compares with Torch, with its certificate."""
        file = self.folder / recipe.file
        # Without a GPU, fp16 is checked on the CPU, which computes in fp32 and rounds to fp16 between operators.
        on_cuda = recipe.device == "cuda" and cuda_problem(0) is None
        if recipe.precision == "int8":
            quantize(
                self.gate.reference_file,
                file,
                settings=recipe.quantization,
                token_ids=self.fitting,
                exporter=self.exporter,
            )
        else:
            optimize_fp16(self.gate.reference_file, file, shape=graph_shape(self.run))
        device = Device(kind="cuda" if on_cuda else "cpu")
        graph = Graph(file, device=device, threads=1)
        certified = self.certifier.certify(
            graph,
            recipe,
            graph_sha256=content_sha256(file.name, graph_hashes(self.folder, file.name)),
            checked_on=device.kind,
        )
        report = self.gate.judge(
            graph,
            file=recipe.file,
            precision=recipe.precision,
            tolerances=recipe.tolerances,
            deferral_margin=certified.margin,
        )
        failures = (*report.failures, *_missing_promise(recipe, certified.certificate))
        return replace(report, certificate=certified.certificate, failures=failures)


def _missing_promise(recipe: Recipe, certificate: Certificate | None) -> list[str]:
    """Return why a recipe that requires its promise is not satisfied; empty if it is, or if it requires none."""
    target = recipe.tolerances.max_label_flips
    if not recipe.certificate.required or target is None or (certificate is not None and certificate.reaches_target):
        return []
    shown = "nothing" if certificate is None else f"that at most {shown_share(certificate.epsilon)} of labels differ"
    needed = papers_needed(target, delta=recipe.certificate.delta)
    advice = (
        "no number of papers can show that, set a larger max_label_flips"
        if needed is None
        else f"give more unseen papers with --calibration (at least {needed + FEWEST_FITTING:,})"
    )
    return [f"certificate: the papers show {shown}, and the recipe requires {shown_share(target)}; {advice}"]


def graph_shape(run: TrainingRun) -> GraphShape:
    """Return the shape of a run's encoder, as the fp16 optimizer needs it."""
    config = json.loads((run.path / "config.json").read_text())
    return GraphShape(
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        hidden=config["hidden_size"],
        cls_only=run.record.pooling != "mean",
        gelu=config["hidden_act"] == "gelu",
    )


def graph_hashes(folder: Path, file: str) -> dict[str, str]:
    """Return the hashes of a graph and of the files that it takes weights from, by name."""
    with (folder / file).open("rb") as stream:
        names = external_data_files(stream)
    return {name: file_sha256(folder / name) for name in [*sorted(names), file]}


def graph_entry(folder: Path, recipe: Recipe, report: ParityReport, *, embedding_size: int) -> GraphEntry:
    """Return the entry of the manifest for a graph that was built."""
    alone, hashes = report.modes["alone"], graph_hashes(folder, recipe.file)
    return GraphEntry(
        file=recipe.file,
        precision=recipe.precision,
        device=recipe.device,
        sha256=hashes.pop(recipe.file),
        opset=recipe.opset,
        embedding_size=embedding_size,
        deferral_margin=report.deferral_margin,
        external_data=hashes,
        parity=GraphParity(
            passed=report.passed,
            papers=alone.papers,
            max_logit_difference=alone.max_logit_difference,
            label_flips=alone.label_flips,
            max_embedding_difference=alone.max_embedding_difference,
            min_embedding_cosine=alone.min_embedding_cosine,
            tolerances=recipe.tolerances.model_dump(exclude_none=True),
        ),
        certificate=report.certificate,
    )
