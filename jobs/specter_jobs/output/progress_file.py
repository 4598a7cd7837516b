"""The model of `progress.json`, which shows the progress of a night."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

State = Literal["surveying", "labelling", "finished"]


class Progress(BaseModel):
    """`progress.json`.

    Attributes:
        shards_done: Number of finished shards, including shards of earlier runs. `rows_done` includes them too.
        labelling_since: Start of labelling in seconds since the epoch; None while the input is deduplicated.
        papers: Number of papers that this run has labelled.
        shard_seconds: Time that the shards of this run took.
        model_seconds: Part of `shard_seconds` in which the model ran.
        failed: Shard or file name -> error.
        ignored: The first entries of the input that are not read -> reason.
        ignored_entries: Number of entries that are not read.
        exit_code: Exit code of a finished night.
        refused: Reason why a finished night did not label anything; None if it did.
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
    """Return seconds since the epoch as text: a UTC time."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
