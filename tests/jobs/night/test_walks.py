"""How many files someone reads who follows one value through a night; `CONTRIBUTING.md` lists the files."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import typer

from specter_batch.cli import build_app
from specter_batch.model.bundle import ModelBundle
from specter_batch.papers.parquet import write_table
from specter_batch.papers.text import paper_text, text_hash
from support.walks import Walk

REPOSITORY = Path(__file__).parents[3]
BUNDLE = REPOSITORY / "tests" / "golden" / "bundle_v1"
MOST_FILES_OF_DUMP, MOST_FILES_OF_A_TITLE = 20, 15

TITLE = "Zebrafish larvae learn to avoid a looming shadow"
ABSTRACT = (
    "We show that the larvae of zebrafish learn within minutes to avoid a shadow that grows above them, and that the "
    "memory of it is lost when the pallium is silenced with light for an hour after the training has ended."
)


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """Return a folder with two papers."""
    folder = tmp_path / "papers-of-tonight"
    folder.mkdir()
    abstracts = [ABSTRACT, ABSTRACT.replace("zebrafish", "medaka")]
    columns = {"paper_id": ["1", "2"], "title": [TITLE, "Medaka larvae and other shadows"], "abstract": abstracts}
    write_table(folder / "papers.parquet", pa.table(columns))
    return folder


def traced(is_it: Callable[[Any], bool], dump: Path, out: Path, *options: str) -> Walk:
    """Follow a value from the command line to the label file; the command runs as from a shell, but in this process."""
    walk = Walk(is_it, until=lambda: any((out / "labels").glob("*.parquet")))
    arguments = [
        "classify",
        str(dump),
        str(out),
        "--bundle",
        str(BUNDLE),
        "--device",
        "cpu",
        "--threads",
        "1",
        *options,
    ]
    with walk.traced():
        typer.main.get_command(build_app())(arguments, standalone_mode=False)
    assert (out / "_SUCCESS").exists()
    return walk


def listed(heading: str) -> list[str]:
    """Return the files that a section of CONTRIBUTING.md lists, one a line."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    section = text.partition(f"### {heading}\n")[2].partition("\n#")[0]
    return re.findall(r"^\d+\. `([^`]+)`", section, re.MULTILINE)


def test_the_walk_of_dump(dump: Path, tmp_path: Path) -> None:
    """Its forms: the text of the argument, and a path that is equal to it."""
    walk = traced(lambda value: isinstance(value, str | Path) and str(value) == str(dump), dump, tmp_path / "out")
    assert len(walk.files) <= MOST_FILES_OF_DUMP, "\n".join(walk.files)
    assert sorted(walk.files) == sorted(listed("The walk of DUMP"))


def test_the_walk_of_a_title(dump: Path, tmp_path: Path) -> None:
    """Its forms: a text with the title in it, the hash of the paper's text, its token ids, and columns that hold them.

    The hash stands in the label file. The paper has no true label, so its title is not looked up in the training data.
    """
    bundle = ModelBundle.open(BUNDLE)
    text = paper_text(TITLE, ABSTRACT, bundle.text_template)
    text_id, (token_ids,) = text_hash(text), bundle.text_encoder().encode([text])

    def is_it(value: Any) -> bool:
        if isinstance(value, str):
            return TITLE in value or value == text_id
        if isinstance(value, bytes):
            return TITLE.encode() in value
        if isinstance(value, pa.Table | pa.RecordBatch):
            return any(is_it(column) for column in value.columns)
        if isinstance(value, pa.Array | pa.ChunkedArray):
            return pa.types.is_string(value.type) and any(is_it(text) for text in value.to_pylist())
        if isinstance(value, np.ndarray) and value.dtype == np.int64 and value.ndim in (1, 2):
            return any(np.array_equal(row, token_ids) for row in np.atleast_2d(value))
        return False

    # The audit chooses every paper of so small a night, and few papers of a real one.
    walk = traced(is_it, dump, tmp_path / "out", "--audit-share", "0")
    assert len(walk.files) <= MOST_FILES_OF_A_TITLE, "\n".join(walk.files)
    assert sorted(walk.files) == sorted(listed("The walk of one title"))
