"""Everything that the commands print goes through this module, so that text from data cannot control the terminal.

Lines and error messages are cleaned by `terminal_text`. Characters that a stream cannot encode are escaped. A pipe that
is closed early (`| head -1`) does not change the exit code.
"""

import csv
import errno
import io
import json
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, TextIO

from specter_batch.display import storable, terminal_text, visible_text, without_credentials
from specter_batch.errors import SpecterBatchError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

# Limits in characters. A longer message, or a longer path in it, is cut in the middle, so that people can read it.
MAX_MESSAGE = 2000
MAX_PLACE = 200
# The system's error number is removed, because the reason in words follows it.
_ERROR_NUMBER = re.compile(r"\[Errno -?\d+\] ")
_LINE_BREAK = re.compile(r"[ \t]*[\r\n]+\s*")
# Rich would wrap a table at the width of the terminal, or at 80 characters if the output is not a terminal.
TABLE_WIDTH = 110

_for_results: TextIO | None = None


@contextmanager
def output_only_for_results() -> Iterator[None]:
    """Keep standard output for what the functions of this module print.

    Libraries print notices there, too, for example when they are imported. They go to standard error instead, so that
    a program can read the result, for example the JSON of `--json`.
    """
    global _for_results
    before, _for_results = _for_results, _output()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _for_results = before


def _output() -> TextIO:
    return sys.stdout if _for_results is None else _for_results


def prepare_streams() -> None:
    """Make standard output and standard error safe to write to, before anything is printed.

    A closed stream is replaced by the null device. Otherwise the next file to be opened would get its descriptor, and
    whatever a library prints would be written into that file.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor, which is this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - as long as the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show(*lines: object, in_files_too: bool = False) -> None:
    r"""Print lines to standard output. A line break inside a line is shown as `\n`.

    Args:
        lines: The texts, one per line.
        in_files_too: True if the command has written the same result to files. Then a failure to print, for example
            because the disk is full, only gives a warning and does not change the exit code.

    Raises:
        SpecterBatchError: Standard output cannot be written to.
    """
    _write_result("".join(f"{terminal_text(line)}\n" for line in lines), in_files_too=in_files_too)


def show_text(text: str, *, in_files_too: bool = False) -> None:
    """Print a text of several lines, for example a report in Markdown, to standard output."""
    show(*text.removesuffix("\n").split("\n"), in_files_too=in_files_too)


def show_json(value: Any, *, in_files_too: bool = False) -> None:
    """Print a value as one line of JSON, in ASCII, to standard output."""
    _write_result(json.dumps(json_safe(value)) + "\n", in_files_too=in_files_too)


def show_csv(rows: Iterable[Sequence[object]]) -> None:
    """Print rows as CSV to standard output; None is an empty cell.

    Values are printed unchanged into a file or a pipe. On a terminal, control characters in them are escaped.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    is_shown = _output().isatty()
    _write_result(visible_text(text.getvalue(), keep="\n") if is_shown else text.getvalue(), in_files_too=False)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to standard output."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=box.SIMPLE)
    for row in rows:
        table.add_row(*(Text(terminal_text(cell)) for cell in row))
    console = Console(file=io.StringIO(), width=max(Console().width, TABLE_WIDTH))
    console.print(table)
    _write_result(console.file.getvalue(), in_files_too=False)  # type: ignore[attr-defined]


def show_error(message: object) -> None:
    """Print an error as one line to standard error."""
    _write_quietly(sys.stderr, f"error: {message_text(message)}\n")


def show_notice(message: object) -> None:
    """Print a notice for the user as one line to standard error."""
    _write_quietly(sys.stderr, f"{message_text(message)}\n")


def warn(*sentences: str) -> None:
    """Print warnings to standard error, one line per sentence."""
    for sentence in sentences:
        show_notice(f"warning: {sentence}")


def show_traceback() -> None:
    """Print the traceback of the error that is being handled to standard error."""
    text = visible_text(without_credentials(traceback.format_exc()), keep="\n")
    _write_quietly(sys.stderr, text)


def message_text(message: object) -> str:
    """Return a message as one line of at most about `MAX_MESSAGE` characters, without error numbers."""
    text = terminal_text(_ERROR_NUMBER.sub("", _LINE_BREAK.sub(" ", str(message).strip())))
    if len(text) <= MAX_MESSAGE:
        return text
    half = MAX_MESSAGE // 2
    return f"{text[:half]}[… {len(text) - 2 * half:,} characters left out …]{text[-half:]}"


def os_error_text(error: OSError) -> str:
    """Return an error of the operating system as `place: reason`, without its number."""
    if error.strerror is None or error.filename is None:
        return str(error)
    place = str(error.filename)
    if len(place) > MAX_PLACE:
        place = f"{place[: MAX_PLACE // 2]}…{place[-MAX_PLACE // 2 :]}"
    return f"{place}: {error.strerror[:1].lower()}{error.strerror[1:]}"


def json_safe(value: Any) -> Any:
    """Return a copy of a value that JSON can hold: bytes that are not UTF-8 in its texts are escaped."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {json_safe(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    return value


def error_console() -> "Console":
    """Return a console on standard error, for progress."""
    from rich.console import Console

    return Console(stderr=True)


def output_console() -> "Console":
    """Return a console on standard output, for commands that write no files."""
    from rich.console import Console

    return Console(file=_output())


def print_above(console: "Console", message: object, *, style: str = "") -> None:
    """Print one line to a console, above any progress bars."""
    from rich.text import Text

    console.print(Text(terminal_text(message), style=style), soft_wrap=True, highlight=False)


def progress_bars(console: "Console | None", *columns: "ProgressColumn | str", shown: bool | None = None) -> "Progress":
    """Return progress bars.

    Args:
        console: Console that the bars are printed to; without one they are printed nowhere.
        columns: The parts of a bar.
        shown: True to print the bars; None to print them only on a terminal.
    """
    from rich.progress import Progress

    visible = console is not None and (console.is_terminal if shown is None else shown)
    return Progress(*columns, console=console, disable=not visible)


def _write_result(text: str, *, in_files_too: bool) -> None:
    output = _output()
    try:
        output.write(text)
        output.flush()
    except OSError as error:
        _to_null_device(output)
        if error.errno == errno.EPIPE:
            return  # the reader closed the pipe on purpose, as `head` does
        message = f"the result could not be printed to standard output ({error.strerror})"
        if not in_files_too:
            raise SpecterBatchError(message) from None
        show_notice(f"warning: {message}; it is complete in the files")


def _write_quietly(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):  # there is no other stream to report it on
        _to_null_device(stream)


def _to_null_device(stream: TextIO) -> None:
    """Discard what is still buffered in a stream; otherwise the interpreter would fail to flush it at exit."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
