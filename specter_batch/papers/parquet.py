"""Papers in parquet: the columns, the canonical schema, and the one text of a paper."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from specter_batch.errors import ConfigError, PaperSchemaError, StorageError
from specter_batch.inputs.partitions import shown_partitions
from specter_batch.papers.missing_text import missing_values
from specter_batch.papers.parquet_file import local_source
from specter_batch.storage.location import Location
from specter_batch.storage.url_path import UrlPath

# By these, files that `embed` wrote are told from files of papers.
EMBEDDING = "embedding"
EMBED_METADATA = {b"encoder", b"pooling", b"text_template"}
WRITTEN_BY_EMBED = "embeddings that `specter-batch embed` wrote"

NO_PARTITIONS: Mapping[str, str | None] = MappingProxyType({})

PAPER_SCHEMA = pa.schema(
    [("paper_id", pa.string()), ("title", pa.string()), ("abstract", pa.string()), ("label", pa.string())]
)

# Names under which each column is looked for, in this order, when the user does not name one.
DETECTED_NAMES: Mapping[str, tuple[str, ...]] = {
    "paper_id": ("paper_id", "pid", "id", "corpusid"),
    "title": ("title",),
    "abstract": ("abstract",),
    "label": ("label", "class_label", "labels"),
}

# As the name of the label column: read no labels, even if there is a column that holds some.
NO_LABELS = "none"

# Characters of a text that are hashed or normalised at once.
PART_CHARACTERS = 1 << 16

# Of each column of a file in a store, held at once.
STREAMED_BYTES = 4 << 20

# SPECTER reads title and abstract as one sequence, parted by the tokenizer's separator token.
TEXT_TEMPLATE = "{title}[SEP]{abstract}"


class LabelColumnError(PaperSchemaError):
    """The label column cannot be read as text; who does not need true labels can go without them."""


@dataclass(frozen=True, kw_only=True)
class PaperColumns:
    """The input's column names; None means: detect it (`DETECTED_NAMES`).

    As `label`, `none` or an empty name means: read no labels.
    """

    paper_id: str | None = None
    title: str | None = None
    abstract: str | None = None
    label: str | None = None

    def candidates(self, column: str) -> tuple[str, ...]:
        """Return the names under which a canonical column is looked for, in this order; none if it is not wanted."""
        wanted = getattr(self, column)
        if column == "label" and wanted is not None and wanted.strip().lower() in ("", NO_LABELS):
            return ()
        return (wanted,) if wanted else DETECTED_NAMES[column]

    def resolve_without_need_of_labels(
        self, schema: pa.Schema, *, where: str, partitions: Mapping[str, str | None] = NO_PARTITIONS
    ) -> tuple[dict[str, str], str | None]:
        """Map the names as `resolve` does, but leave out a label column that cannot be read as text.

        Args:
            schema: The file's.
            where: The file, for messages.
            partitions: As in `resolve`.

        Returns:
            The names, and what is wrong with the label column, or None.

        Raises:
            PaperSchemaError: As in `resolve`, for the other columns.
        """
        try:
            return self.resolve(schema, where=where, partitions=partitions), None
        except LabelColumnError as error:
            without = replace(self, label=NO_LABELS)
            return without.resolve(schema, where=where, partitions=partitions), str(error)

    def resolve(
        self, schema: pa.Schema, *, where: str, partitions: Mapping[str, str | None] = NO_PARTITIONS
    ) -> dict[str, str]:
        """Map canonical names to this schema's names; `label` is left out when the input has none.

        A partition is a column too, if the file has no column of its name: the label is looked for among them, the
        others only if the user names one.

        Args:
            schema: The file's.
            where: The file, for messages.
            partitions: Columns that the names of the file's folders give, and their values.

        Raises:
            PaperSchemaError: A column is missing or of a type that cannot be read as text.
            LabelColumnError: It is the label column, and the other columns are good.
        """
        resolved: dict[str, str] = {}
        for field in fields(self):
            candidates = self.candidates(field.name)
            needed = field.name != "label" or (bool(candidates) and self.label is not None)
            partitioned = partitions if getattr(self, field.name) or field.name == "label" else NO_PARTITIONS
            found = next((name for name in candidates if name in schema.names or name in partitioned), None)
            if found in schema.names:
                kind = LabelColumnError if field.name == "label" else PaperSchemaError
                if schema.names.count(found) > 1:
                    raise kind(f"{where}: has {schema.names.count(found)} columns named {found}; rename them")
                _check_type(schema.field(found), canonical=field.name, where=where)
            if found is not None:
                resolved[field.name] = found
            elif needed:
                option = f"--{field.name.replace('_', '-')}-column"
                raise PaperSchemaError(
                    f"{where}: no column for {field.name}: expected {' or '.join(candidates)}, "
                    f"got {', '.join(schema.names) or 'no columns'}{shown_partitions(partitions)}; "
                    f"name it with {option}"
                )
        return resolved


def _check_type(field: pa.Field, *, canonical: str, where: str) -> None:
    in_dictionary = pa.types.is_dictionary(field.type)
    kind = field.type.value_type if in_dictionary else field.type
    textual = (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or (pa.types.is_string_view(kind) and not in_dictionary)  # which pyarrow cannot decode
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_null(kind)
    )
    whole = pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0 and not in_dictionary)
    whole_numbers_too = canonical in ("paper_id", "label")
    if not (textual or (whole_numbers_too and whole)):
        expected = "text or whole numbers" if whole_numbers_too else "text"
        floats = whole_numbers_too and pa.types.is_floating(kind)  # what pandas makes of numbers with gaps
        hint = "; write it as text or, from pandas, as Int64" if floats else ""
        kind_of_error = LabelColumnError if canonical == "label" else PaperSchemaError
        raise kind_of_error(f"{where}: column {field.name} should hold {expected}, got {field.type}{hint}")


def open_parquet(path: Location) -> pq.ParquetFile:
    """Open a parquet file and read its footer; of a file in a store, only what is read later is fetched.

    Raises:
        PaperSchemaError: The file is empty, corrupt or no parquet at all.
    """
    # A column chunk of a local file is read whole; one of a store is streamed, however large it is.
    buffer = STREAMED_BYTES if isinstance(path, UrlPath) else 0
    try:
        source = path.open() if isinstance(path, UrlPath) else local_source(path)
        file = pq.ParquetFile(source, buffer_size=buffer)
        dictionaries = [field.name for field in file.schema_arrow if pa.types.is_dictionary(field.type)]
        # Asked for as such, dictionaries come undecoded, and bytes that are not UTF-8 cost their rows, not the file.
        return pq.ParquetFile(source, buffer_size=buffer, read_dictionary=dictionaries) if dictionaries else file
    except FileNotFoundError:
        raise PaperSchemaError(f"{path}: the file is gone; was it moved while the job ran?") from None
    except StorageError as error:
        raise PaperSchemaError(str(error)) from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        size = path.size() if isinstance(path, UrlPath) else path.stat().st_size if path.exists() else 0
        what = "the file is empty" if size == 0 else f"not a readable parquet file ({_first_line(error)})"
        raise PaperSchemaError(f"{path}: {what}; write it again or move it away") from error


def is_from_embed(schema: pa.Schema) -> bool:
    """Say whether a parquet file is one that `specter-batch embed` wrote: it holds embeddings and no papers."""
    return EMBEDDING in schema.names and (schema.metadata or {}).keys() >= EMBED_METADATA


@dataclass(frozen=True, kw_only=True)
class PaperBatch:
    """Papers in the canonical schema.

    Attributes:
        table: `PAPER_SCHEMA`, bytes that are not UTF-8 replaced by U+FFFD.
        invalid_unicode: `(n_papers,)` bool, True where id, title or abstract held such bytes.
    """

    table: pa.Table
    invalid_unicode: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return int(self.table.num_rows)


def read_papers(
    file: pq.ParquetFile,
    columns: Mapping[str, str],
    *,
    where: str,
    batch_rows: int,
    row_groups: list[int] | None = None,
    partitions: Mapping[str, str | None] = NO_PARTITIONS,
) -> Iterator[PaperBatch]:
    """Stream a file's papers, reading only the needed columns.

    Args:
        file: From `open_parquet`.
        columns: From `PaperColumns.resolve`.
        where: The file's name, for messages.
        batch_rows: Most papers held at once.
        row_groups: Only these row groups; all when None.
        partitions: As given to `PaperColumns.resolve`.

    Raises:
        PaperSchemaError: A row group cannot be decoded.
    """
    wanted = [name for name in columns.values() if name in file.schema_arrow.names]
    # Row groups one at a time: asked for all, the reader holds the pages of many.
    for group in range(file.num_row_groups) if row_groups is None else row_groups:
        try:
            for batch in file.iter_batches(batch_rows, row_groups=[group], columns=wanted):
                yield canonical_papers(batch, columns, partitions)
        except (pa.ArrowException, OSError) as error:
            what = f"row group {group} cannot be decoded ({_first_line(error)})"
            raise PaperSchemaError(f"{where}: {what}; write the file again") from error


def canonical_papers(
    batch: pa.RecordBatch, columns: Mapping[str, str], partitions: Mapping[str, str | None] = NO_PARTITIONS
) -> PaperBatch:
    """Give a batch of any accepted column types the canonical schema; columns it lacks are partitions."""
    invalid = np.zeros(batch.num_rows, dtype=np.bool_)
    arrays: list[pa.Array] = []
    for name in PAPER_SCHEMA.names:
        if name not in columns:
            arrays.append(pa.nulls(batch.num_rows, pa.string()))
            continue
        if columns[name] not in batch.schema.names:
            arrays.append(pa.array([partitions[columns[name]]] * batch.num_rows, pa.string()))
            continue
        text, broken = _as_text(batch.column(columns[name]))
        if name != "label":
            invalid |= broken
            text = text if name == "paper_id" else _without_missing(text)
        arrays.append(text)
    return PaperBatch(table=pa.table(arrays, schema=PAPER_SCHEMA), invalid_unicode=invalid)


def _without_missing(texts: pa.Array) -> pa.Array:
    """Return a column with null where words or invisible characters stand for nothing; white space stays as it is."""
    missing = missing_values(texts)
    if missing.any():
        missing &= np.asarray(pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0), False))
    return pc.if_else(pa.array(missing), None, texts) if missing.any() else texts


def _as_text(array: pa.Array) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Cast to string and say which values were not UTF-8 (parquet readers do not check)."""
    valid = np.zeros(len(array), dtype=np.bool_)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_integer(array.type) or pa.types.is_decimal(array.type) or pa.types.is_null(array.type):
        return array.cast(pa.string()), valid
    raw = array.cast(pa.large_binary())
    try:
        text = raw.cast(pa.large_string())
        return text.cast(pa.string()), valid
    except pa.ArrowInvalid:
        values = raw.to_pylist()
        decoded = [None if value is None else value.decode("utf-8", errors="replace") for value in values]
        broken = [text is not None and value != text.encode() for value, text in zip(values, decoded, strict=True)]
        return pa.array(decoded, pa.string()), np.array(broken, dtype=np.bool_)


def check_template(template: str) -> str:
    """Return the template if it names `{title}` and `{abstract}` once each and nothing else.

    Raises:
        ConfigError: It does not.
    """
    if sorted(re.findall(r"\{[^{}]*\}", template)) != ["{abstract}", "{title}"]:
        raise ConfigError(f"a text template holds {{title}} and {{abstract}} once each, got {template!r}")
    return template


def paper_text(title: str | None, abstract: str | None, template: str = TEXT_TEMPLATE) -> str:
    """Join a title and an abstract into the one text that the tokenizer reads; a missing part is empty."""
    head, middle, tail, abstract_first = _parts(template)
    first, second = (title or "").strip(), (abstract or "").strip()
    if abstract_first:
        first, second = second, first
    return f"{head}{first}{middle}{second}{tail}"


@cache
def _parts(template: str) -> tuple[str, str, str, bool]:
    """Return what stands before, between and after the two parts, and whether the abstract comes first."""
    head, middle, tail = re.split(r"\{(?:title|abstract)\}", template)
    return head, middle, tail, template.index("{abstract}") < template.index("{title}")


def text_hash(text: str) -> str:
    """Return 32 hex digits (128 bits of BLAKE2b) of a text: equal for equal texts only."""
    digest = hashlib.blake2b(digest_size=16)
    for start in range(0, len(text), PART_CHARACTERS):  # of a long text no second copy is made
        digest.update(text[start : start + PART_CHARACTERS].encode())
    return digest.hexdigest()


def normalised_text_hash(text: str) -> int:
    """Return 64 bits of a text's hash after folding case, punctuation and spacing, for the leak check.

    Two printings of one paper often differ in nothing else.
    """
    digest = hashlib.blake2b(digest_size=8)
    joint = b""
    for part in _parts_of(text):
        folded = unicodedata.normalize("NFKC", part).casefold()
        for word in re.finditer(r"\w+", folded):
            digest.update(joint + word[0].encode())
            joint = b" "
    return int.from_bytes(digest.digest(), "big")


def _parts_of(text: str) -> Iterator[str]:
    """Cut a long text before blanks: no word and no composed character goes over one."""
    start = 0
    while len(text) - start > PART_CHARACTERS:
        end = text.rfind(" ", start + 1, start + PART_CHARACTERS)
        if end < 0:
            end = text.find(" ", start + PART_CHARACTERS)
            if end < 0:
                break
        yield text[start:end]
        start = end
    yield text[start:] if start else text


def is_blank(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Return `(n_papers,)` bool: the value is missing, by the rule of `missing_text`."""
    return missing_values(column)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
