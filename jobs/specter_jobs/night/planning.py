"""Plan a night: choose the folder to label in, and write `plan.json` there before labelling."""

import logging
from collections.abc import Callable

from specter_batch.display import stored_name
from specter_batch.errors import ConfigError
from specter_batch.graph_names import DeviceKind
from specter_batch.logs import log
from specter_batch.model.bundle import ModelBundle
from specter_jobs.night.dump_account import take_over_rejects
from specter_jobs.night.form import label_form
from specter_jobs.night.stages import PlannedInput, PlannedNight
from specter_jobs.output.folder import OutputFolder
from specter_jobs.output.held import HeldNight, check_no_file_is_gone, held_in
from specter_jobs.output.names import CLASSIFY, LABELS, REJECTS, SUCCESS_FILE
from specter_jobs.output.plan_file import night_in, write_plan
from specter_jobs.output.progress import NightWatch
from specter_jobs.output.report_model.parts import LabelsNotRead
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.identity import NightIdentity
from specter_jobs.plan.shards import Plan


def plan_night(
    config: NightConfig,
    bundle: ModelBundle,
    kind: DeviceKind,
    *,
    out: OutputFolder,
    papers: PlannedInput | None,
    ingested: Callable[[OutputFolder], PlannedInput],
) -> PlannedNight:
    """Choose the folder to label in, write `plan.json` there, and report that the night has started.

    Args:
        config: Settings of the night.
        bundle: The model.
        kind: The kind of device that labels.
        out: The folder OUT, whose lock is held.
        papers: The papers; None if they have to be ingested from a dump first.
        ingested: Function that ingests the dump below a folder and returns its papers.

    Raises:
        ConfigError: Finished labels would be lost, and `config.replace` is not set.
    """
    graph = bundle.graph_for(kind, config.graph)
    night = NightIdentity.of(
        config,
        fingerprint=bundle.fingerprint,
        kind=kind,
        graph=graph.sha256,
        precisions={graph.sha256: graph.precision for graph in bundle.manifest.graphs},
        root=papers.root if papers else None,
    )
    out, papers = _folder_and_papers(config, out, night, papers, ingested)
    source, plan = papers.source, papers.plan
    held = night_in(out)
    if held is not None and "date" not in config.model_fields_set and not night.differences(held):
        night = night.model_copy(update={"date": held.date})  # a run after midnight resumes the night of the day before
    form = label_form(config, plan, bundle, night=night.date)
    out.prepare(CLASSIFY, (LABELS, REJECTS))
    out.remove_files([SUCCESS_FILE])
    dump = take_over_rejects(out, *source.ingested, labelled_files=papers.labelled_files) if source.ingested else None
    if dump is not None and not plan.failed:
        dump.check(paper_rows=plan.rows)
    unreadable = {**source.failed, **{file.name: file.error for file in plan.failed}}
    ignored = {**source.ignored, **plan.ignored}
    watch = NightWatch(out, rows=plan.rows, shards=len(plan.shards), unreadable=unreadable, ignored=ignored)
    labels_not_read = _truth_problem(plan, unusable_labels=source.unusable_labels)
    if labels_not_read is not None:
        log("true labels not read", level=logging.WARNING, **labels_not_read.model_dump())
    write_plan(out, papers.root, plan, night=night, unreadable=unreadable, ignored=ignored, dump=dump)
    return PlannedNight(
        out=out,
        plan=plan,
        model=night.model,
        graph=graph,
        binding=night.binding,
        bindings=night.bindings,
        form=form,
        unreadable=unreadable,
        ignored=ignored,
        dump=dump,
        labels_not_read=labels_not_read,
        watch=watch,
    )


def _folder_and_papers(
    config: NightConfig,
    out: OutputFolder,
    night: NightIdentity,
    papers: PlannedInput | None,
    ingested: Callable[[OutputFolder], PlannedInput],
) -> tuple[OutputFolder, PlannedInput]:
    """Return the folder to label in and the papers, if the run may write there."""
    held = held_in(out)
    folder = _folder_to_label(out, held, night, replace=config.replace)
    papers = papers or ingested(folder)
    if not config.replace:
        check_no_file_is_gone(out, held, papers.plan, gone=papers.gone)
    return folder, papers


def _folder_to_label(out: OutputFolder, held: HeldNight, night: NightIdentity, *, replace: bool) -> OutputFolder:
    """Return the folder that a run may write to: OUT itself, or the folder of a replacement below it.

    Args:
        out: The output folder.
        held: The night in the folder.
        night: Identity of the night that the run is going to label.
        replace: True if the user allows the run to replace another night.

    Raises:
        ConfigError: OUT holds finished labels of another night, and `replace` is not set.
    """
    differences = _differences(night, held)
    staging = out.staging
    replacement = held_in(staging)
    if held.is_empty or not differences:
        if not replacement.is_empty:
            log("unfinished replacement left", level=logging.WARNING, folder=str(staging))
        return out
    if not replace:
        more = f" (an unfinished replacement is in {staging}; --replace continues it)"
        raise ConfigError(
            f"{out}: holds another night, and nothing was changed. It holds {held}. This run would replace these "
            f"labels: {'; '.join(differences)}. Give another OUT, or add --replace to replace that night when the new "
            f"one is complete{'' if replacement.is_empty else more}"
        )
    if _differences(night, replacement):
        log("unfinished replacement removed", level=logging.WARNING, folder=str(staging))
        staging.remove()
    log("replacing a night", level=logging.WARNING, out=str(out), held=str(held), folder=str(staging))
    return staging


def _differences(night: NightIdentity, held: HeldNight) -> list[str]:
    """Return how a night differs from the night in a folder. The list is empty if they are the same night."""
    differences: list[str] = []
    if held.identity is not None:
        differences = night.differences(held.identity)
    elif held.root is not None and night.format is None and stored_name(str(held.root.resolve())) != night.dump:
        differences = [f"DUMP is {night.dump} instead of {held.root}"]
    elif held.root is None and not held.is_empty:
        differences = ["DUMP may be another one, because plan.json is gone or damaged"]
    bindings = {entry.binding for entry in held.entries} | ({held.binding} if held.binding else set())
    if not differences and bindings - night.bindings:
        differences = ["the labels were made with another bundle, device, setting or version of specter-batch"]
    return differences


def _truth_problem(plan: Plan, *, unusable_labels: int = 0) -> LabelsNotRead | None:
    """Describe true labels of the input that cannot be used; None if all can be used.

    Args:
        plan: The night's input.
        unusable_labels: Papers of a dump that the ingest kept without their label.

    Returns:
        The number of papers that have no true label because of it, and the first problem.
    """
    problems = plan.label_problems
    papers = sum(file.rows for file in plan.files if file.name in problems) + unusable_labels
    if not papers:
        return None
    first = next(iter(problems.values()), "labels of the dump are neither text nor whole numbers")
    return LabelsNotRead(files=len(problems), papers=papers, first=first)
