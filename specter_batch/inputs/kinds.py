"""Decides by names and first bytes whether a file is data to read, and whether a folder is a table of a data lake.

A file that is not read is data of another kind or no data. Not all rows in the files of a table are its current rows.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from specter_batch.storage.location import Location, is_remote, names_in

HEAD_BYTES = 64

# Files that describe other files. Their names look like data, but they hold none.
DESCRIPTIONS = frozenset(
    {"manifest", "manifest.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "croissant.json"}
    | {"thumbs.db", "desktop.ini"}
)
# Folders that file systems and storage servers create for their own use.
SYSTEM_FOLDERS = frozenset({"lost+found", "$recycle.bin", "system volume information", "@eadir"})
UNFINISHED = frozenset(
    {"tmp", "temp", "partial", "part", "crdownload", "download", "filepart", "incomplete", "inprogress", "aria2"}
    | {"_copying_", "bak", "backup", "old", "orig", "swp", "swo"}
)
CHECKSUMS = frozenset(
    {"crc", "crc32", "md5", "sha1", "sha256", "sha512", "md5sum", "sha1sum", "sha256sum", "sha512sum", "etag", "sig"}
    | {"asc"}
)
# File endings of texts, code and settings. The first bytes of such files are checked for the signature of a format.
DOCUMENTS = frozenset(
    {"md", "rst", "txt", "html", "htm", "pdf", "log", "tex", "doc", "docx", "ppt", "pptx", "png", "jpg", "jpeg", "gif"}
    | {"svg", "webp", "yaml", "yml", "toml", "ini", "cfg", "conf", "lock", "pem", "key", "prom", "json", "geojson"}
    | {"py", "ipynb", "sh", "sql", "r", "js", "css", "npy", "npz", "pt", "bin", "safetensors", "onnx"}
)
# The endings among these that are used for any content.
_ANY_CONTENT = frozenset({"txt", "log", "bin", "json"})
_NAMED: Mapping[str, str] = {
    "parquet": "Parquet", "pq": "Parquet", "jsonl": "JSON Lines", "ndjson": "JSON Lines", "csv": "CSV", "tsv": "TSV",
    "tab": "TSV", "psv": "CSV", "xml": "XML", "nxml": "XML", "arrow": "Arrow", "feather": "Feather", "ipc": "Arrow",
    "orc": "ORC", "avro": "Avro", "lance": "Lance", "xlsx": "Excel", "xls": "Excel", "ods": "OpenDocument",
    "sqlite": "SQLite", "sqlite3": "SQLite", "db": "database", "duckdb": "DuckDB", "pkl": "pickle", "pickle": "pickle",
    "h5": "HDF5", "hdf5": "HDF5", "dta": "Stata", "sav": "SPSS", "sas7bdat": "SAS", "rds": "R", "rdata": "R",
    "bib": "BibTeX", "ris": "RIS", "nbib": "PubMed citation",
}  # fmt: skip
_PACKED: Mapping[str, str] = {
    "gz": "gzip", "gzip": "gzip", "bgz": "gzip", "z": "compress", "bz2": "bzip2", "bzip2": "bzip2", "xz": "xz",
    "lzma": "xz", "zst": "Zstandard", "zstd": "Zstandard", "lz4": "LZ4", "br": "Brotli", "snappy": "Snappy",
    "sz": "Snappy", "lzo": "LZO", "zip": "zip archive", "7z": "7-Zip archive", "rar": "RAR archive",
    "tar": "tar archive", "tgz": "tar archive", "tbz": "tar archive", "tbz2": "tar archive", "txz": "tar archive",
}  # fmt: skip
# Kind of file -> the format of `ingest` and `classify --format` that reads it.
_INGESTED: Mapping[str, str] = {"CSV": "csv", "TSV": "csv", "JSON Lines": "jsonl"}
# First bytes -> the format that begins with them.
_SIGNATURES: Mapping[bytes, str] = {
    b"PAR1": "Parquet", b"PARE": "Parquet", b"ARROW1": "Arrow", b"FEA1": "Feather", b"ORC": "ORC",
    b"Obj\x01": "Avro", b"SQLite format 3": "SQLite", b"\x89HDF": "HDF5", b"\x1f\x8b": "gzip", b"BZh": "bzip2",
    b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "Zstandard", b"\x04\x22\x4d\x18": "LZ4", b"PK\x03\x04": "zip archive",
    b"7z\xbc\xaf": "7-Zip archive", b"Rar!": "RAR archive",
}  # fmt: skip
_TEXTS: Mapping[str, re.Pattern[bytes]] = {
    "JSON": re.compile(rb'(?:\xef\xbb\xbf)?\s*(?:\[\s*)?\{\s*"'),
    "XML": re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|!DOCTYPE [A-Z]|PubmedArticleSet)"),
}
# A text in which a title is one of several columns.
_CSV_HEADER = re.compile(rb"[^\0\n]*(title[^\0\n]*[,;\t]|[,;\t][^\0\n]*title)", flags=re.IGNORECASE)

Verdict = Literal["read", "ignored", "failed", "sniff"]

DELTA, ICEBERG, HUDI = "Delta Lake", "Iceberg", "Hudi"
DELTA_LOG, HUDI_FOLDER, ICEBERG_METADATA = "_delta_log", ".hoodie", "metadata"
# A URL with more slashes than this has a folder below its bucket, as in `s3://bucket/folder`.
LEAST_SLASHES = 2
_STALE = "its folder also holds rows that were deleted or replaced"

Partitions = Mapping[str, str | None]


@dataclass(frozen=True, kw_only=True)
class InputKind:
    """The files that a command reads.

    Attributes:
        what: Name of this kind of files in messages, such as "parquet files".
        looked_for: File names of this kind in messages, such as "*.parquet and *.pq".
        wanted: Function that returns whether a file name is of this kind.
        signature: Format in `_SIGNATURES` of files that are read whatever their name; None if the kind has no
            signature.
        text: Format in `_TEXTS` of the files' content. A file that begins like it under another name is not ignored,
            but fails.
        papers_of_ingest: True to read papers that `ingest` wrote below the input.
    """

    what: str
    looked_for: str
    wanted: Callable[[str], bool]
    signature: str | None = None
    text: str | None = None
    papers_of_ingest: bool = False


PARQUET = InputKind(
    what="parquet files",
    looked_for="*.parquet and *.pq",
    wanted=lambda name: name.lower().endswith((".parquet", ".pq")),
    signature="Parquet",
    papers_of_ingest=True,
)


def is_hidden(name: str) -> bool:
    """Return whether a name is hidden by the convention of Hadoop and Spark; a partition `_year=2026` is not."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def by_name(name: str, kind: InputKind) -> tuple[Verdict, str]:
    """Return the verdict on a file by its name, and the reason; `sniff` means that its first bytes decide."""
    lowered = name.lower()
    last = lowered.rpartition(".")[2] if "." in lowered else ""
    if lowered in DESCRIPTIONS:
        return "ignored", "describes the folder or its files, and holds no papers, by its name"
    if kind.wanted(name) or kind.wanted(name.partition("?")[0]):  # wget keeps the query of a link in the file's name
        return "read", ""
    if last in CHECKSUMS:
        return "ignored", "a checksum or signature, by its name"
    if last in UNFINISHED or lowered.endswith("~"):
        return "ignored", "unfinished, temporary or a backup, by its name"
    return "sniff", ""


def by_head(name: str, head: bytes, kind: InputKind) -> tuple[Verdict, str]:
    """Return the verdict by its first bytes on a file whose name does not decide, and the reason."""
    signature = next((what for magic, what in _SIGNATURES.items() if head.startswith(magic)), None)
    if signature is not None and signature == kind.signature:
        return "read", ""
    endings = [_without_suffix(piece) for piece in name.lower().split(".")[1:]]
    passed_over = f"not one of the {kind.what}, by its name and its first bytes"
    is_text_of_kind = kind.text is not None and _TEXTS[kind.text].match(head) is not None
    shows_data = signature is not None or is_text_of_kind
    if _is_document(endings) and not (shows_data and endings[-1] in _ANY_CONTENT):
        return "ignored", passed_over
    named = next((what for ending in endings if (what := _NAMED.get(ending) or _PACKED.get(ending))), None)
    if named is not None or signature is not None:
        return "failed", _other_data(named or signature or "", kind)
    if is_text_of_kind:
        return "failed", (
            f"begins like {kind.text} and has another name than the {kind.what} that are read ({kind.looked_for}); "
            "rename it, or move it away if it holds no papers"
        )
    return "ignored", passed_over


def looks_like_data(name: str, kind: InputKind) -> bool:
    """Return, by its name, whether a file or folder that cannot be opened may hold papers."""
    return by_name(name, kind)[0] == "read" or by_head(name, b"", kind)[0] == "failed"


def how_to_convert(name: str, head: bytes = b"") -> str | None:
    """Return which command converts a file to parquet, by its name or its first bytes; None if no command does."""
    endings = [_without_suffix(piece) for piece in name.lower().split(".")[1:]]
    what = next((_NAMED[ending] for ending in endings if _NAMED.get(ending) in _INGESTED), None)
    if what is not None:
        return _conversion(what)
    if _TEXTS["JSON"].match(head):
        return f"it looks like JSON Lines; {_conversion('JSON Lines')}"
    return f"it looks like CSV; {_conversion('CSV')}" if _CSV_HEADER.match(head) else None


def _conversion(what: str) -> str:
    name = _INGESTED[what]
    return f"convert it with `specter-batch ingest {name} INPUT OUT`, or add --format {name} to classify"


def _is_document(endings: Sequence[str]) -> bool:
    """Return whether a file with these endings is a document, which may be compressed, such as `README.md.gz`."""
    before, last = ["", "", *endings][-2:]
    return last in DOCUMENTS or (last in _PACKED and before in DOCUMENTS - _ANY_CONTENT)


def _without_suffix(piece: str) -> str:
    """Return an ending without the parts that copying adds to it, as in `gz?key=…`, `parquet (1)` and `csv-old`."""
    return re.split(r"[^a-z0-9_]", piece, maxsplit=1)[0]


def _other_data(what: str, kind: InputKind) -> str:
    article = "an" if what.startswith(("A", "E", "O", "HDF", "LZ", "RAR", "RIS", "R ", "S", "X", "xz")) else "a"
    if what == kind.signature:
        return f"has a name of {what} files and other content; write the file again, or move it away"
    can_be_converted = kind is PARQUET and what in _INGESTED
    advice = _conversion(what) if can_be_converted else "unpack or convert it, rename it, or move it away"
    return (
        f"looks like {article} {what if 'archive' in what else what + ' file'}, "
        f"and only {kind.what} are read here ({kind.looked_for}); {advice}"
    )


def table_format(folders: Collection[str], metadata: Collection[str]) -> str | None:
    """Return the table format of a folder, judged by its subfolders and by the names in its folder `metadata`."""
    if DELTA_LOG in folders:
        return DELTA
    if HUDI_FOLDER in folders:
        return HUDI
    if any(name.endswith(".metadata.json") or name == "version-hint.text" for name in metadata):
        return ICEBERG
    return None


def table_around(folder: Location) -> tuple[Location, str] | None:
    """Return the table that contains a folder, and its format; None if no table does or the folder is a table."""
    for parent in _parents(folder):
        try:
            folders = [name for name in (DELTA_LOG, HUDI_FOLDER) if (parent / name).is_dir()]
            format_name = table_format(folders, names_in(parent / ICEBERG_METADATA))
        except OSError:  # without permission to list this folder, it is not checked
            continue
        if format_name is not None:
            return parent, format_name
    return None


def _parents(folder: Location) -> Sequence[Location]:
    if not is_remote(folder):
        return folder.resolve().parents
    parents: list[Location] = []
    while folder.whole_path.count("/") > LEAST_SLASHES and not folder.whole_path.startswith("http"):
        folder = folder.parent
        parents.append(folder)
    return parents


def advice(format_: str) -> str:
    """Return a message about a table format: why its files cannot be read directly, and what to do."""
    if format_ == DELTA:
        return (
            f"is a {DELTA} table: {_STALE}. Install the reader with `pip install 'specter-batch[delta]'`, or write "
            "its current version as plain parquet and give that folder"
        )
    library = {
        ICEBERG: "pyiceberg (`pq.write_table(table.scan().to_arrow(), 'papers.parquet')`)",
        HUDI: "Spark (`spark.read.format('hudi').load(folder).write.parquet('papers')`)",
    }[format_]
    return (
        f"is {'an' if format_ == ICEBERG else 'a'} {format_} table, which is not read: {_STALE}. "
        f"Write its current rows as plain parquet, for example with {library}, and give that"
    )
