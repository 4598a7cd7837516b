import bz2
import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from specter_jobs.dumps.inputs import InputCount, content_of, opened

TEXT = b"".join(b"line %d\n" % n for n in range(50_000))


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstd, "": bytes}


@pytest.mark.parametrize("ending", COMPRESS)
def test_files_are_decompressed_counted_and_hashed_on_their_way(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(COMPRESS[ending](TEXT))
    told: list[int] = []
    count = InputCount()
    with opened(path, count, told.append) as stream:
        assert b"".join(stream) == TEXT
    assert (count.disk_bytes, count.text_bytes) == (path.stat().st_size, len(TEXT))
    assert sum(told) == path.stat().st_size
    assert count.content == content_of(path, told.append)


def test_gzip_members_one_after_another_are_all_read(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(TEXT) + gzip.compress(b"more"))
    with opened(path, InputCount(), lambda _: None) as stream:
        assert stream.read() == TEXT + b"more"


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".zst"])
def test_a_truncated_file_is_an_error(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(COMPRESS[ending](TEXT)[:-5])
    with pytest.raises(OSError, match="cut off or damaged"), opened(path, InputCount(), lambda _: None) as stream:
        stream.read()


def test_a_wrong_checksum_is_an_error(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(TEXT))
    data[-8] ^= 1
    path = tmp_path / "a.gz"
    path.write_bytes(data)
    with pytest.raises(OSError, match="cut off or damaged"), opened(path, InputCount(), lambda _: None) as stream:
        stream.read()


def test_what_was_unpacked_under_its_old_name_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(TEXT)
    with opened(path, InputCount(), lambda _: None) as stream:
        assert stream.read() == TEXT


def test_the_hash_is_of_the_whole_file_even_if_a_reader_stops_early(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(TEXT * 20))
    count = InputCount()
    with opened(path, count, lambda _: None) as stream:
        stream.readline()
    assert count.content == content_of(path, lambda _: None)
    assert count.disk_bytes == path.stat().st_size
