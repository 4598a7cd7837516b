"""A finished file of an output folder, as the ledger remembers it, and what binds it to how it was made."""

from pydantic import BaseModel, ConfigDict


class OutputFile(BaseModel):
    """A finished file below the output folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    rows: int
    size: int
    sha256: str
