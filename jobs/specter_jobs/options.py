"""Options that say how a night labels, shared by the commands that run one and that plan one."""

from typing import Annotated, Literal

import typer

PrecisionName = Annotated[
    Literal["fp32", "fp16", "int8"] | None,
    typer.Option("--precision", help="Graph to run instead of the device's own choice."),
]
ShardRows = Annotated[int | None, typer.Option("--shard-rows", help="Rows of a shard.  [default: 5000]")]
Language = Annotated[
    Literal["en", "any"] | None,
    typer.Option("--language", help="en rejects other languages; any takes all.  [default: en]"),
]
MissingAbstract = Annotated[
    Literal["reject", "title_only"] | None,
    typer.Option("--missing-abstract", help="What to do without an abstract.  [default: reject]"),
]
MinCharacters = Annotated[
    int | None,
    typer.Option("--min-characters", help="Reject papers with a shorter title and abstract together.  [default: 0]"),
]
Probabilities = Annotated[
    bool | None, typer.Option("--probabilities/--no-probabilities", help="Write all labels' probabilities.")
]
