"""The papers of a dump that is ingested into the folder of its night."""

from rich.console import Console

from specter_batch.cpus import usable_cpus
from specter_batch.errors import ConfigError, PaperSchemaError
from specter_batch.options import FormatName, InputColumns
from specter_batch.papers.columns import PaperColumns
from specter_batch.storage.location import is_remote
from specter_jobs.dumps.ingest import IngestRequest, ingest
from specter_jobs.dumps.readers import Format
from specter_jobs.dumps.record_output import DUMP_SCHEMA
from specter_jobs.dumps.records import TableColumns, TableLayout
from specter_jobs.night.stages import NightInput
from specter_jobs.output.folder import OutputFolder
from specter_jobs.output.names import INGESTED, PAPERS
from specter_jobs.plan.config import NightConfig


def ingested_input(config: NightConfig, name: FormatName, out: OutputFolder, *, console: Console) -> NightInput:
    """Convert a dump to parquet below the output folder of its night, and return that parquet.

    Args:
        config: Settings of the night.
        name: The format of the dump.
        out: Folder that the night is written to.
        console: Console for progress.

    Raises:
        SpecterBatchError: The dump does not have the format.
    """
    if is_remote(out.place) or is_remote(config.out) or is_remote(config.dump):
        raise ConfigError(
            f"--format {config.format}: a dump can only be converted on a local disk. Run ingest into a local folder, "
            "copy its papers to the store, and classify them there without --format"
        )
    _check_kept(config)
    ingested = out.place / INGESTED
    columns = TableColumns(papers=config.section(InputColumns).columns, year=None)
    format_ = Format(name=name, columns=columns, layout=_layout(config))
    request = IngestRequest(format=format_, source=config.dump, out=ingested, workers=usable_cpus(), writes=config.out)
    account = ingest(request, console=console).account
    return NightInput(
        dump=str(ingested / PAPERS),
        columns=PaperColumns(),
        failed=account.failed_files,
        ignored=account.ignored_files,
        unusable_labels=account.unusable_labels,
        ingested=(ingested, account),
    )


def _check_kept(config: NightConfig) -> None:
    """Check, before a long conversion, that its result has the columns to keep.

    Raises:
        PaperSchemaError: It does not have one of them.
    """
    for name in config.keep_columns:
        if name not in DUMP_SCHEMA.names:
            raise PaperSchemaError(
                f"--keep-columns {name}: the conversion of a {config.format} dump keeps only the columns "
                f"{', '.join(DUMP_SCHEMA.names)}; to keep others, write the dump as parquet and leave out --format"
            )


def _layout(config: NightConfig) -> TableLayout:
    return TableLayout.of(
        delimiter=config.delimiter, quote=config.quote, escape=config.escape, encoding=config.encoding
    )
