"""Building a bundle: export, quantize, pass the parity gate, and only then write the manifest."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import BertConfig

from specter_batch import __version__
from specter_batch.bundle import (
    FORMAT_VERSION,
    MANIFEST_FILE,
    PARITY_FILE,
    REFERENCE_FILE,
    SEEN_TEXTS_FILE,
    TOKENIZER_FILE,
    BundleManifest,
    GraphEntry,
    GraphParity,
    ModelBundle,
    file_sha256,
)
from specter_batch.encoding import TokenIds
from specter_batch.errors import BundleError, ConfigError, ParityError
from specter_batch.files import write_json
from specter_batch.metrics import Ints
from specter_batch.papers import paper_text
from specter_batch.runtime import Device, Graph, Logits, cuda_problem, usable_cpus
from specter_batch.training.data import read_labelled
from specter_batch.training.evaluation import TorchClassifier
from specter_batch.training.run import TrainingRun
from specter_export.graph import export_reference
from specter_export.optimize import GraphShape, optimize_fp16
from specter_export.parity import NO_LABEL, ParityReport, check_graph, logits_alone, trap_texts
from specter_export.quantize import fit_deferral_margin, quantize
from specter_export.recipe import REFERENCE_RECIPE, Recipe, Tolerances, load_recipe

TOKENIZER_FILES = (TOKENIZER_FILE, "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


@dataclass(frozen=True, kw_only=True)
class GatePapers:
    """Papers that graphs are compared on.

    Attributes:
        token_ids: Trap texts first, then the papers.
        expected: Torch's logits `(n, n_labels)`.
        true: `(n,)` label ids, `NO_LABEL` where there is none.
    """

    token_ids: list[TokenIds]
    expected: Logits
    true: Ints


def build_bundle(
    run: TrainingRun, out: Path, *, recipes: Sequence[Recipe], papers: Path | None = None
) -> dict[str, ParityReport]:
    """Export a run and write the bundle if every graph passes its parity gate.

    The deferral margin is fitted on half of the run's calibration papers (training papers); the gate asks the other
    half, or `papers`. Either way `parity.json` is written: into the bundle, or, when a graph failed, into `out` if no
    bundle stands there and beside it if one does.

    Args:
        run: What training left.
        out: The bundle's folder; a bundle that stands there is replaced when the new one has passed.
        recipes: Graphs to build beside the fp32 reference.
        papers: Labelled papers to compare on instead.

    Raises:
        ParityError: A graph is not the same model as Torch.
    """
    if out.exists() and not (out / MANIFEST_FILE).exists() and any(file.name != PARITY_FILE for file in out.iterdir()):
        raise ConfigError(f"{out}: is not empty and is no bundle; give another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    reference_recipe = next((r for r in recipes if r.precision == "fp32"), None) or load_recipe(REFERENCE_RECIPE)
    others = [recipe for recipe in recipes if recipe.precision != "fp32"]
    if len({recipe.file for recipe in recipes}) < len(recipes):
        raise ConfigError("two recipes build the same graph; give one recipe a precision")

    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        folder = Path(scratch) / "bundle"
        folder.mkdir()
        export_reference(run, folder / reference_recipe.file, opset=reference_recipe.opset)
        fitting, checking = _calibration_halves(run)
        gate = gate_papers(run, read_labelled(papers).papers if papers else checking)
        reference = Graph(folder / reference_recipe.file, device=Device(kind="cpu"), threads=usable_cpus())
        reports = {
            reference_recipe.file: check_graph(
                reference,
                file=reference_recipe.file,
                token_ids=gate.token_ids,
                expected=gate.expected,
                true=gate.true,
                tolerances=reference_recipe.tolerances,
            )
        }
        for recipe in others:
            reports[recipe.file] = _build_graph(recipe, folder, run, reference, fitting, gate)
        write_json(folder / PARITY_FILE, _parity_json(reports, papers=papers, gate=gate))
        failed = [f"{name}: {reason}" for name, report in reports.items() for reason in report.failures]
        if failed:
            kept = _keep_failed_report(folder / PARITY_FILE, out)
            raise ParityError(f"not exported, {'; '.join(failed)} (figures in {kept})")
        _copy_run_files(run, folder)
        entries = [_entry(folder, r, reports[r.file]) for r in (reference_recipe, *others)]
        _write_manifest(run, folder, entries)
        ModelBundle.open(folder)  # what is shipped has been read back whole
        _replace_folder(folder, out)
    return reports


def check_bundle(bundle: ModelBundle, run: TrainingRun, papers: Path) -> dict[str, ParityReport]:
    """Run the parity gate again, over a bundle's graphs and any papers.

    Raises:
        BundleError: The bundle was not exported from a run with these labels.
    """
    if tuple(bundle.labels) != tuple(run.labels):
        raise BundleError(f"{bundle.path} and {run.path} have different labels; give the run it was exported from")
    gate = gate_papers(run, read_labelled(papers).papers)
    device = Device(kind="cpu")
    reference = Graph(bundle.path / bundle.graph_for("cpu", "fp32").file, device=device, threads=usable_cpus())
    reports = {}
    for entry in bundle.manifest.graphs:
        graph = reference if entry.precision == "fp32" else Graph(bundle.path / entry.file, device=device, threads=1)
        reports[entry.file] = check_graph(
            graph,
            file=entry.file,
            token_ids=gate.token_ids,
            expected=gate.expected,
            true=gate.true,
            tolerances=Tolerances.model_validate(entry.parity.tolerances),
            reference=reference,
            deferral_margin=entry.deferral_margin,
        )
    return reports


def gate_papers(run: TrainingRun, table: pa.Table) -> GatePapers:
    """Put the trap texts before the papers, and ask Torch of all."""
    texts = trap_texts(run.text_template)
    true = [NO_LABEL] * len(texts)
    for row in table.to_pylist():
        texts.append(paper_text(row["title"], row["abstract"], run.text_template))
        found = run.labels.find(row["label"]) if row["label"] else None
        true.append(NO_LABEL if found is None else found)
    token_ids = run.text_encoder().encode(texts)
    return GatePapers(
        token_ids=token_ids, expected=TorchClassifier(run).logits(token_ids), true=np.array(true, dtype=np.int64)
    )


def _calibration_halves(run: TrainingRun) -> tuple[pa.Table, pa.Table]:
    table = run.calibration_papers()
    rows = np.arange(table.num_rows)
    return table.take(rows[::2]), table.take(rows[1::2])


def _build_graph(
    recipe: Recipe, folder: Path, run: TrainingRun, reference: Graph, fitting: pa.Table, gate: GatePapers
) -> ParityReport:
    source, file = folder / "model.onnx", folder / recipe.file
    # Without a card fp16 is checked on the CPU, which rounds to fp16 between operators and computes them in fp32.
    on_cuda = recipe.device == "cuda" and cuda_problem(0) is None
    margin = None
    if recipe.precision == "int8":
        quantize(source, file, settings=recipe.quantization)
    else:
        optimize_fp16(source, file, shape=_graph_shape(run))
    graph = Graph(file, device=Device(kind="cuda" if on_cuda else "cpu"), threads=1)
    if recipe.precision == "int8" and recipe.tolerances.max_label_flips is not None:
        texts = [paper_text(row["title"], row["abstract"], run.text_template) for row in fitting.to_pylist()]
        token_ids = run.text_encoder().encode(texts)
        margin = fit_deferral_margin(
            logits_alone(graph, token_ids),
            logits_alone(reference, token_ids),
            max_label_flips=recipe.tolerances.max_label_flips,
        )
    return check_graph(
        graph,
        file=recipe.file,
        token_ids=gate.token_ids,
        expected=gate.expected,
        true=gate.true,
        tolerances=recipe.tolerances,
        reference=reference,
        deferral_margin=margin,
    )


def _graph_shape(run: TrainingRun) -> GraphShape:
    config = json.loads((run.path / "config.json").read_text())
    return GraphShape(
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        hidden=config["hidden_size"],
        cls_only=run.record.pooling != "mean",
        gelu=config["hidden_act"] == "gelu",
    )


def _entry(folder: Path, recipe: Recipe, report: ParityReport) -> GraphEntry:
    alone = report.modes["alone"]
    return GraphEntry(
        file=recipe.file,
        precision=recipe.precision,
        device=recipe.device,
        sha256=file_sha256(folder / recipe.file),
        opset=recipe.opset,
        deferral_margin=report.deferral_margin,
        parity=GraphParity(
            passed=report.passed,
            papers=alone.papers,
            max_logit_difference=alone.max_logit_difference,
            label_flips=alone.label_flips,
            tolerances=recipe.tolerances.model_dump(exclude_none=True),
        ),
    )


def _parity_json(reports: dict[str, ParityReport], *, papers: Path | None, gate: GatePapers) -> dict[str, Any]:
    return {
        "papers": len(gate.token_ids),
        "source": "labelled papers given"
        if papers
        else "calibration papers of the run that the margin was not fitted on",
        "papers_sha256": hashlib.sha256(b"".join(ids.tobytes() for ids in gate.token_ids)).hexdigest(),
        "graphs": {name: report.as_json() for name, report in reports.items()},
    }


def _keep_failed_report(parity: Path, out: Path) -> Path:
    kept = out.with_name(f"{out.name}.failed") if (out / MANIFEST_FILE).exists() else out
    kept.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(parity, kept / PARITY_FILE))


def _copy_run_files(run: TrainingRun, folder: Path) -> None:
    for name in (*TOKENIZER_FILES, REFERENCE_FILE, SEEN_TEXTS_FILE):
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, folder / name)
    # A plain BERT configuration: loaders that do not know this project read labels and shape from it.
    settings = json.loads((run.path / "config.json").read_text())
    for name in ("model_type", "architectures", "pooling", "head", "auto_map"):
        settings.pop(name, None)
    config = BertConfig(**settings, architectures=["BertForSequenceClassification"])
    config.to_json_file(folder / "config.json", use_diff=False)


def _write_manifest(run: TrainingRun, folder: Path, graphs: Sequence[GraphEntry]) -> None:
    names = {graph.file for graph in graphs}
    files = {file.name: file_sha256(file) for file in sorted(folder.iterdir()) if file.name not in names}
    packages = ("optimum-onnx", "onnx", "onnxruntime-gpu", "torch", "transformers")
    manifest = BundleManifest(
        format_version=FORMAT_VERSION,
        fingerprint="",
        created_by=f"specter-batch {__version__}",
        encoder=run.record.encoder,
        labels=run.record.labels,
        text_template=run.record.text_template,
        max_length=run.record.max_length,
        pooling=run.record.pooling,
        head=run.record.head,
        temperature=run.record.temperature,
        graphs=tuple(graphs),
        files=files,
        training=run.record.training | {"export_versions": {name: _version_of(name) for name in packages}},
    )
    sealed = manifest.model_copy(update={"fingerprint": manifest.expected_fingerprint()})
    write_json(folder / MANIFEST_FILE, sealed.model_dump(mode="json"))


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except ModuleNotFoundError:
        return None


def _replace_folder(new: Path, out: Path) -> None:
    """Put a finished folder where the old one stood; the old one goes only when the new one is there."""
    if out.exists():
        old = new.with_name("replaced")
        out.rename(old)
    new.rename(out)
