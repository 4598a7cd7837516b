"""DataFrames and Arrow data go in, and the same kind with the same rows comes out, whatever they hold."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specter_batch import Classifier
from specter_batch.errors import PaperSchemaError
from support.papers_on_disk import ENGLISH, GERMAN, paper

ADDED = ["label", "score", "runner_up", "margin", "reject_reason", "reject_detail"]


def frame(*rows: dict[str, Any], **changes: Any) -> pd.DataFrame:
    return pd.DataFrame([paper(i, **row) for i, row in enumerate(rows)]).assign(**changes)


def two(dtype: Any = object) -> pd.DataFrame:
    """Return one good paper and one without a title, with columns of a pandas type."""
    return frame({}, {"title": None}).astype({"title": dtype, "abstract": dtype})


KINDS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda papers: papers,
    "polars": pl.from_pandas,
    "table": lambda papers: pa.Table.from_pandas(papers, preserve_index=False),
    "batch": lambda papers: pa.RecordBatch.from_pandas(papers, preserve_index=False),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [0, 1, 200])
def test_the_same_kind_comes_back_with_the_same_rows(classifier: Classifier, kind: str, rows: int) -> None:
    plain = frame(*({"title": None if i % 7 == 3 else f"Trial {i}"} for i in range(max(rows, 1)))).iloc[:rows]
    papers = KINDS[kind](plain.assign(year=np.arange(rows)))
    labelled = classifier.predict(papers)
    assert type(labelled) is type(papers)
    as_pandas = labelled if kind == "pandas" else labelled.to_pandas()
    assert list(as_pandas.columns) == ["paper_id", "title", "abstract", "year", *ADDED]
    assert as_pandas["paper_id"].tolist() == plain["paper_id"].tolist()
    assert as_pandas["year"].tolist() == list(range(rows))
    assert as_pandas["label"].isna().tolist() == as_pandas["score"].isna().tolist() == plain["title"].isna().tolist()
    assert set(as_pandas["reject_reason"].dropna()) <= {"missing_title"}
    assert as_pandas["label"].dropna().isin(classifier.labels).all()


def test_an_index_with_repeated_values_is_kept_and_the_input_is_not_changed(classifier: Classifier) -> None:
    papers = frame({}, {"title": ""}, {})
    papers.index = pd.Index(["b", "a", "b"], name="key")
    before = papers.copy()
    labelled = classifier.predict(papers)
    pd.testing.assert_frame_equal(labelled[papers.columns], before)
    pd.testing.assert_frame_equal(papers, before)
    assert labelled["reject_reason"].isna().tolist() == [True, False, True]
    assert labelled["reject_detail"].tolist()[1] == "empty"


def test_what_pandas_keeps_about_a_frame_is_kept(classifier: Classifier) -> None:
    papers = frame({}, {})
    papers.attrs = {"source": ["a"]}
    labelled = classifier.predict(papers)
    assert labelled.attrs == {"source": ["a"]}
    labelled.attrs["source"].append("b")
    assert papers.attrs == {"source": ["a"]}


def test_metadata_and_types_of_an_arrow_table_are_kept(classifier: Classifier) -> None:
    schema = pa.schema([("title", pa.large_string()), ("abstract", pa.string_view()), ("n", pa.int8())], {b"by": b"me"})
    table = pa.table([["A title"], [ENGLISH], [3]], schema=schema)
    labelled = classifier.predict(table)
    assert labelled.select(["title", "abstract", "n"]).equals(table, check_metadata=True)
    assert labelled.schema.metadata == {b"by": b"me"}


@pytest.mark.parametrize(
    "dtype",
    [
        object,
        "str",
        "string[python]",
        "string[pyarrow]",
        pd.ArrowDtype(pa.string()),
        pd.ArrowDtype(pa.large_string()),
        "category",
        pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string())),
    ],
)
def test_every_pandas_type_of_text_can_be_read(classifier: Classifier, dtype: Any) -> None:
    expected = classifier.predict(two())
    found = classifier.predict(two(dtype))
    assert found["score"].tolist()[0] == expected["score"].tolist()[0]
    assert found["reject_reason"].tolist()[1] == "missing_title"
    assert [str(kind) for kind in found.dtypes[:3]] == [str(kind) for kind in two(dtype).dtypes]


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(["Outcomes of trial number 0"])])
def test_every_polars_type_of_text_can_be_read(classifier: Classifier, dtype: Any) -> None:
    papers = pl.from_pandas(two()).with_columns(pl.col("title").cast(dtype))
    labelled = classifier.predict(papers)
    assert labelled["reject_reason"].to_list() == [None, "missing_title"]
    assert labelled["title"].dtype == papers["title"].dtype


def test_values_that_are_not_text_are_rejected_with_their_type_and_bytes_are_read(classifier: Classifier) -> None:
    titles = [
        "A good title",
        b"Caf\xc3\xa9 au lait",
        b"\xff\xfe",
        1984,
        ["list"],
        None,
        np.nan,
        pd.NA,
        pd.NaT,
        "\ud800",
    ]
    labelled = classifier.predict(pd.DataFrame({"title": pd.Series(titles, dtype=object), "abstract": ENGLISH}))
    found = list(zip(labelled["reject_reason"].tolist(), labelled["reject_detail"].tolist(), strict=True))
    assert labelled["label"].notna().tolist() == [True, True, *[False] * 8]
    assert found[2][0] == found[9][0] == "invalid_unicode"
    assert found[3:5] == [("missing_title", "int instead of text"), ("missing_title", "list instead of text")]
    assert found[5:9] == [("missing_title", "null")] * 4
    assert labelled["title"].tolist()[3:5] == [1984, ["list"]]


def test_an_abstract_of_nothing_but_nan_is_missing(classifier: Classifier) -> None:
    labelled = classifier.predict(frame({}, {}).assign(abstract=np.nan))
    assert labelled["reject_reason"].tolist() == ["missing_abstract"] * 2


def test_ids_are_not_read(classifier: Classifier) -> None:
    papers = frame({}, {}).assign(paper_id=pd.Categorical(["x", None]))
    labelled = pd.concat([classifier.predict(papers), classifier.predict(papers.assign(paper_id=["x", "x"]))])
    assert labelled["label"].notna().all()


def test_a_column_of_true_labels_is_never_replaced(classifier: Classifier) -> None:
    papers = frame({}).assign(label="true", score=7)
    with pytest.raises(PaperSchemaError, match=r"label, score; choose other names with prefix='predicted_'"):
        classifier.predict(papers)
    labelled = classifier.predict(papers, prefix="predicted_")
    assert labelled["label"].tolist() == ["true"]
    assert list(labelled.columns[-6:]) == [f"predicted_{name}" for name in ADDED]
    with pytest.raises(PaperSchemaError, match="prefix='model_'"):
        classifier.predict(labelled, prefix="predicted_")


def test_columns_with_other_names_can_be_given(classifier: Classifier) -> None:
    papers = frame({}).rename(columns={"title": "name", "abstract": "summary"})
    labelled = classifier.predict(papers, title_column="name", abstract_column="summary")
    assert labelled["label"].tolist() == classifier.predict(frame({}))["label"].tolist()


@pytest.mark.parametrize(
    ("papers", "error", "message"),
    [
        (
            frame({}).drop(columns="title"),
            PaperSchemaError,
            r"no column for title: .* got paper_id, abstract; ",
        ),
        (pd.DataFrame(), PaperSchemaError, "got no columns"),
        (frame({}).assign(abstract=3), PaperSchemaError, r"abstract should hold text, got Int64.*abstract_column='…'"),
        (pa.table({"title": [1], "abstract": ["a"]}), PaperSchemaError, "title should hold text, got int64"),
        (pd.concat([frame({})] * 2, axis=1), PaperSchemaError, "same name"),
        (
            pa.table([["a"], ["b"], ["c"]], names=["title", "title", "abstract"]),
            PaperSchemaError,
            "2 columns are named",
        ),
        (frame({}).pipe(lambda df: pd.concat({"a": df}, axis=1)), PaperSchemaError, "MultiIndex.*'_'.join"),
        (pl.LazyFrame({"title": ["a"]}), TypeError, r"papers is a polars.LazyFrame.*pass papers.collect\(\)"),
        ([paper(0)], TypeError, r"got list; pass pandas.DataFrame\(papers\)"),
        (paper(0), TypeError, r"got dict; pass pandas.DataFrame\(papers\)"),
        (["a title"], TypeError, r"got list; pass pandas.DataFrame\({'title'"),
        ("papers.parquet", TypeError, "got str; pass"),
        (pd.Series(["a title"]), TypeError, "a pandas or polars DataFrame.*, got pandas.Series$"),
        (None, TypeError, "got NoneType"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_to_do(
    classifier: Classifier, papers: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        classifier.predict(papers)


# Streams


def table_of(rows: int) -> pa.Table:
    return pa.Table.from_pylist([paper(i, title=None if i == 3 else f"Trial number {i}") for i in range(rows)])


def test_a_reader_gives_a_reader_that_labels_while_it_is_read(classifier: Classifier) -> None:
    table = table_of(1200)
    read: list[int] = []

    def batches() -> Any:
        for batch in table.to_batches(max_chunksize=200):
            read.append(batch.num_rows)
            yield batch

    labelled = classifier.predict(pa.RecordBatchReader.from_batches(table.schema, batches()), top_k=2)
    assert isinstance(labelled, pa.RecordBatchReader)
    assert read == []
    first = labelled.read_next_batch()
    assert len(read) < 4
    rest = pa.Table.from_batches([first, *labelled])
    assert rest.equals(classifier.predict(table, top_k=2))
    assert max(batch.num_rows for batch in rest.to_batches()) <= 200


def test_a_dataset_gives_a_reader(classifier: Classifier, tmp_path: Any) -> None:
    for part in range(3):
        pq.write_table(table_of(5), tmp_path / f"{part}.parquet")
    labelled = classifier.predict(ds.dataset(tmp_path)).read_all()
    assert labelled["paper_id"].to_pylist() == [f"p{i}" for i in range(5)] * 3
    assert labelled["reject_reason"].null_count == 12


def test_an_error_of_a_stream_reaches_the_reader(classifier: Classifier) -> None:
    def batches() -> Any:
        yield table_of(300).to_batches()[0]
        raise OSError("the disk is gone")

    labelled = classifier.predict(pa.RecordBatchReader.from_batches(table_of(1).schema, batches()))
    with pytest.raises(OSError, match="the disk is gone"):
        labelled.read_all()
    with pytest.raises(PaperSchemaError, match="no column for title"):
        classifier.predict(pa.table({"a": [1]}).to_reader())


def test_a_reader_that_is_left_alone_ends_its_thread(classifier: Classifier) -> None:
    labelled = classifier.predict(table_of(1000).to_reader(max_chunksize=100))
    labelled.read_next_batch()
    assert any(thread.name.startswith("prepare") for thread in threading.enumerate())
    del labelled
    assert not any(thread.name.startswith("prepare") for thread in threading.enumerate())
    assert classifier.predict(frame({}))["label"].notna().all()


# Properties

TEXTS = st.one_of(
    st.sampled_from(["Outcomes of a trial", ENGLISH, GERMAN, "", "  ", "NaN", "\ud800", "Ein Titel"]),
    st.text(max_size=20),
)
VALUES = st.one_of(TEXTS, st.none(), st.floats(), st.integers(), st.binary(max_size=4), st.just(pd.NA))
ROWS = st.lists(st.tuples(VALUES, VALUES, st.integers(0, 3)), max_size=12)


@settings(deadline=None, max_examples=60)
@given(rows=ROWS, kind=st.sampled_from(["pandas", "polars"]))
def test_any_mixture_of_rows_keeps_order_index_and_columns(classifier: Classifier, rows: Any, kind: str) -> None:
    columns = {"title": [row[0] for row in rows], "abstract": [row[1] for row in rows]}
    index = [row[2] for row in rows]
    if kind == "pandas":
        papers = pd.DataFrame({name: pd.Series(column, dtype=object) for name, column in columns.items()})
        papers.index = pd.Index(index, dtype="int64")
        labelled = classifier.predict(papers)
        assert labelled.index.equals(papers.index)
        # The very same objects: comparing would stumble over NaN and NA.
        for name in columns:
            assert [id(one) for one in labelled[name]] == [id(one) for one in papers[name]]
        labels, reasons = labelled["label"].notna().tolist(), labelled["reject_reason"].notna().tolist()
    else:
        texts = {name: [_polars_text(value) for value in column] for name, column in columns.items()}
        papers = pl.DataFrame(
            {**texts, "index": index}, schema={"title": pl.String, "abstract": pl.String, "index": int}
        )
        labelled = classifier.predict(papers)
        assert labelled.select(papers.columns).equals(papers)
        labels, reasons = labelled["label"].is_not_null().to_list(), labelled["reject_reason"].is_not_null().to_list()
    assert len(labels) == len(rows)
    assert all(label != reason for label, reason in zip(labels, reasons, strict=True))
    for at in range(len(rows)):
        alone = classifier.predict(papers[at : at + 1])["label"].to_list()
        assert labels[at] == isinstance(alone[0], str)


def _polars_text(value: Any) -> str | None:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None
