from pathlib import Path

import pyarrow.parquet as pq
import pytest

from specter_jobs.dumps.record_output import PAPERS, FileSizes, RecordWriter

SMALL = FileSizes(rows=10, group_rows=4, group_characters=100)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / PAPERS).mkdir()
    return tmp_path


def write(out: Path, sizes: list[int], name: str = "a") -> RecordWriter:
    with RecordWriter(out, PAPERS, name, sizes=SMALL) as writer:
        for number, size in enumerate(sizes):
            assert writer.place == divmod(number, 10)
            writer.add((str(number), "T", "A", None, "jsonl", 2020), characters=size)
    return writer


@pytest.mark.parametrize("n_rows", [0, 1, 4, 9, 10, 11, 20, 25])
def test_files_hold_all_rows_in_order_and_never_too_many(out: Path, n_rows: int) -> None:
    writer = write(out, [1] * n_rows)
    assert [file.rows for file in writer.files] == [10] * (n_rows // 10) + ([n_rows % 10] if n_rows % 10 else [])
    found = [value for file in writer.files for value in pq.read_table(out / file.name)["paper_id"].to_pylist()]
    assert found == [str(number) for number in range(n_rows)]
    for file in writer.files:
        assert (out / file.name).stat().st_size == file.size


def test_long_texts_are_written_sooner(out: Path) -> None:
    (file,) = write(out, [10, 95, 1, 1, 1, 1, 1]).files
    metadata = pq.read_metadata(out / file.name)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [2, 4, 1]


def test_the_same_rows_give_the_same_bytes(out: Path) -> None:
    first, second = write(out, [5] * 25, "a"), write(out, [5] * 25, "b")
    assert [file.sha256 for file in first.files] == [file.sha256 for file in second.files]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_no_file_at_all(out: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), RecordWriter(out, PAPERS, "a", sizes=SMALL) as writer:
        for number in range(17):
            writer.add((str(number), "T", None, None, "jsonl", None))
        raise error
    assert list((out / PAPERS).iterdir()) == []
