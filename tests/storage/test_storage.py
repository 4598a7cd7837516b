import os
import pickle
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from specter_batch.errors import BundleError, FingerprintError, PaperSchemaError, StorageError
from specter_batch.inputs import parquet_inventory
from specter_batch.model.bundle import ModelBundle
from specter_batch.papers.parquet import open_parquet
from specter_batch.storage.files import write_text, written_whole
from specter_batch.storage.location import in_parallel, located, names_in, sizes_in
from specter_batch.storage.url_path import UrlPath
from support.papers_on_disk import paper, write_dump
from support.servers.s3_server import S3Server

_folders = count(1)


@pytest.fixture
def memory() -> UrlPath:
    """Return an unused folder of fsspec's store in memory: for what does not depend on S3's protocol."""
    return UrlPath(f"memory://tests/{next(_folders)}")


@pytest.fixture(params=["memory", "s3"])
def folder(request: pytest.FixtureRequest) -> UrlPath:
    """Return an empty folder of a store."""
    if request.param == "s3":
        return request.getfixturevalue("s3").path("folder")
    return request.getfixturevalue("memory")


def test_a_path_stays_a_path_and_a_file_url_becomes_one() -> None:
    assert located("papers/night") == Path("papers/night")
    assert located("file:///papers/a%20night") == Path("/papers/a night")
    assert str(located("S3://bucket//a/")) == "s3://bucket//a"


def test_what_is_put_is_read_back_listed_and_removed(folder: UrlPath) -> None:
    assert (folder.exists(), names_in(folder), sizes_in(folder)) == (False, set(), {})
    write_text(folder / "a.txt", "whole")
    write_text(folder / "deep/er/b.txt", "there")
    assert names_in(folder) == {"a.txt", "deep"}
    assert sizes_in(folder) == {"a.txt": 5}
    assert folder.below(recursive=True) == {"a.txt": 5, "deep/er/b.txt": 5}
    assert (folder.is_dir(), (folder / "a.txt").is_file(), (folder / "deep").is_file()) == (True, True, False)
    assert ((folder / "a.txt").read_bytes(), (folder / "a.txt").size()) == (b"whole", 5)
    with (folder / "a.txt").open() as stream:
        assert (stream.seek(2), stream.read()) == (2, b"ole")
    (folder / "a.txt").unlink()
    (folder / "a.txt").unlink(missing_ok=True)
    assert names_in(folder) == {"deep"}


def test_what_is_not_there_is_told_as_of_a_local_file(folder: UrlPath) -> None:
    for read in (folder.read_bytes, folder.open):
        with pytest.raises(FileNotFoundError, match="no such file or folder"):
            read()


def test_a_block_that_fails_puts_nothing(folder: UrlPath) -> None:
    with pytest.raises(RuntimeError), written_whole(folder / "a.txt") as partial:
        partial.write_text("half")
        raise RuntimeError
    assert not folder.exists()


def test_only_the_first_of_two_puts_something_new(folder: UrlPath) -> None:
    assert [(folder / "lock").put_new(content) for content in (b"one", b"two")] == [True, False]
    assert (folder / "lock").read_bytes() == b"one"


@pytest.mark.parametrize(
    "pattern", ["", "*.parquet", "*/*.parquet", "date=*/part-[01].parquet", "**/part-?.parquet", "**", "top.parquet"]
)
def test_folders_and_globs_take_the_same_files_as_local_ones(folder: UrlPath, tmp_path: Path, pattern: str) -> None:
    names = ["top.parquet", "top-1.PQ", "_SUCCESS", ".hidden.parquet", "_temporary/x.parquet", "notes.txt", "top/a.pq"]
    names += [f"date=2026-11-2{day}/part-{part}.parquet" for day in (2, 3) for part in range(3)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
        write_text(folder / name, "x")
    here = parquet_inventory(f"{tmp_path}/{pattern}")
    there = parquet_inventory(f"{folder}/{pattern}" if pattern else folder)
    assert [file.name for file in there.files] == [file.name for file in here.files]
    assert (there.ignored, there.failed) == (here.ignored, here.failed)
    assert there.files


def test_an_error_stops_what_is_done_in_parallel() -> None:
    asked: list[int] = []

    def ask(number: int) -> None:
        asked.append(number)
        time.sleep(0.01)
        raise StorageError("down")

    with pytest.raises(StorageError):
        list(in_parallel(ask, range(10_000)))
    assert len(asked) < 1000


def test_nothing_there_is_a_clear_error(folder: UrlPath) -> None:
    with pytest.raises(PaperSchemaError, match="no such file, folder or bucket"):
        parquet_inventory(folder)
    with pytest.raises(PaperSchemaError, match="no parquet files found"):
        parquet_inventory(f"{folder}/*.parquet")
    write_text(folder / "a.parquet", "x")
    with pytest.raises(PaperSchemaError, match="not a usable glob"):
        parquet_inventory(f"{folder}/a**/*.parquet")


def test_only_the_needed_columns_of_a_large_file_are_fetched(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    noise = np.random.default_rng(0).bytes(16 << 20)
    fulltext = [noise[i : i + (1 << 16)] for i in range(0, len(noise), 1 << 16)]
    columns = {"paper_id": [str(i) for i in range(len(fulltext))], "fulltext": fulltext, "title": ["T"] * len(fulltext)}
    pq.write_table(pa.table(columns), tmp_path / "large.parquet", row_group_size=64)
    s3.path("large.parquet").put(tmp_path / "large.parquet")
    fetched: list[int] = []
    fetch = s3fs.S3File._fetch_range

    def count(self: Any, start: int, end: int) -> bytes:
        fetched.append(end - start)
        return bytes(fetch(self, start, end))

    monkeypatch.setattr(s3fs.S3File, "_fetch_range", count)
    with open_parquet(s3.path("large.parquet")) as file:
        assert sum(fetched) < 1 << 17
        assert sum(batch.num_rows for batch in file.iter_batches(columns=["paper_id"])) == len(fulltext)
    assert sum(fetched) < 8 << 20


def test_a_place_travels_to_another_process(s3: S3Server) -> None:
    write_text(s3.path("a.txt"), "whole")
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).read_bytes().decode())"
    path = pickle.dumps(s3.path("a.txt"))
    done = subprocess.run([sys.executable, "-c", code], input=path, capture_output=True, check=True)
    assert done.stdout == b"whole\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_has_connections_of_its_own(s3: S3Server) -> None:
    write_text(s3.path("a.txt"), "whole")
    code = (
        "import multiprocessing, pickle, sys\n"
        "path = pickle.load(sys.stdin.buffer)\n"
        "path.read_bytes()\n"
        "with multiprocessing.get_context('fork').Pool(1) as pool:\n"
        "    print(pool.apply_async(path.read_bytes).get(20))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(s3.path("a.txt")), capture_output=True)
    assert done.stdout == b"b'whole'\n", done.stderr


def test_a_failure_of_the_store_is_told_without_what_the_url_hides(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    place = UrlPath("memory://reader:hunter2@host/in?token=hunter3")

    def fail(*_: object) -> None:
        raise RuntimeError("login with hunter2 at memory://reader:hunter2@host/in?token=hunter3, hunter3, failed")

    monkeypatch.setattr(MemoryFileSystem, "cat_file", fail)
    with pytest.raises(StorageError) as told:
        place.read_bytes()
    assert "hunter" not in f"{told.value} {place} {place!r}"
    assert str(told.value).startswith("memory://host/in: the store cannot be used (RuntimeError: login with ")
    assert told.value.__suppress_context__


def test_a_bundle_is_fetched_once_and_again_when_its_copy_is_spoiled(
    s3: S3Server, tiny_bundle: Path, tmp_path: Path
) -> None:
    url = s3.upload(tiny_bundle, "bundle")
    opened = ModelBundle.open(url)
    assert opened.fingerprint == ModelBundle.open(tiny_bundle).fingerprint
    assert opened.path.parent == tmp_path / "cache/specter-batch/bundles"
    fetched = {path.name: path.stat().st_mtime_ns for path in opened.path.iterdir()}
    ModelBundle.open(str(url))
    assert {path.name: path.stat().st_mtime_ns for path in opened.path.iterdir()} == fetched
    (opened.path / "model.onnx").write_bytes(b"spoiled")
    ModelBundle.open(url)
    assert (opened.path / "model.onnx").read_bytes() == (tiny_bundle / "model.onnx").read_bytes()
    assert [path.name for path in opened.path.parent.iterdir()] == [opened.path.name]


def test_a_spoiled_bundle_in_a_store_is_told_by_its_url(s3: S3Server, tiny_bundle: Path, tmp_path: Path) -> None:
    url = s3.upload(tiny_bundle, "bundle")
    (tmp_path / "wrong").write_bytes(b"wrong")
    (url / "tokenizer.json").put(tmp_path / "wrong")
    with pytest.raises(FingerprintError, match=r"s3://.*/bundle/tokenizer\.json: differs from the file"):
        ModelBundle.open(url)
    (url / "tokenizer.json").unlink()
    with pytest.raises(BundleError, match=r"s3://.*/bundle/tokenizer\.json: a file of the bundle is missing"):
        ModelBundle.open(url)


def test_a_file_that_changes_while_it_is_read_is_an_error(s3: S3Server, tmp_path: Path) -> None:
    rows = [paper(i, abstract=str(os.urandom(4000))) for i in range(600)]
    path = write_dump(tmp_path / "a.parquet", rows, row_group_size=100)
    s3.path("a.parquet").put(path)
    file = open_parquet(s3.path("a.parquet"))
    s3.path("a.parquet").put(write_dump(tmp_path / "a.parquet", rows[::-1], row_group_size=100))
    with pytest.raises(OSError, match=r"a\.parquet"):
        list(file.iter_batches())
