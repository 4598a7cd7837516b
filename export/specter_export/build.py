"""Builds a bundle: exports and quantizes graphs, runs the parity gate, and writes the manifest only if it passes."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from transformers import BertConfig

from specter_batch import __version__
from specter_batch.errors import ConfigError, ParityError
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.card import ModelCard
from specter_batch.model.manifest import (
    CARD_FILE,
    FORMAT_VERSION,
    MANIFEST_FILE,
    PARITY_FILE,
    REFERENCE_FILE,
    SEEN_TEXTS_FILE,
    TOKENIZER_FILE,
    BundleManifest,
    GraphEntry,
    content_sha256,
)
from specter_batch.model.tokens.encoding import TokenIds
from specter_batch.papers.text import paper_texts
from specter_batch.storage.files import file_sha256, write_json
from specter_batch.storage.folder_swap import replace_folder, restore_folder
from specter_batch.storage.output_claim import MARKER_FILE, mark_output
from specter_batch.storage.scratch import scratch_beside
from specter_batch.training.papers.labelled import read_labelled
from specter_batch.training.run.folder import TrainingRun
from specter_export.card.model_card import write_card
from specter_export.certificate.certify import CertificateProgress, Certifier
from specter_export.certificate.papers import CalibrationInput
from specter_export.certificate.sources import CertificatePapers, certificate_papers
from specter_export.gate import Gate, gate_papers
from specter_export.graph_builder import GraphBuilder, graph_entry, graph_hashes, graph_shape
from specter_export.graphs.exporters import DEFAULT_EXPORTER, ExporterName, load_exporter
from specter_export.graphs.reference import export_reference
from specter_export.parity import ParityReport
from specter_export.recipe import REFERENCE_RECIPE, Recipe, load_recipe

logger = logging.getLogger(__name__)

COMMAND = "export"
TOKENIZER_SETTINGS_FILE = "tokenizer_config.json"
TOKENIZER_FILES = (TOKENIZER_FILE, TOKENIZER_SETTINGS_FILE, "special_tokens_map.json", "vocab.txt")


def build_bundle(
    run: TrainingRun,
    out: Path,
    *,
    recipes: Sequence[Recipe],
    papers: Path | None = None,
    calibration: CalibrationInput | None = None,
    exporter: ExporterName = DEFAULT_EXPORTER,
    console: Console | None = None,
    say: Callable[[str], None] = logger.warning,
) -> dict[str, ParityReport]:
    """Export a run and write the bundle if every graph passes its parity gate.

    The smoothing of int8 is fitted on half of the run's calibration papers, which are training papers. The gate uses
    the other half, or `papers`. The deferral margin of int8, and the certificates of int8 and fp16, are made with
    papers that the model has not seen: `calibration`, or the run's validation papers. `parity.json` is always written.
    If a graph failed, it is written into `out`, or next to `out` if that folder already has a bundle.

    Args:
        run: The training run.
        out: The bundle's folder. If it has a bundle, this is replaced in one step after the new one has passed. An
            interrupted export leaves the older bundle unchanged.
        recipes: Recipes of the graphs to build in addition to the fp32 reference.
        papers: Labelled papers for the gate; calibration papers of the run when None.
        calibration: Papers for the certificates, which need no labels; validation papers of the run when None.
        exporter: The packages that make the graphs.
        console: Gets progress bars if it is a terminal; nothing is shown when None.
        say: Function that is called with each sentence that a user should read, such as which papers were left out.

    Returns:
        The parity report of each graph, by file name.

    Raises:
        ParityError: A graph does not agree with the Torch model, or a recipe requires a promise that the papers do not
            show.
        ConfigError: Too few of the given papers can be used, or a package of the exporter is not installed.
    """
    out = _claimed(out)
    reference_recipe = next((r for r in recipes if r.precision == "fp32"), None) or load_recipe(REFERENCE_RECIPE)
    others = [recipe for recipe in recipes if recipe.precision != "fp32"]
    if len({recipe.file for recipe in recipes}) < len(recipes):
        raise ConfigError("two recipes build the same graph; give one recipe a precision")
    fitting, checking = _calibration_halves(run)
    progress = CertificateProgress(console, say)
    certificate_texts = _certificate_papers(run, others, calibration, (fitting, checking), progress)

    with scratch_beside(out, "export") as scratch:
        folder = scratch / "bundle"
        mark_output(folder, COMMAND)
        export_reference(run, folder / reference_recipe.file, opset=reference_recipe.opset, exporter=exporter)
        fitting_ids = _token_ids(run, fitting)
        gate = Gate.open(
            gate_papers(run, read_labelled(papers).papers if papers else checking), folder / reference_recipe.file
        )
        reports = {
            reference_recipe.file: gate.judge(
                gate.reference, file=reference_recipe.file, precision="fp32", tolerances=reference_recipe.tolerances
            )
        }
        if certificate_texts is not None:
            certifier = Certifier.open(
                certificate_texts,
                encoder=run.text_encoder(),
                reference_file=gate.reference_file,
                reference_sha256=content_sha256(reference_recipe.file, graph_hashes(folder, reference_recipe.file)),
                progress=progress,
            )
            builder = GraphBuilder(
                run=run, folder=folder, gate=gate, certifier=certifier, fitting=fitting_ids, exporter=exporter
            )
            reports |= {recipe.file: builder.build(recipe) for recipe in others}
        write_json(folder / PARITY_FILE, _parity_json(reports, papers=papers, gate=gate, fitting=fitting_ids))
        failed = [f"{name}: {reason}" for name, report in reports.items() for reason in report.failures]
        if failed:
            kept = _keep_failed_report(folder / PARITY_FILE, out)
            raise ParityError(f"not exported, {'; '.join(failed)} (figures in {kept})")
        _copy_run_files(run, folder)
        size = graph_shape(run).hidden
        entries = [graph_entry(folder, r, reports[r.file], embedding_size=size) for r in (reference_recipe, *others)]
        _write_manifest(run, folder, entries, exporter)
        _replace_folder(folder, out)
    return reports


def _claimed(out: Path) -> Path:
    """Return the bundle's folder with links resolved. An older bundle that was moved aside is put back first.

    Raises:
        ConfigError: A bundle cannot be written at this path.
    """
    out = out.resolve()
    if out.is_mount():
        raise ConfigError(f"{out}: is a mount point, and a mount point cannot be replaced; give {out / 'bundle'}")
    out.parent.mkdir(parents=True, exist_ok=True)
    restore_folder(out)
    if os.path.lexists(out):
        mark_output(out, COMMAND)
    return out


def _calibration_halves(run: TrainingRun) -> tuple[pa.Table, pa.Table]:
    table = run.calibration_papers()
    rows = np.arange(table.num_rows)
    return table.take(rows[::2]), table.take(rows[1::2])


def _certificate_papers(
    run: TrainingRun,
    recipes: Sequence[Recipe],
    calibration: CalibrationInput | None,
    training: tuple[pa.Table, pa.Table],
    progress: CertificateProgress,
) -> CertificatePapers | None:
    """Choose the papers of the certificates, before anything is exported; None if there is no graph to certify."""
    if not recipes:
        return None
    with progress.stage("read papers", papers=None) as advance:
        papers = certificate_papers(run, recipes, given=calibration, training=training, advance=advance)
    for sentence in papers.notes:
        progress.say(sentence)
    return papers


def _token_ids(run: TrainingRun, table: pa.Table) -> list[TokenIds]:
    return run.text_encoder().encode(paper_texts(table, run.text_template))


def _provenance(run: TrainingRun) -> dict[str, Any]:
    """Return what the run recorded about its training, without the log of its steps."""
    return {name: value for name, value in run.record.training.items() if name != "log"}


def _parity_json(
    reports: dict[str, ParityReport], *, papers: Path | None, gate: Gate, fitting: Sequence[TokenIds]
) -> dict[str, Any]:
    return {
        "papers": len(gate.papers.token_ids),
        "source": "labelled papers given" if papers else "training papers of the run that int8 was not smoothed with",
        "papers_sha256": _sha256(gate.papers.token_ids),
        "fitting_papers": len(fitting),
        "fitting_papers_sha256": _sha256(fitting),
        "graphs": {name: report.as_json() for name, report in reports.items()},
    }


def _sha256(token_ids: Sequence[TokenIds]) -> str:
    return hashlib.sha256(b"".join(ids.tobytes() for ids in token_ids)).hexdigest()


def _keep_failed_report(parity: Path, out: Path) -> Path:
    kept = out.with_name(f"{out.name}.failed") if (out / MANIFEST_FILE).exists() else out
    mark_output(kept, COMMAND)
    return Path(shutil.copy(parity, kept / PARITY_FILE))


def _copy_run_files(run: TrainingRun, folder: Path) -> None:
    for name in (*TOKENIZER_FILES, REFERENCE_FILE, SEEN_TEXTS_FILE):
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, folder / name)
    _limit_tokenizer(folder, max_length=run.record.max_length)
    # A plain BERT configuration, so that loaders without this project can read the labels and the shape.
    settings = json.loads((run.path / "config.json").read_text())
    for name in ("model_type", "architectures", "pooling", "head", "auto_map"):
        settings.pop(name, None)
    config = BertConfig(**settings, architectures=["BertForSequenceClassification"])
    config.to_json_file(folder / "config.json", use_diff=False)


def _limit_tokenizer(folder: Path, *, max_length: int) -> None:
    """Write `max_length` into the settings of the tokenizer, so that transformers cuts texts where the job does."""
    file = folder / TOKENIZER_SETTINGS_FILE
    settings = json.loads(file.read_bytes()) if file.is_file() else {}
    write_json(file, settings | {"model_max_length": max_length})


def _write_manifest(run: TrainingRun, folder: Path, graphs: Sequence[GraphEntry], exporter: ExporterName) -> None:
    unlisted = {MARKER_FILE, *(name for graph in graphs for name in graph.hashes)}
    files = {file.name: file_sha256(file) for file in sorted(folder.iterdir()) if file.name not in unlisted}
    versions = {name: _version_of(name) for name in load_exporter(exporter).packages}
    manifest = BundleManifest(
        format_version=FORMAT_VERSION,
        fingerprint="",
        created_by=f"specter-batch {__version__}",
        **{name: getattr(run.record, name) for name in ModelCard.model_fields},
        graphs=tuple(graphs),
        files=files,
        training=_provenance(run) | {"exporter": exporter, "export_versions": versions},
    )
    sealed = manifest.model_copy(update={"fingerprint": manifest.expected_fingerprint()})
    write_card(folder, sealed)
    sealed = sealed.model_copy(update={"files": files | {CARD_FILE: file_sha256(folder / CARD_FILE)}})
    write_json(folder / MANIFEST_FILE, sealed.model_dump(mode="json"))


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except ModuleNotFoundError:
        return None


def _replace_folder(new: Path, out: Path) -> None:
    """Read a finished bundle back completely, and then move it to `out`, replacing an older bundle."""
    ModelBundle.open(new)
    replace_folder(new, out)
