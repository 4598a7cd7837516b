"""Options that several commands share, declared once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from specter_batch.terminal import show_error, show_notice

PaperIdColumn = Annotated[
    str | None, typer.Option(help="Column of the paper ids; found by name when not given.", show_default=False)
]
TitleColumn = Annotated[
    str | None, typer.Option(help="Column of the titles; found by name when not given.", show_default=False)
]
AbstractColumn = Annotated[
    str | None, typer.Option(help="Column of the abstracts; found by name when not given.", show_default=False)
]
LabelColumn = Annotated[
    str | None, typer.Option(help="Column of the true labels; found by name when not given.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for machines.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML file of settings; flags win over it.", show_default=False)
]
DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]

EXIT_INTERRUPTED = 130


@contextmanager
def interruptible(advice: str) -> Iterator[None]:
    """Turn Ctrl-C, and what counts as it, into one line with advice and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        show_error(f"interrupted; {advice}")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def warn(*sentences: str) -> None:
    """Print sentences that a user should read, a line each, on standard error."""
    for sentence in sentences:
        show_notice(f"warning: {sentence}")
