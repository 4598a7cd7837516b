"""How far a night has come, as `progress.json` tells it."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

State = Literal["surveying", "labelling", "finished"]


class Progress(BaseModel):
    """`progress.json`.

    Attributes:
        shards_done: Those that were kept from an earlier run included, as in `rows_done`.
        labelling_since: Seconds since the epoch; None while the input is deduplicated.
        papers: Labelled in this run.
        shard_seconds: That the shards of this run took.
        model_seconds: Of these, those in which the model was at work.
        failed: Shard or file name -> error.
        ignored: What was found in the input and is not read, and why; the first of them.
        ignored_entries: How many there are.
        exit_code: Of a finished night.
        refused: Why a finished night did not label anything; None if it did.
    """

    model_config = ConfigDict(extra="forbid")

    state: State = "surveying"
    process: str
    started: float
    updated: float
    rows: int
    rows_done: int = 0
    rows_kept: int = 0
    shards: int
    shards_done: int = 0
    labelling_since: float | None = None
    papers: int = 0
    shard_seconds: float = 0.0
    model_seconds: float = 0.0
    failed: dict[str, str] = {}
    ignored: dict[str, str] = {}
    ignored_entries: int = 0
    exit_code: int | None = None
    refused: str | None = None


def timestamp(seconds: float) -> str:
    """Write seconds since the epoch as a UTC time."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
