"""The files of papers that training, scoring and embedding read: all of an input, or none."""

from dataclasses import replace
from pathlib import Path

from specter_batch.display import storable
from specter_batch.errors import PaperSchemaError
from specter_batch.inputs import InputInventory, InputPath, parquet_inventory
from specter_batch.papers.parquet import WRITTEN_BY_EMBED, is_from_embed, open_parquet


def complete_inventory(source: str | Path) -> InputInventory:
    """Return the inventory of an input of papers; embeddings that `embed` wrote there are no papers.

    Raises:
        PaperSchemaError: Nothing is there, or something that may hold papers cannot be read.
    """
    inventory = parquet_inventory(source)
    shown = storable(str(source))
    inventory.check_complete(source=shown)
    papers = tuple(file for file in inventory.files if not _is_from_embed(file))
    if not papers:
        raise PaperSchemaError(f"{shown}: holds only {WRITTEN_BY_EMBED}; give a folder or file of papers")
    left_out = {file.name for file in inventory.files} - {file.name for file in papers}
    ignored = {**inventory.ignored, **dict.fromkeys(sorted(left_out), WRITTEN_BY_EMBED)}
    return replace(inventory, files=papers, ignored=ignored)


def _is_from_embed(file: InputPath) -> bool:
    with open_parquet(file.path) as parquet:
        return is_from_embed(parquet.schema_arrow)
