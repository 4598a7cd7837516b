"""The input of a night: parquet, or a public dump that is ingested into the night's own folder first."""

from pydantic import ValidationError
from rich.console import Console

from specter_batch.errors import PaperSchemaError, UsageError
from specter_batch.inputs import parquet_inventory
from specter_batch.options import InputColumns
from specter_jobs.dumps.account_model import ListedFiles
from specter_jobs.night.stages import NightInput, PlannedInput
from specter_jobs.output.folder import OutputFolder
from specter_jobs.output.names import ACCOUNT_FILE, INGESTED, PAPERS
from specter_jobs.output.plan_file import labelled_dump_files
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.planning import plan_shards


def night_input(config: NightConfig, out: OutputFolder, *, console: Console) -> NightInput:
    """Return the parquet to label. A dump of another format is first converted to parquet below the output folder.

    The job reads most of its input twice, and after a kill it resumes at any row. Both are cheap with parquet. Parsing
    a dump twice would take longer than writing the parquet, so the dump is parsed once and the parquet is kept.

    Args:
        config: Settings of the night.
        out: Folder that the night is written to. The parquet is written below it.
        console: Console for progress.

    Raises:
        SpecterBatchError: The dump does not have the format.
    """
    if config.format is None:
        if any(value is not None for value in (config.delimiter, config.quote, config.escape, config.encoding)):
            raise UsageError("--delimiter, --quote, --escape and --encoding describe a dump of text; add --format csv")
        return NightInput(dump=config.dump, columns=config.section(InputColumns).columns, failed={}, ignored={})
    from specter_jobs.night.ingested import ingested_input  # here, because most nights read parquet

    return ingested_input(config, config.format, out, console=console)


def plan_input(config: NightConfig, out: OutputFolder, *, console: Console) -> PlannedInput:
    """Find the papers of a night and cut them into shards. A dump of another format is ingested first.

    Args:
        config: Settings of the night.
        out: Folder that the night is written to.
        console: Console for progress.

    Raises:
        SpecterBatchError: There are no papers, or too many files cannot be read as papers.
    """
    # Missing files are found with the plan, which is written only by a run that begins to label. The account of the
    # ingest is written even by a run that was refused because files are gone. With that account, the next run would
    # find no missing file, and would delete their labels.
    before = labelled_dump_files(out) if config.format is not None else frozenset[str]()
    before = _ingested_files(out) if before is None else before
    source = night_input(config, out, console=console)
    inputs = source.ingested[1].inputs if source.ingested else ()
    read = {file.file for file in inputs}
    labelled = {file.file for file in inputs if file.papers} | (before & source.failed.keys())
    inventory = parquet_inventory(source.dump, out=config.out)
    plan = plan_shards(inventory, columns=source.columns, shard_rows=config.shard_rows, keep=config.keep_columns)
    if len(plan.failed) > config.max_failed_shards:
        first = plan.failed[0].error
        files = len(plan.files) + len(plan.failed)
        raise PaperSchemaError(f"{len(plan.failed)} of {files} files cannot be read as papers; the first: {first}")
    # The papers that a replacement ingests are moved below OUT when it is complete.
    root = inventory.root if config.format is None else config.out / INGESTED / PAPERS
    return PlannedInput(
        source=source,
        root=root,
        plan=plan,
        gone=before - read - source.failed.keys() if source.ingested else frozenset(),
        labelled_files=frozenset(labelled),
    )


def _ingested_files(out: OutputFolder) -> frozenset[str]:
    """Return the files of the dump that the account of the last run lists below an output folder."""
    try:
        listed = ListedFiles.model_validate_json((out / INGESTED / ACCOUNT_FILE).read_bytes())
    except (OSError, ValidationError):
        return frozenset()
    return frozenset([*(file.file for file in listed.inputs), *listed.failed_files])
