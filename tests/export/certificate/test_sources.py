import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from specter_batch.errors import BundleError, ConfigError, PaperSchemaError
from specter_batch.options.screening import ScreeningRules
from specter_batch.papers.columns import PaperColumns
from specter_batch.papers.parquet import write_table
from specter_batch.papers.text import paper_texts
from specter_batch.storage.files import file_sha256
from specter_batch.training.demo.sample import SamplePaths, make_papers
from specter_batch.training.run.folder import KEPT_VALIDATION, RUN_FILE, VALIDATION_FILE, TrainingRun
from specter_export.certificate.papers import CalibrationInput
from specter_export.certificate.sources import FEWEST_PAPERS, CertificatePapers, certificate_papers
from specter_export.recipe import DEFAULT_RECIPES, Certification, load_recipe

RECIPES = [load_recipe(name) for name in DEFAULT_RECIPES]
FRENCH = "Nous avons étudié les effets de ce traitement chez des patients dans une étude qui dure depuis un mois. "


def dump(folder: Path, papers: pa.Table) -> Path:
    file = folder / "dump.parquet"
    pq.write_table(papers, file)
    return file


def papers_for(run: TrainingRun, given: CalibrationInput | None = None, *, most: int = 4000) -> CertificatePapers:
    recipes = [one.model_copy(update={"certificate": Certification(papers=most)}) for one in RECIPES]
    table = run.calibration_papers()
    return certificate_papers(run, recipes, given=given, training=(table.slice(0, 100), table.slice(100)))


def run_with_validation(run: TrainingRun, folder: Path, papers: pa.Table) -> TrainingRun:
    """Copy a run and give it other validation papers, as if it had been trained with them."""
    copied = Path(shutil.copytree(run.path, folder))
    write_table(copied / VALIDATION_FILE, papers)
    record = json.loads((copied / RUN_FILE).read_text())
    record["training"][KEPT_VALIDATION] = {"papers": len(papers), "sha256": file_sha256(copied / VALIDATION_FILE)}
    (copied / RUN_FILE).write_text(json.dumps(record))
    return TrainingRun.open(copied)


def test_given_papers_are_divided_and_those_of_the_training_data_are_left_out(
    tiny_run: TrainingRun, sample_paths: SamplePaths, tmp_path: Path
) -> None:
    unseen = make_papers(n_papers=1200, seed=77)
    trained = pq.read_table(sample_paths.train).select(unseen.column_names)
    given = CalibrationInput(source=dump(tmp_path, pa.concat_tables([trained, unseen])))
    papers = papers_for(tiny_run, given, most=600)
    assert papers.source == "calibration papers"
    assert (len(papers.fitting), len(papers.checking)) == (220, 600)  # a fifth of the 1,100 papers that are asked for
    assert set(papers.fitting) | set(papers.checking) <= set(paper_texts(unseen))
    assert not set(papers.fitting) & set(papers.checking)
    (note,) = papers.notes
    assert f"1,100 of {1200 + len(trained):,} papers are used; left out: " in note
    assert "seen_in_training" in note


def test_the_hash_of_the_papers_does_not_depend_on_the_files(tiny_run: TrainingRun, tmp_path: Path) -> None:
    papers = make_papers(n_papers=200, seed=77)
    one = papers_for(tiny_run, CalibrationInput(source=dump(tmp_path, papers)))
    (tmp_path / "parts").mkdir()
    for number, start in enumerate((100, 0)):
        pq.write_table(papers.slice(start, 100), tmp_path / "parts" / f"{number}.parquet")
    two = papers_for(tiny_run, CalibrationInput(source=tmp_path / "parts"))
    assert one.sha256(100) == two.sha256(100) != one.sha256(99)


@pytest.mark.parametrize(
    ("count", "parts"),
    [(100, (20, 80)), (700, (102, 598)), (748, (149, 599)), (3000, (500, 2500)), (9999, (500, 4000))],
)
def test_checking_gets_the_papers_that_the_promise_needs(
    tiny_run: TrainingRun, tmp_path: Path, count: int, parts: tuple[int, int]
) -> None:
    rows = [{"paper_id": str(i), "title": f"Title {i} of the paper", "abstract": f"We show {i}."} for i in range(count)]
    file = dump(tmp_path, pa.Table.from_pylist(rows))
    papers = papers_for(tiny_run, CalibrationInput(source=file, rules=ScreeningRules(language="any")))
    assert (len(papers.fitting), len(papers.checking)) == parts


@pytest.mark.parametrize(
    ("change", "columns", "message"),
    [
        ({}, {}, r"99 of 99 papers can be used, and a certificate needs at least 100; give more papers, or leave"),
        ({"abstract": FRENCH}, {}, r"0 of 99 papers can be used \(left out: 99 not_english\).*add --language any"),
        ({"abstract": None}, {}, r"left out: 99 missing_abstract\).*add --missing-abstract title_only"),
        ({}, {"title": "headline"}, r"no column for title: expected headline, got .*name it with --title-column"),
    ],
    ids=["too few", "another language", "no abstracts", "wrong column"],
)
def test_given_papers_that_cannot_be_used_are_refused(
    tiny_run: TrainingRun, tmp_path: Path, change: Mapping[str, Any], columns: Mapping[str, str], message: str
) -> None:
    rows = [row | dict(change) for row in make_papers(n_papers=FEWEST_PAPERS - 1, seed=77).to_pylist()]
    given = CalibrationInput(source=dump(tmp_path, pa.Table.from_pylist(rows)), columns=PaperColumns(**columns))
    with pytest.raises((ConfigError, PaperSchemaError), match=message):
        papers_for(tiny_run, given)


def test_recipes_that_want_few_papers_do_not_make_a_dump_too_small(tiny_run: TrainingRun, tmp_path: Path) -> None:
    given = CalibrationInput(source=dump(tmp_path, make_papers(n_papers=400, seed=77)))
    few = load_recipe("cpu-int8").model_copy(update={"certificate": Certification(papers=30, fitting_papers=30)})
    papers = certificate_papers(tiny_run, [few], given=given, training=(make_papers(n_papers=1),) * 2)
    assert (papers.source, len(papers.checking)) == ("calibration papers", 30)


def test_training_papers_cannot_be_given(tiny_run: TrainingRun, sample_paths: SamplePaths) -> None:
    with pytest.raises(ConfigError, match=r"0 of 360 papers can be used .*give papers that the model was not trained"):
        papers_for(tiny_run, CalibrationInput(source=sample_paths.train))


def test_an_empty_dump_is_refused(tiny_run: TrainingRun, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no papers; give papers like those to be labelled"):
        papers_for(tiny_run, CalibrationInput(source=dump(tmp_path, make_papers(n_papers=1).slice(0, 0))))


def test_validation_papers_are_used_if_none_are_given(tiny_run: TrainingRun, tmp_path: Path) -> None:
    validation = make_papers(n_papers=150, seed=77)
    overlapping = pa.concat_tables([validation, tiny_run.calibration_papers().select(validation.column_names)])
    papers = papers_for(run_with_validation(tiny_run, tmp_path / "run", overlapping))
    assert papers.source == "validation papers"
    assert not papers.notes
    assert (len(papers.fitting), len(papers.checking)) == (30, 120)
    assert set(papers.fitting) | set(papers.checking) == set(paper_texts(validation))


def test_validation_papers_that_were_changed_are_refused(tiny_run: TrainingRun, tmp_path: Path) -> None:
    run = run_with_validation(tiny_run, tmp_path / "run", make_papers(n_papers=150, seed=77))
    write_table(run.path / VALIDATION_FILE, run.calibration_papers())
    with pytest.raises(BundleError, match=r"validation\.parquet: is missing or was changed after training"):
        papers_for(run)


@pytest.mark.parametrize("kept", [True, False], ids=["too few", "a run of an earlier version"])
def test_training_papers_are_the_last_resort_and_a_note_says_so(
    tiny_run: TrainingRun, tmp_path: Path, kept: bool
) -> None:
    run = run_with_validation(tiny_run, tmp_path / "run", make_papers(n_papers=99, seed=77))
    if not kept:
        del run.record.training[KEPT_VALIDATION]
    papers = papers_for(run)
    assert papers.source == "training papers"
    assert (len(papers.fitting), len(papers.checking)) == (100, 100)
    (note,) = papers.notes
    assert ("only 99 validation papers" if kept else "an earlier version trained it") in note
    assert "give unseen papers like those to be labelled with --calibration" in note
