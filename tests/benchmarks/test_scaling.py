"""All of `scaling.py` on the tiny model."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import scaling
from measuring.bench_papers import read_usable

from specter_batch.training.demo.sample import SamplePaths
from support.drawings import assert_readable_in_dark_and_light, elements

SMALLEST = 10


@pytest.fixture(scope="module")
def out(tiny_bundle: Path, sample_paths: SamplePaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scaling")
    arguments = [str(tiny_bundle), str(sample_paths.val), str(folder), "--papers", str(SMALLEST)]
    subprocess.run([sys.executable, scaling.__file__, *arguments], check=True)
    return folder


@pytest.fixture(scope="module")
def found(out: Path) -> Any:
    return json.loads((out / "scaling.json").read_text())


def test_nights_grow_with_papers_threads_and_changes(found: Any) -> None:
    papers = {name: one["papers"] for name, one in found["nights"].items()}
    sizes = {"papers 10": 10, "papers 40": 40, "papers 160": 160}
    changed = {f"changed {share}": 40 for share in scaling.CHANGED}
    assert papers == sizes | dict.fromkeys(scaling.AT_ONCE, 40) | changed
    assert found["shard_rows"] == SMALLEST


def test_papers_that_did_not_change_are_not_labelled_again(found: Any) -> None:
    reused = {name: one["reused"] for name, one in found["nights"].items()}
    assert [reused[f"changed {share}"] for share in (0, 1, 10, 100)] == [40, 40, 36, 0]
    assert sum(reused.values()) == 40 + 40 + 36  # and in no other night two texts are the same


def test_copies_have_ids_and_texts_of_their_own(sample_paths: SamplePaths) -> None:
    papers = scaling.times_as_many(read_usable(sample_paths.val, most=SMALLEST), 16)
    assert len(papers) == 160
    for column in ("paper_id", "abstract"):
        assert len(set(papers[column].to_pylist())) == 160


def test_table_and_picture_show_every_night(found: Any, out: Path) -> None:
    page, picture = (out / "scaling.md").read_text(), (out / "scaling.svg").read_text()
    for name in found["nights"]:
        assert f"\n| {name}" in page
    svg = "{http://www.w3.org/2000/svg}"
    assert len(elements(picture, f"{svg}circle", "now")) == 3 + 3 + 4
    assert len(elements(picture, f"{svg}rect", "ours")) == len(scaling.AT_ONCE)
    assert "href" not in picture
    assert "url(" not in picture
    assert_readable_in_dark_and_light(picture)
