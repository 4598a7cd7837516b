"""What a night set out to do, written before it labels: the manifest of its input, for `status` and `verify`."""

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from specter_batch.errors import ConfigError, SpecterBatchError
from specter_batch.file_problems import file_problem
from specter_batch.storage.files import write_text
from specter_batch.storage.location import Location, located
from specter_batch.storage.stored_names import original_name, stored_name
from specter_batch.storage.url_path import UrlPath
from specter_jobs.output.dump_account import DumpAccount
from specter_jobs.plan.identity import HeldNight, NightIdentity, held_night
from specter_jobs.plan.shards import Plan

INVENTORY_FILE = "plan.json"
MANIFEST_FILE = "manifest.json"


class Inventory(BaseModel):
    """`plan.json`.

    Attributes:
        root: Folder that the files are named relative to, as stored (`specter_batch.storage.stored_names`).
        binding: Of the ledger entries that count.
        files: Readable input files and their rows by the footer.
        unreadable: What may hold papers and cannot be read, and why.
        ignored: What else was found in the input, and why it is not read.
        shards: Name -> rows.
        dump: What an ingest made of the dump (`--format`); None for parquet.
        night: What a run must share to be a run of the same night; None in folders of older versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: str
    binding: str
    rows: int
    files: dict[str, int]
    unreadable: dict[str, str]
    ignored: dict[str, str] = {}
    shards: dict[str, int]
    dump: DumpAccount | None = None
    night: NightIdentity | None = None

    def input_path(self, name: str) -> Location:
        """Return where an input file was."""
        return located(original_name(self.root)) / original_name(name)


def write_inventory(
    out: Location,
    root: Location,
    plan: Plan,
    *,
    night: NightIdentity,
    unreadable: Mapping[str, str],
    ignored: Mapping[str, str],
    dump: DumpAccount | None,
) -> None:
    """Write `plan.json`."""
    inventory = Inventory(
        root=stored_name(str(root if isinstance(root, UrlPath) else root.absolute())),
        binding=night.binding,
        rows=plan.rows,
        files={file.name: file.rows for file in plan.files},
        unreadable=dict(unreadable),
        ignored=dict(ignored),
        shards={shard.name: shard.rows for shard in plan.shards},
        dump=dump,
        night=night,
    )
    write_text(out / INVENTORY_FILE, inventory.model_dump_json(indent=1) + "\n")


def read_inventory(out: Location) -> Inventory:
    """Read `plan.json`.

    Raises:
        ConfigError: The folder is no output of this job.
    """
    file = out / INVENTORY_FILE
    try:
        return Inventory.model_validate_json(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{out}: no night has begun to label here, there is no {INVENTORY_FILE}") from None
    except ValidationError as error:
        raise ConfigError(
            f"{file}: not the plan of a night ({file_problem(error, Inventory)}); run the night again"
        ) from error


def labelled_dump_files(out: Location) -> frozenset[str] | None:
    """Return the files of a dump whose papers have labels in a folder; None if its plan does not say."""
    try:
        dump = read_inventory(out).dump
    except ConfigError:
        return None
    return None if dump is None or dump.labelled_files is None else frozenset(dump.labelled_files)


def held_in(out: Location) -> HeldNight:
    """Return the finished part of the night that a folder holds; without a plan its manifest says of which dump."""
    try:
        inventory = Inventory.model_validate_json((out / INVENTORY_FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return held_night(out, identity=None, root=_root_by_manifest(out), binding=None)
    root = located(original_name(inventory.root))
    return held_night(out, identity=inventory.night, root=root, binding=inventory.binding)


def _root_by_manifest(out: Location) -> Location | None:
    """Return the DUMP that a finished night labelled, or its folder; None if it was ingested or nothing says so."""
    try:
        config = json.loads((out / MANIFEST_FILE).read_bytes())["config"]
        dump = located(config["dump"]) if config["format"] is None else None
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError, SpecterBatchError):
        return None
    return dump.parent if isinstance(dump, Path) and dump.is_file() else dump
