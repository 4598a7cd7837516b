"""Cut the input of a night into shards. The same input always gives the same shards."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from specter_batch.display import storable
from specter_batch.errors import PaperSchemaError
from specter_batch.inputs import InputInventory, InputPath
from specter_batch.papers.columns import PaperColumns
from specter_batch.papers.parquet import WRITTEN_BY_EMBED, is_from_embed, open_parquet
from specter_batch.storage.location import in_parallel
from specter_jobs.plan.kept_columns import kept_columns
from specter_jobs.plan.shards import FailedInput, InputFile, Plan, Shard


def plan_shards(inventory: InputInventory, *, columns: PaperColumns, shard_rows: int, keep: Sequence[str] = ()) -> Plan:
    """Read the footers and cut every file into shards.

    A file that cannot be read as papers is recorded with its error, and the others are used. A night without any row
    gets one shard without rows, so that its labels are a file with all columns and not an empty folder.

    Args:
        inventory: The files of the input.
        columns: The names of the columns that hold papers.
        shard_rows: Number of rows in a shard.
        keep: More columns, which the label files keep.

    Raises:
        PaperSchemaError: No file can be read, and the message is about the first one; or no file has a column to keep.
    """
    schemas: dict[str, pa.Schema] = {}

    def look_at(file: InputPath) -> InputFile | FailedInput | None:
        where = storable(str(file.path))
        try:
            with open_parquet(file.path) as parquet:
                if is_from_embed(parquet.schema_arrow):
                    return None
                resolved, label_problem = columns.resolve_without_need_of_labels(
                    parquet.schema_arrow, where=where, partitions=file.partitions
                )
                if keep:
                    schemas[file.name] = parquet.schema_arrow
                sizes = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
        except PaperSchemaError as error:
            return FailedInput(name=file.name, error=storable(str(error)))
        starts = tuple(int(start) for start in np.cumsum([0, *sizes]))
        return InputFile(
            path=file.path,
            name=file.name,
            columns=resolved,
            group_starts=starts,
            partitions=file.partitions,
            label_problem=label_problem,
        )

    looked_at = list(in_parallel(look_at, inventory.files))
    files = [file for file in looked_at if isinstance(file, InputFile)]
    failed = [file for file in looked_at if isinstance(file, FailedInput)]
    failed += [FailedInput(name=name, error=error) for name, error in inventory.failed.items()]
    embeddings = [file.name for file, seen in zip(inventory.files, looked_at, strict=True) if seen is None]
    if not files and not failed:
        raise PaperSchemaError(f"{inventory.root}: holds only {WRITTEN_BY_EMBED}; give a folder or file of papers")
    if not files:
        raise PaperSchemaError(failed[0].error)
    kept = kept_columns(keep, schemas, partitions={name for file in files for name in file.partitions})
    if keep:
        files = [replace(file, kept=kept) for file in files]
    shards = tuple(
        Shard(file=file, start=start, rows=min(shard_rows, file.rows - start))
        for file in files
        for start in range(0, file.rows, shard_rows)
    )
    shards = shards or (Shard(file=files[0], start=0, rows=0),)
    return Plan(
        files=tuple(files),
        failed=tuple(failed),
        shards=shards,
        kept=kept,
        ignored={**inventory.ignored, **dict.fromkeys(embeddings, WRITTEN_BY_EMBED)},
    )
