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
Delimiter = Annotated[
    str | None,
    typer.Option(
        "--delimiter",
        help="CSV: the character between values, or tab. When not given, it is found by the header.",
        show_default=False,
    ),
]
Quote = Annotated[
    str | None,
    typer.Option(
        "--quote",
        help='CSV: the character around values; none if quotes are plain text. When not given, it is ", and a file '
        "whose quotes may hide rows fails.",
        show_default=False,
    ),
]
Escape = Annotated[
    str | None,
    typer.Option(
        "--escape",
        help="CSV: the character that makes a quote after it plain text, or none. When not given, a backslash is "
        "recognised.",
        show_default=False,
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        help="CSV and JSON Lines: the encoding, such as cp1252. When not given, it is UTF-8; UTF-16 is recognised.",
        show_default=False,
    ),
]
