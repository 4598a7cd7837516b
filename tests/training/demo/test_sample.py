from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from langdetect import DetectorFactory, detect
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.svm import LinearSVC

from specter_batch.errors import ConfigError
from specter_batch.papers.columns import PAPER_SCHEMA, PaperColumns
from specter_batch.papers.labels import MESH
from specter_batch.papers.parquet import open_parquet, read_papers
from specter_batch.papers.text import normalised_text_hash, paper_text
from specter_batch.training.demo.sample import (
    MIN_PAPERS,
    N_NIGHT_FILES,
    NIGHT_DIRT,
    Row,
    SamplePaths,
    make_papers,
    write_sample,
)
from specter_batch.training.demo.sentences import FOREIGN_ABSTRACTS
from specter_batch.training.demo.topics import TOPICS


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> SamplePaths:
    return write_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def night_files(paths: SamplePaths) -> list[list[Row]]:
    return [rows_of(file) for file in sorted(paths.night.iterdir())]


@pytest.fixture(scope="module")
def night(night_files: list[list[Row]]) -> list[Row]:
    return [row for rows in night_files for row in rows]


def rows_of(path: Path) -> list[Row]:
    """Read a file as the job does."""
    file = open_parquet(path)
    columns = PaperColumns().resolve(file.schema_arrow, where=str(path))
    return [
        row for batch in read_papers(file, columns, where=str(path), batch_rows=64) for row in batch.table.to_pylist()
    ]


def is_usable(row: Row) -> bool:
    return bool(row["paper_id"] and row["title"] and (row["abstract"] or "").strip())


def text_of(row: Row) -> str:
    return paper_text(row["title"], row["abstract"], "{title} {abstract}")


def hashes(rows: list[Row]) -> set[int]:
    return {normalised_text_hash(text_of(row)) for row in rows}


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.parquet"))}


def test_every_class_has_a_vocabulary_and_related_classes() -> None:
    assert tuple(sorted(TOPICS)) == tuple(sorted(MESH.names))
    assert all(other in TOPICS and other != label for label, topic in TOPICS.items() for other in topic.related)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("first", 7), ("again", 7), ("other", 8)):
        write_sample(tmp_path / name, n_papers=200, seed=seed)
    first, again, other = (bytes_of(tmp_path / name) for name in ("first", "again", "other"))
    assert len(first) == 2 + N_NIGHT_FILES
    assert first == again
    assert all(first[name] != other[name] for name in first)


def test_a_longer_table_begins_with_the_shorter_one() -> None:
    assert make_papers(n_papers=80).slice(0, 50) == make_papers(n_papers=50)


def test_train_and_val_are_clean_and_begin_the_table_of_make_papers(paths: SamplePaths) -> None:
    train, val = pq.read_table(paths.train), pq.read_table(paths.val)
    assert (train.num_rows, val.num_rows) == (paths.n_train, paths.n_val) == (900, 225)
    assert train.schema.equals(PAPER_SCHEMA)
    assert pa.concat_tables([train, val]) == make_papers().slice(0, 1125)
    assert all(map(is_usable, rows_of(paths.train) + rows_of(paths.val)))


def test_every_split_holds_every_class_in_uneven_shares(paths: SamplePaths, night: list[Row]) -> None:
    for rows in (rows_of(paths.train), rows_of(paths.val), night):
        sizes = Counter(row["label"] for row in rows)
        assert set(sizes) == set(MESH.names)
        assert 1.2 < max(sizes.values()) / min(sizes.values()) < 3


def test_abstracts_are_of_three_to_eight_sentences() -> None:
    abstracts = make_papers(n_papers=500)["abstract"].to_pylist()
    assert {3, 8} <= {abstract.count(". ") + 1 for abstract in abstracts} <= set(range(3, 9))


def test_no_text_stands_twice_outside_the_dirt(paths: SamplePaths) -> None:
    assert len(hashes(make_papers().to_pylist())) == 1500
    assert not hashes(rows_of(paths.train)) & hashes(rows_of(paths.val))


def test_the_night_holds_its_clean_papers_and_the_dirt(paths: SamplePaths, night: list[Row]) -> None:
    assert paths.n_night_clean == 375
    assert len(night) == paths.n_night_clean + NIGHT_DIRT.n_rows
    assert hashes(make_papers().slice(1125).to_pylist()) < hashes(night)


def test_the_night_leaks_only_the_papers_planted(paths: SamplePaths, night: list[Row]) -> None:
    train = hashes(rows_of(paths.train))
    assert sum(normalised_text_hash(text_of(row)) in train for row in night) == NIGHT_DIRT.seen_in_training == 10
    assert not hashes(rows_of(paths.val)) & hashes(night)


def test_the_night_is_rejected_as_foretold(paths: SamplePaths, night: list[Row]) -> None:
    DetectorFactory.seed = 0
    found: Counter[str] = Counter()
    seen: set[str | None] = set()
    languages: Counter[str] = Counter()
    for row in night:
        if row["paper_id"] is None:
            found["null_id"] += 1
        elif not row["title"]:
            found["missing_title"] += 1
        elif not is_usable(row):
            found["missing_abstract"] += 1
        elif row["paper_id"] in seen:
            found["duplicate_id"] += 1
        else:
            seen.add(row["paper_id"])
            languages[detect(text_of(row)[:500])] += 1
    found["not_english"] = languages.total() - languages["en"]
    assert found == NIGHT_DIRT.rejects
    assert languages["en"] == paths.n_night_clean + NIGHT_DIRT.n_labelled
    assert {language: count for language, count in languages.items() if language != "en"} == {
        foreign.language: 2 for foreign in FOREIGN_ABSTRACTS
    }


def test_papers_in_other_languages_are_long_enough_to_tell() -> None:
    assert all(len(foreign.abstract) > 200 for foreign in FOREIGN_ABSTRACTS)


def test_duplicates_lie_in_one_file_and_across_files(night_files: list[list[Row]]) -> None:
    places: dict[str, list[tuple[int, str]]] = {}
    for i, rows in enumerate(night_files):
        for row in filter(is_usable, rows):
            places.setdefault(str(row["paper_id"]), []).append((i, text_of(row)))
    kinds: Counter[tuple[bool, bool]] = Counter()
    for copies in places.values():
        if len(copies) > 1:
            (file, text), (other_file, other_text) = copies
            kinds[text == other_text, file == other_file] += 1
    assert kinds == {(True, True): 3, (True, False): 3, (False, True): 2, (False, False): 2}


def test_the_night_holds_one_over_long_text_and_the_unicode_titles(night: list[Row]) -> None:
    assert sum(len((row["abstract"] or "").split()) > 4000 for row in night) == NIGHT_DIRT.over_long
    english = [row for row in night if (row["abstract"] or "").isascii()]
    assert sum(not (row["title"] or "").isascii() for row in english) == NIGHT_DIRT.unicode_title


def test_the_night_files_follow_different_conventions(paths: SamplePaths) -> None:
    files = [open_parquet(path) for path in sorted(paths.night.iterdir())]
    assert len(files) == N_NIGHT_FILES
    types = [file.schema_arrow.field("title").type for file in files]
    assert types == [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.string()]
    assert [file.num_row_groups > 1 for file in files] == [True, False, False, False]
    compressions = [file.metadata.row_group(0).column(0).compression for file in files]
    assert compressions == ["SNAPPY", "ZSTD", "SNAPPY", "UNCOMPRESSED"]
    assert files[3].schema_arrow.names == PAPER_SCHEMA.names[::-1]


@pytest.mark.parametrize("n_papers", [MIN_PAPERS, 137])
def test_a_small_sample_holds_all_the_dirt(tmp_path: Path, n_papers: int) -> None:
    paths = write_sample(tmp_path, n_papers=n_papers)
    assert paths.n_train + paths.n_val + paths.n_night_clean == n_papers
    assert sum(len(rows_of(file)) for file in paths.night.iterdir()) == paths.n_night_clean + NIGHT_DIRT.n_rows


def test_a_sample_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 100 papers, got 99"):
        write_sample(tmp_path, n_papers=99)
    assert not list(tmp_path.iterdir())


def test_a_simple_baseline_learns_the_classes(paths: SamplePaths) -> None:
    train, held_out = rows_of(paths.train), make_papers().slice(paths.n_train).to_pylist()
    words = TfidfVectorizer()
    classifier = LinearSVC(random_state=0).fit(
        words.fit_transform(map(text_of, train)), [row["label"] for row in train]
    )
    predicted = classifier.predict(words.transform(map(text_of, held_out)))
    assert f1_score([row["label"] for row in held_out], predicted, average="macro") > 0.9
