"""Log lines: JSON where standard error is no terminal; on a terminal only warnings, above the progress bar."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from specter_batch.display import terminal_text, without_credentials
from specter_batch.errors import SpecterBatchError
from specter_batch.terminal import json_safe

# The logger of all packages of the project. Modules of the core log to a child of it by their own name.
logger = logging.getLogger("specter_batch")


def log(event: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event with its figures."""
    logger.log(level, event, extra={"fields": fields}, stacklevel=2)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, event, and the event's own fields.

    Args:
        ascii_only: The log cannot hold other characters; they become JSON's escapes.
    """

    def __init__(self, *, ascii_only: bool = False) -> None:
        super().__init__()
        self._ascii_only = ascii_only

    def format(self, record: logging.LogRecord) -> str:
        """Render a record; what an event brings never replaces time, level or event."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = getattr(record, "fields", {}) | {
            "time": moment,
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        order = ("time", "level", "event")
        ordered = {key: line[key] for key in order} | line
        text = json.dumps(_loggable(ordered), ensure_ascii=self._ascii_only)
        # JSON allows characters that steer a terminal, on which logs are read.
        return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _loggable(value: Any) -> Any:
    """Return a value for JSON, without credentials of URLs; what JSON does not know becomes its text."""
    if isinstance(value, dict):
        return {_loggable(key): _loggable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_loggable(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return json_safe(without_credentials(str(value)))


class _TerminalHandler(logging.Handler):
    """Prints warnings on a terminal, above the progress bar."""

    def __init__(self, console: Console) -> None:
        super().__init__(level=logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", {})
        listed = "; ".join(f"{name} {value}" for name, value in fields.items())
        line = Text(terminal_text(record.getMessage()), style="yellow")
        line.append(terminal_text(f": {listed}" if listed else ""), style="default")
        self._console.print(line, highlight=False)


@contextmanager
def logging_to(console: Console, *, work: str = "night") -> Iterator[None]:
    """Send the project's log to a console for the length of a block, and with it an error that ends the block.

    Args:
        console: Gets JSON lines, or on a terminal only the warnings, as words.
        work: What the block does; the events at its early end are `WORK stopped` and `WORK interrupted`.
    """
    if console.is_terminal:
        handler: logging.Handler = _TerminalHandler(console)
    else:
        handler = logging.StreamHandler(console.file)
        encoding = getattr(console.file, "encoding", None) or "utf-8"
        handler.setFormatter(JsonFormatter(ascii_only=not encoding.lower().startswith("utf")))
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    except (SpecterBatchError, OSError) as error:
        if not console.is_terminal:  # there the command's own last line says it
            log(f"{work} stopped", level=logging.ERROR, error=str(error))
        raise
    except KeyboardInterrupt:
        log(f"{work} interrupted", level=logging.INFO)
        raise
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = level, propagate
