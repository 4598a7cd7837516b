"""Log lines: JSON for machines when standard error is no terminal, warnings only beside a progress bar."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape

from specter_batch.errors import SpecterBatchError

logger = logging.getLogger("specter_jobs")
_LOGGERS = (logger, logging.getLogger("specter_batch"))  # the core tells of a card that runs out of memory


def log(event: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event with its figures."""
    logger.log(level, event, extra={"fields": fields}, stacklevel=2)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, event, and the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record; what an event brings never replaces time, level or event."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = getattr(record, "fields", {}) | {
            "time": moment,
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        order = ("time", "level", "event")
        return json.dumps({key: line[key] for key in order} | line, ensure_ascii=False, default=str)


class _TerminalHandler(logging.Handler):
    """Prints warnings above the progress bar, for a reader."""

    def __init__(self, console: Console) -> None:
        super().__init__(level=logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", {})
        told = "; ".join(f"{name} {value}" for name, value in fields.items())
        line = f"[yellow]{escape(record.getMessage())}[/]{escape(f': {told}' if told else '')}"
        self._console.print(line, highlight=False)


@contextmanager
def logging_to(console: Console) -> Iterator[None]:
    """Send the job's log to a console for the length of a block, and an error that ends the block with it."""
    if console.is_terminal:
        handler: logging.Handler = _TerminalHandler(console)
    else:
        handler = logging.StreamHandler(console.file)
        handler.setFormatter(JsonFormatter())
    before = [(one.level, one.propagate) for one in _LOGGERS]
    for one in _LOGGERS:
        one.addHandler(handler)
        one.setLevel(logging.INFO)
        one.propagate = False
    try:
        yield
    except (SpecterBatchError, OSError) as error:
        if not console.is_terminal:  # there the command's own last line says it
            log("night stopped", level=logging.ERROR, error=str(error))
        raise
    except KeyboardInterrupt:
        log("night interrupted", level=logging.INFO)
        raise
    finally:
        for one, (level, propagate) in zip(_LOGGERS, before, strict=True):
            one.removeHandler(handler)
            one.level, one.propagate = level, propagate
