"""The folder of an evaluation's or a baseline's files: a rerun replaces its own results, and never those of another."""

import json
from collections.abc import Mapping
from pathlib import Path

from specter_batch.errors import ConfigError
from specter_batch.storage.output_claim import mark_output


def claim_results(out: Path, command: str, *, report: str, identity: Mapping[str, object], replace: bool) -> None:
    """Make a folder for results and mark it, before the work begins.

    Args:
        out: The folder.
        command: Name of the command that writes there.
        report: Name of the JSON file that says what the results are.
        identity: The fields of that file that must stay the same in a rerun, with this run's values.
        replace: Replace results of another model or of other papers.

    Raises:
        ConfigError: The folder belongs to another command, or holds other results and `replace` is not set.
    """
    mark_output(out, command)
    held = _held(out / report)
    if held is None or replace:
        return
    other = [name for name, value in identity.items() if name in held and held[name] != value]
    if other:
        shown = ", ".join(f"{name} {held[name]}" for name in identity if name in held)
        raise ConfigError(
            f"{out}: holds another {command} ({shown}); the {' and '.join(other)} differ now. Give another --out, or "
            "replace its files with --replace"
        )


def _held(file: Path) -> Mapping[str, object] | None:
    try:
        report = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None  # no results yet, or only a part of them
    return report if isinstance(report, dict) else None
