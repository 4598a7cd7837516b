"""The ledger of a night in a store, where nothing can be appended to: an object a shard, folded into one at the end."""

from collections.abc import Sequence

from pydantic import BaseModel

from specter_batch.storage.files import write_text
from specter_batch.storage.location import in_parallel
from specter_batch.storage.url_path import UrlPath
from specter_jobs.output.journal import Entry, read_lines

LEDGER_FOLDER = "ledger"


def put_entry(out: UrlPath, shard: str, entry: BaseModel) -> None:
    """Put a shard's entry; one of an earlier try is replaced."""
    write_text(out / LEDGER_FOLDER / f"{shard}.json", entry.model_dump_json())


def read_entry_objects(out: UrlPath, kind: type[Entry]) -> list[Entry]:
    """Return the entries that are not folded yet."""
    folder = out / LEDGER_FOLDER
    names = sorted(name for name in folder.names() if name.endswith(".json"))
    return read_lines(in_parallel(lambda name: (folder / name).read_bytes(), names), kind)


def fold_entries(out: UrlPath, file: str, entries: Sequence[BaseModel]) -> None:
    """Put all entries as one file of JSON lines, and only then remove their objects.

    Between the two each is there twice, and says the same.
    """
    write_text(out / file, "".join(f"{entry.model_dump_json()}\n" for entry in entries))
    folder = out / LEDGER_FOLDER
    list(in_parallel(lambda name: (folder / name).unlink(missing_ok=True), sorted(folder.names())))
