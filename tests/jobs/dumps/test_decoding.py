"""Every compression, in one piece or several, cut off or damaged, and the kinds that are refused with advice."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specter_batch.errors import WrongFormatError
from specter_batch.inputs import take_inventory
from specter_jobs.dumps.decoding import COMPRESSED, REFUSED
from specter_jobs.dumps.inputs import InputCount, content_of, dump_kind, opened, silent

TEXT = b"".join(b"line %d, of a text\n" % n for n in range(5_000))


def with_pyarrow(codec: str) -> Callable[[bytes], bytes]:
    def compress(data: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as stream:
            stream.write(data)
        return bytes(sink.getvalue())

    return compress


def pzstd(data: bytes) -> bytes:
    """Pack as pzstd does: before each frame there is a frame to skip, which holds its size."""
    frame = with_pyarrow("zstd")(data)
    return b"\x50\x2a\x4d\x18" + struct.pack("<II", 4, len(frame)) + frame


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".gzip": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": with_pyarrow("zstd"),
    ".zstd": pzstd,
    ".xz": lzma.compress,
    ".lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    ".lz4": with_pyarrow("lz4"),
}


def read(path: Path) -> bytes:
    count = InputCount()
    with opened(path, count, silent) as stream:
        data = stream.read()
    assert count.content == content_of(path, silent)
    assert (count.disk_bytes, count.text_bytes) == (path.stat().st_size, len(data))
    return data


def test_every_ending_that_is_found_is_read(tmp_path: Path) -> None:
    assert COMPRESS.keys() == COMPRESSED.keys()
    for ending, compress in COMPRESS.items():
        (tmp_path / f"a.jsonl{ending}").write_bytes(compress(TEXT))
    paths = [file.path for file in take_inventory(tmp_path, dump_kind((".jsonl",), what="jsonl")).files]
    assert len(paths) == len(COMPRESS)
    assert all(read(path) == TEXT for path in paths)


@given(
    ending=st.sampled_from(sorted(COMPRESS)),
    pieces=st.lists(st.binary(min_size=1, max_size=3_000), min_size=1, max_size=3),
    named=st.booleans(),
)
def test_pieces_one_after_another_are_all_read_whatever_the_name(
    tmp_path_factory: pytest.TempPathFactory, ending: str, pieces: list[bytes], named: bool
) -> None:
    pieces = [b"text " + piece for piece in pieces]
    path = tmp_path_factory.mktemp("pieces") / (f"a.csv{ending}" if named else "a.csv")
    path.write_bytes(b"".join(COMPRESS[ending](piece) for piece in pieces))
    assert read(path) == b"".join(pieces)


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("cut", [1, 5, 200])
def test_a_file_that_is_cut_off_is_an_error_with_advice(tmp_path: Path, ending: str, cut: int) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(COMPRESS[ending](TEXT)[:-cut])
    with pytest.raises(OSError, match=r"cut off or damaged \(.*\); fetch it again"):
        read(path)


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".zst", ".xz", ".lz4"])
def test_what_follows_the_last_piece_is_not_passed_over(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(COMPRESS[ending](TEXT) + b"lines that somebody appended\n" * 9)
    with pytest.raises(OSError, match="cut off or damaged"):
        read(path)


def test_zeros_between_xz_streams_are_padding(tmp_path: Path) -> None:
    path = tmp_path / "a.xz"
    path.write_bytes(lzma.compress(TEXT) + bytes(8) + lzma.compress(b"more") + bytes(4))
    assert read(path) == TEXT + b"more"


@pytest.mark.parametrize("zeros", [1, 7, 512, 1 << 20])
def test_zeros_after_a_gzip_piece_are_padding(tmp_path: Path, zeros: int) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(TEXT) + bytes(zeros) + gzip.compress(b"more") + bytes(zeros))
    assert read(path) == TEXT + b"more"
    path.write_bytes(gzip.compress(TEXT) + bytes(zeros) + b"x")
    with pytest.raises(OSError, match="damaged"):
        read(path)


def test_a_checksum_behind_what_a_reader_wanted_is_still_checked(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(TEXT * 100))
    data[-8] ^= 1
    (tmp_path / "a.gz").write_bytes(data)
    with pytest.raises(OSError, match="damaged"), opened(tmp_path / "a.gz", InputCount(), silent) as stream:
        stream.readline()


def test_a_window_that_is_too_large_is_named_with_the_command_that_helps(tmp_path: Path) -> None:
    # A frame of zstd --long=31: window of 2 GB, one raw block of 4 bytes that is the last.
    (tmp_path / "a b.zst").write_bytes(b"\x28\xb5\x2f\xfd\x00\xa8" + (4 << 3 | 1).to_bytes(3, "little") + b"text")
    with pytest.raises(OSError, match=r"zstd -d --long=31 'a b\.zst'$"):
        read(tmp_path / "a b.zst")


def tar(compression: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{compression}") as archive:  # type: ignore[call-overload]
        entry = tarfile.TarInfo("papers.jsonl")
        entry.size = len(TEXT)
        archive.addfile(entry, io.BytesIO(TEXT))
    return stream.getvalue()


def archive_of_zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("papers.jsonl", TEXT)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (tar(""), r"is a tar archive; unpack it first: tar -xf a\.jsonl"),
        (tar("gz"), "is a tar archive"),
        (tar("xz"), "is a tar archive"),
        (archive_of_zip(), r"is a zip archive; unpack it first: unzip a\.jsonl"),
        (gzip.compress(archive_of_zip()), "is a zip archive"),
        (gzip.compress(gzip.compress(TEXT)), r"is compressed twice \(gzip, then gzip\); unpack it once"),
        (b"7z\xbc\xaf\x27\x1c\x00\x04", "is a 7-Zip archive"),
        (b"Rar!\x1a\x07\x01\x00", "is a RAR archive"),
        (b"\x1f\x9d\x90", "packed with compress"),
        (b"\xff\x06\x00\x00sNaPpY\x00", "packed with Snappy"),
        (b"PAR1\x15\x04\x15\x00", "is a parquet file; give it to `specter-batch classify` without --format"),
        (b"ORC\x0a\x0b\x03", "is an ORC file"),
        (b"Obj\x01\x04\x14", "is an Avro file"),
        (b"ARROW1\x00\x00\xff\xff", "is an Arrow file"),
        (b"SQLite format 3\x00\x10\x00", "is a SQLite database"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00", "is an Excel workbook"),
    ],
)
def test_what_is_no_text_is_named_with_advice(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(data)
    with pytest.raises(WrongFormatError, match=message):
        read(tmp_path / "a.jsonl")


@pytest.mark.parametrize("head", [b"ORCID,title", b"PAR1,title", b"BZhang,title", b"]id,title", b"Obj,title"])
def test_a_text_that_begins_like_another_kind_is_a_text(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(head)
    assert read(tmp_path / "a.csv") == head


def test_files_that_cannot_be_unpacked_are_found_and_fail(tmp_path: Path) -> None:
    for ending in REFUSED:
        (tmp_path / f"a.jsonl{ending}").write_bytes(b"\x0b\x02\x80\xff")
    paths = [file.path for file in take_inventory(tmp_path, dump_kind((".jsonl",), what="jsonl")).files]
    assert len(paths) == len(REFUSED)
    with pytest.raises(WrongFormatError, match=r"is packed with brotli; unpack it first: brotli -d a\.jsonl\.br"):
        read(tmp_path / "a.jsonl.br")
