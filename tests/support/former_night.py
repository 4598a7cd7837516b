"""Turns a night into one that version 0.1.0 wrote: label files without the newer columns, and a ledger without them."""

import hashlib
import json
from pathlib import Path

from specter_batch.papers.parquet import read_table, write_table
from specter_jobs.output.schema import FORMER_LABEL_SCHEMA

# Fields that entries of the ledger have gained since.
NEW_FIELDS = frozenset({"expected", "form", "without_margin", "without_logits"})


def make_former(out: Path, *, keep: tuple[str, ...] = ()) -> None:
    """Rewrite the label files and the ledger of a night on disk as an earlier version wrote them.

    Args:
        out: Output folder of the night.
        keep: More columns to keep, such as `probabilities`.
    """
    ledger = out / "ledger.jsonl"
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    for entry in entries:
        file = out / entry["labels"]["name"]
        table = read_table(file).select([*FORMER_LABEL_SCHEMA.names, *keep])
        write_table(file, table.replace_schema_metadata(None))
        content = file.read_bytes()
        entry["labels"] |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name in NEW_FIELDS:
            entry.pop(name, None)
    ledger.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
