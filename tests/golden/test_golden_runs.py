"""Nights and ingests give what they always gave: rows, reports, exit codes and log events.

`inputs_v1` and `runs_v1` were made by `make_runs.py`. When this fails after a change, the change gives people other
labels, rejects, reports or events than those they have. Change the code, not the files.
"""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from support.golden_runs import EXPECTED, INGESTS, INPUTS, NIGHTS, read_recording, record_all

# Other CPUs add in another order.
TOLERANCE = 1e-3
# Fields that reports and events have gained since. Whoever reads them does not mind one more.
ADDED = frozenset({"schema_version", "without_margin", "without_logits", "label_changes", "estimated", "audit"})


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return record_all(tmp_path_factory.mktemp("golden") / "runs", (NIGHTS | INGESTS).items())


def assert_same(found: Any, expected: Any, place: str) -> None:
    """Compare two JSON values; fractions may differ by `TOLERANCE`."""
    if isinstance(expected, float) and isinstance(found, float):
        assert math.isclose(found, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE), f"{place}: {found}, not {expected}"
    elif isinstance(expected, dict) and isinstance(found, dict):
        assert [name for name in found if name not in ADDED] == list(expected), f"{place}: other fields"
        for name, value in expected.items():
            assert_same(found[name], value, f"{place}.{name}")
    elif isinstance(expected, list) and isinstance(found, list):
        assert len(found) == len(expected), f"{place}: {found}, not {expected}"
        for number, value in enumerate(expected):
            assert_same(found[number], value, f"{place}[{number}]")
    else:
        assert found == expected, place


@pytest.mark.parametrize("name", [*NIGHTS, *INGESTS])
def test_a_command_gives_what_it_always_gave(recorded: dict[str, Any], name: str) -> None:
    found, expected = recorded[name], read_recording(EXPECTED / f"{name}.json")
    for run in (found, expected):
        run["bytes"] = {file: table.pop("sha256") for file, table in run["tables"].items()}
    for file, table in expected["tables"].items():
        if file.startswith("labels/"):
            _leave_out_new_columns(found["tables"][file], table)
            del found["bytes"][file], expected["bytes"][file]
    for part in ("command", "exit_code", "events", "files", "report", "ingest", "tables"):
        assert_same(found.get(part), expected.get(part), part)
    if expected["pyarrow"] == pa.__version__ and found["tables"] == expected["tables"]:
        assert found["bytes"] == expected["bytes"]


def _leave_out_new_columns(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Keep the columns and the metadata of a label file that it always had."""
    held = [list(found["columns"]).index(name) for name in expected["columns"]]
    found["rows"] = [[row[position] for position in held] for row in found["rows"]]
    for part in ("columns", "metadata"):
        found[part] = {name: found[part][name] for name in expected[part]}


def test_the_runs_could_show_a_difference(recorded: dict[str, Any]) -> None:
    assert {run["exit_code"] for run in recorded.values()} == {0, 3, 4}
    first, second, gated = (recorded[name]["report"] for name in NIGHTS)
    assert set(first["rejects_by_reason"]) >= {"duplicate_id", "missing_abstract", "missing_title", "not_english"}
    assert second["rows"]["reused"] > second["rows"]["labelled"] > 0 < second["rows"]["failed"]
    assert second["seen_in_training"] and len(set(first["label_papers"].values())) > 3
    assert gated["title_only"] and not all(gate["passed"] for gate in gated["gates"])


def test_the_files_are_small() -> None:
    files = [path for folder in (INPUTS, EXPECTED) for path in Path(folder).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 200_000
