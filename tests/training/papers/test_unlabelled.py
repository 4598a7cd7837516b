from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specter_batch.errors import ConfigError
from specter_batch.options.screening import ScreeningRules
from specter_batch.papers.parquet import write_table
from specter_batch.papers.text import normalised_text_hash, paper_text
from specter_batch.training.papers.unlabelled import UnlabelledPapers, read_unlabelled

ANY = ScreeningRules(language="any")
NOTHING = np.zeros(0, dtype=np.uint64)


def write(file: Path, titles: Sequence[str | None], abstract: str | None = "An abstract.") -> Path:
    ids = [str(number) for number in range(len(titles))]
    columns = {"paper_id": ids, "title": titles, "abstract": [abstract] * len(titles)}
    write_table(file, pa.table(columns, schema=pa.schema([(name, pa.string()) for name in columns])))
    return file


def hashes(*titles: str) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.sort(
        np.array([normalised_text_hash(paper_text(title, "An abstract.")) for title in titles], dtype=np.uint64)
    )


def titles(found: UnlabelledPapers) -> list[str]:
    return [str(title) for title in found.papers["title"].to_pylist()]


def test_known_repeated_and_unusable_papers_are_left_out_and_counted(tmp_path: Path) -> None:
    file = write(tmp_path / "dump.parquet", ["A", "B", "b!", None, "C", "D", "E"])
    known = {"in --train": hashes("a", "D"), "in --val": hashes("E")}
    found = read_unlabelled(file, rules=ANY, known=known, limit=10)
    assert sorted(titles(found)) == ["B", "C"]
    assert found.dropped == {"missing_title": 1, "in --train": 2, "in --val": 1, "repeated": 1}
    assert found.told() == (
        f"{file}: 2 unlabelled papers are used; left out: 1 missing title, 2 in --train, 1 in --val, 1 repeated"
    )


def test_papers_are_screened_by_the_rules_of_the_job(tmp_path: Path) -> None:
    german = "Wir zeigen, dass das Verfahren für die Patienten mit dieser Krankheit besser ist als das bisherige."
    write(tmp_path / "german.parquet", ["Ein neues Verfahren"], abstract=german)
    write(tmp_path / "short.parquet", ["A title alone"], abstract=None)
    write(tmp_path / "english.parquet", ["A method"], abstract="We show that the method is better than all of these.")
    found = read_unlabelled(tmp_path, rules=ScreeningRules(), known={}, limit=10)
    assert titles(found) == ["A method"]
    assert found.dropped == {"not_english": 1, "missing_abstract": 1}
    by_title = ScreeningRules(language="any", missing_abstract="title_only")
    assert len(read_unlabelled(tmp_path, rules=by_title, known={}, limit=10)) == 3


@settings(max_examples=20, deadline=None)  # writes files
@given(st.permutations([f"Title {number}" for number in range(12)]), st.integers(1, 11))
def test_the_same_papers_are_chosen_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, shuffled: list[str], in_first_file: int
) -> None:
    folder = tmp_path_factory.mktemp("dump")
    write(folder / "a.parquet", shuffled[:in_first_file])
    write(folder / "b.parquet", shuffled[in_first_file:])
    found = read_unlabelled(folder, rules=ANY, known={}, limit=5)
    everything = hashes(*shuffled)
    assert found.hashes.tolist() == everything[:5].tolist()
    assert hashes(*titles(found)).tolist() == found.hashes.tolist()
    assert found.dropped == {"more than --max-papers": 7}


def test_an_input_without_new_papers_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "dump.parquet", ["A", "B"])
    with pytest.raises(ConfigError, match="0 unlabelled papers are used; left out: 2 in --train; give other papers"):
        read_unlabelled(file, rules=ANY, known={"in --train": hashes("A", "B")}, limit=10)


def test_labels_of_the_input_are_not_read(tmp_path: Path) -> None:
    columns = {"paper_id": ["1"], "title": ["A"], "abstract": ["An abstract."], "label": [["a", "list"]]}
    write_table(tmp_path / "dump.parquet", pa.table(columns))
    found = read_unlabelled(tmp_path / "dump.parquet", rules=ANY, known={}, limit=10)
    assert found.papers["label"].to_pylist() == [None]
