from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from specter_batch.errors import BundleError
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.papers.text import paper_text
from specter_jobs.database import opened_database, register_parquet, vectors_in
from specter_jobs.output.schema import EMBEDDING, vector_type
from support.papers_on_disk import RunNight, paper, write_dump

GOLDEN_BUNDLE = Path(__file__).parents[2] / "golden" / "bundle_v1"


def labels_of(out: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(file) for file in sorted((out / "labels").glob("*.parquet"))])


def vectors_of(out: Path) -> np.ndarray:
    return np.stack(labels_of(out)[EMBEDDING].to_numpy())


def test_each_label_has_the_vector_of_the_same_pass(
    night: RunNight, tiny_bundle: Path, tmp_path: Path, asked: list[int]
) -> None:
    rows = [paper(i) for i in range(7)] + [paper(2) | {"paper_id": "again"}]
    night(write_dump(tmp_path / "in/a.parquet", rows), embeddings=True, shard_rows=3)
    assert sum(asked) == 7
    table = labels_of(tmp_path / "out")
    assert table.schema.field(EMBEDDING).type == pa.list_(pa.float16(), 32)
    assert table[EMBEDDING].null_count == 0
    bundle = ModelBundle.open(tiny_bundle)
    texts = [paper_text(row["title"], row["abstract"], bundle.text_template) for row in rows]
    classifier = OnnxClassifier(bundle, device=Device(kind="cpu"))
    expected = classifier.logits_and_embeddings(bundle.text_encoder().encode(texts))[1].astype(np.float16)
    classifier.close()
    np.testing.assert_array_equal(vectors_of(tmp_path / "out"), expected)
    assert len({vector.tobytes() for vector in expected}) == 7
    without = night(tmp_path / "in/a.parquet", out=tmp_path / "without", shard_rows=3)
    assert without.report.rows.labelled == 7
    assert table.drop_columns(EMBEDDING).equals(labels_of(tmp_path / "without"))


def test_vectors_of_an_earlier_night_are_reused(night: RunNight, tmp_path: Path, asked: list[int]) -> None:
    first, second = [paper(i) for i in range(6)], [paper(i) for i in (9, 4, 2)]
    night(write_dump(tmp_path / "in1/a.parquet", first), out=tmp_path / "one", embeddings=True, shard_rows=4)
    asked.clear()
    later = write_dump(tmp_path / "in2/a.parquet", second)
    night(later, out=tmp_path / "two", embeddings=True, reuse=[tmp_path / "one"])
    assert sum(asked) == 1
    np.testing.assert_array_equal(vectors_of(tmp_path / "two")[1:], vectors_of(tmp_path / "one")[[4, 2]])


def test_a_night_without_vectors_lends_no_labels_to_one_with_them(
    night: RunNight, tmp_path: Path, asked: list[int]
) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(5)])
    night(dump, out=tmp_path / "one")
    report = night(dump, out=tmp_path / "two", embeddings=True, reuse=[tmp_path / "one"]).report
    assert sum(asked) == 10
    assert report.reuse is not None
    assert any("5" in line and "without vectors, which --embeddings needs" in line for line in report.reuse.sentences())
    night(dump, out=tmp_path / "three", embeddings=True, reuse=[tmp_path / "one", tmp_path / "two"])
    assert sum(asked) == 10
    np.testing.assert_array_equal(vectors_of(tmp_path / "three"), vectors_of(tmp_path / "two"))


def test_asking_for_vectors_later_asks_the_model_again_and_other_columns_keep_them(
    night: RunNight, tmp_path: Path, asked: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(i) for i in range(5)])
    night(dump)
    before = labels_of(tmp_path / "out")
    night(dump, embeddings=True)
    assert sum(asked) == 10
    assert labels_of(tmp_path / "out").drop_columns(EMBEDDING).equals(before)
    vectors = vectors_of(tmp_path / "out")
    night(dump, embeddings=True, top_k=2)
    assert sum(asked) == 10
    np.testing.assert_array_equal(vectors_of(tmp_path / "out"), vectors)
    assert labels_of(tmp_path / "out")["top_labels"].null_count == 0


def test_a_bundle_without_vectors_stops_the_night_before_out_is_made(night: RunNight, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "in/a.parquet", [paper(1)])
    with pytest.raises(BundleError, match="give labels and no embeddings"):
        night(dump, bundle=GOLDEN_BUNDLE, embeddings=True)
    assert not (tmp_path / "out").exists()


def test_vectors_go_through_the_database_as_they_are(tmp_path: Path) -> None:
    vectors = np.array([[1.5, -2, 65504], [np.inf, 0, 6e-8], [0.1, 0.2, 0.3]], np.float16)
    for name, there in (("a", [True, True]), ("b", [False, True]), ("c", [])):
        held = vectors[: len(there)]
        column = pa.FixedSizeListArray.from_arrays(
            pa.array(held.ravel()), 3, mask=pa.array([not one for one in there], pa.bool_())
        )
        pq.write_table(pa.table({"n": np.arange(len(there)), EMBEDDING: column}), tmp_path / f"{name}.parquet")
    pq.write_table(pa.table({"n": [7]}), tmp_path / "d.parquet")
    files = [tmp_path / f"{name}.parquet" for name in "abcd"]
    with opened_database(tmp_path) as database:
        with register_parquet(database, "v", files, ["n"], optional=pa.schema([(EMBEDDING, vector_type(3))])):
            database.execute("CREATE TABLE held AS SELECT * FROM v")
        found = database.sql("SELECT * FROM held").to_arrow_table()
    assert found["n"].to_pylist() == [0, 1, 0, 1, 7]
    assert found[EMBEDDING].is_valid().to_pylist() == [True, True, False, True, False]
    kept = vectors_in(found[EMBEDDING].drop_null()).reshape(-1, 3)
    np.testing.assert_array_equal(kept, vectors[[0, 1, 1]])
