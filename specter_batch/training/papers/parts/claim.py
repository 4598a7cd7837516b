"""The output folder of a split: the same split is made again in its place, another one only if it is asked for."""

import json
from collections.abc import Mapping
from pathlib import Path

from specter_batch.errors import ConfigError
from specter_batch.papers.columns import PaperColumns
from specter_batch.storage.output_claim import check_output
from specter_batch.training.papers.parts.account import SplitSettings


def claim_split(
    out: Path,
    *,
    source: str,
    inputs: Mapping[str, str],
    settings: SplitSettings,
    columns: PaperColumns,
    replace: bool,
) -> None:
    """Check that a split may be written into a folder; nothing is changed.

    Raises:
        ConfigError: The folder holds other files, or another split and `replace` is False.
    """
    check_output(out, "split")
    try:
        held = json.loads((out / "split.json").read_bytes())
    except (OSError, ValueError):
        return
    if replace or not isinstance(held, dict):
        return
    wanted = {
        "inputs": dict(inputs),
        "settings": settings.model_dump(mode="json"),
        "columns": {name: getattr(columns, name) for name in ("paper_id", "title", "abstract", "label")},
    }
    other = [name for name, value in wanted.items() if held.get(name) != value]
    if other:
        what = {"inputs": f"papers (now {source})", "settings": "settings", "columns": "column names"}
        raise ConfigError(
            f"{out}: holds another split of {held.get('papers')}; the {' and '.join(what[name] for name in other)} "
            "differ now. Give another OUT, or replace the split with --replace"
        )
