"""Makes the text of a paper from title and abstract, hashes texts, and says which values are missing.

A title, an abstract or an id can be missing although its column has a value, such as "NaN". An id is only missing if it
has no visible character, because `NaN` and `null` may be real ids.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from specter_batch.errors import ConfigError

# Number of characters of a text that are hashed or normalised at once.
PART_CHARACTERS = 1 << 16

# SPECTER reads title and abstract as one sequence, with the tokenizer's separator token between them.
TEXT_TEMPLATE = "{title}[SEP]{abstract}"

# Limits on the rows and bytes of the texts that are in memory at once.
GROUP_ROWS = 1024
GROUP_BYTES = 1 << 20
# The bytes of a text hash. `text_hash` writes them as 32 hex digits.
HASH_BYTES = 16

# The exact spellings that pandas, R and SQL write for a missing value, and that pandas reads as missing. A paper titled
# "Null" keeps its title, and one titled "NULL" has no title. NA is not in the list, because it is also a term of many
# fields (nucleic acid, numerical aperture).
SPELLINGS = ("nan", "NaN", "-nan", "-NaN", "None", "null", "NULL", "<NA>", "N/A", "n/a", "#N/A", "#NA", "NaT")

# White space, control characters, zero-width and direction marks, soft hyphens, variation selectors and fillers.
_INVISIBLE = (
    (0x00, 0x20), (0x7F, 0xA0), (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x1680, 0x1680),
    (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2000, 0x200F), (0x2028, 0x202F), (0x205F, 0x206F), (0x2800, 0x2800),
    (0x3000, 0x3000), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF9, 0xFFFB),
    (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
_SPELLED = "|".join(map(re.escape, SPELLINGS))
_PYTHON_CLASS = "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in _INVISIBLE)
_ARROW_CLASS = "".join(rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in _INVISIBLE)
_MISSING = re.compile(rf"[{_PYTHON_CLASS}]*(?:{_SPELLED})?[{_PYTHON_CLASS}]*")
_ARROW_MISSING = rf"\A[{_ARROW_CLASS}]*(?:{_SPELLED})?[{_ARROW_CLASS}]*\z"
_WORD = re.compile(r"\w+")
_ARROW_INVISIBLE = rf"\A[{_ARROW_CLASS}]*\z"


def check_template(template: str) -> str:
    """Return the template if it has `{title}` and `{abstract}` once each and no other field.

    Raises:
        ConfigError: A field is missing, repeated or unknown.
    """
    if sorted(re.findall(r"\{[^{}]*\}", template)) != ["{abstract}", "{title}"]:
        raise ConfigError(f"a text template holds {{title}} and {{abstract}} once each, got {template!r}")
    return template


def paper_text(title: str | None, abstract: str | None, template: str = TEXT_TEMPLATE) -> str:
    """Join a title and an abstract into the text that the tokenizer reads; a missing part is empty."""
    head, middle, tail, abstract_first = template_parts(template)
    first, second = (title or "").strip(), (abstract or "").strip()
    if abstract_first:
        first, second = second, first
    return f"{head}{first}{middle}{second}{tail}"


@cache
def template_parts(template: str) -> tuple[str, str, str, bool]:
    """Return the template's text before, between and after its two fields, and whether the abstract comes first."""
    head, middle, tail = re.split(r"\{(?:title|abstract)\}", template)
    return head, middle, tail, template.index("{abstract}") < template.index("{title}")


def text_hash(text: str) -> str:
    """Return the BLAKE2b hash of a text as 32 hex digits (128 bits)."""
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    for start in range(0, len(text), PART_CHARACTERS):  # so that no second copy of a long text is made
        digest.update(text[start : start + PART_CHARACTERS].encode())
    return digest.hexdigest()


def normalised_text_hash(text: str) -> int:
    """Return a 64-bit hash of a text that ignores case, punctuation and spacing. The leak check uses it.

    Two copies of the same paper often differ only in these.
    """
    digest = hashlib.blake2b(digest_size=8)
    joint = b""
    for part in _parts_of(text):
        if words := normalised_words(part):
            digest.update(joint + words)
            joint = b" "
    return int.from_bytes(digest.digest(), "big")


def words_hash(words: bytes) -> int:
    """Return `normalised_text_hash` of a text from its `normalised_words`."""
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "big")


def normalised_words(text: str) -> bytes:
    """Return the words of a text in lower case, in UTF-8 and separated by single spaces; punctuation is left out."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold())).encode()


def _parts_of(text: str) -> Iterator[str]:
    """Cut a long text before spaces, so that no word and no composed character is cut."""
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


def paper_texts(
    papers: pa.Table, template: str = TEXT_TEMPLATE, *, rows: npt.NDArray[np.int64] | None = None
) -> Iterator[str]:
    """Yield the text of each paper for the model, see `text_columns`.

    All commands make texts from papers with this function, and token ids from texts with `TextEncoder.encode`.
    """
    for texts in text_columns(papers, template, rows=rows):
        yield from texts.to_pylist()


def text_columns(
    papers: pa.Table, template: str = TEXT_TEMPLATE, *, rows: npt.NDArray[np.int64] | None = None
) -> Iterator[pa.LargeStringArray]:
    """Yield the texts of the papers for the model, as columns of up to a thousand papers.

    Each text is that of `paper_text`.

    Args:
        papers: Table with the columns `title` and `abstract`.
        template: Template that joins a title and an abstract into one text.
        rows: Numbers of the rows to read, `(n,)`, in this order; all rows when None.
    """
    columns = papers["title"], papers["abstract"]
    rows = np.arange(papers.num_rows) if rows is None else rows
    head, middle, tail, abstract_first = template_parts(template)
    outer = [pa.scalar(text, pa.large_string()) for text in (head, middle, tail, "")]
    sizes = [pc.fill_null(pc.binary_length(column), 0).to_numpy().astype(np.int64) for column in columns]
    for group in _groups(rows, sizes[0] + sizes[1]):
        together = group[-1] - group[0] == len(group) - 1 and bool((np.diff(group) == 1).all())
        parts = [
            _trimmed(column.slice(group[0], len(group)) if together else column.take(pa.array(group)))
            for column in columns
        ]
        first, second = reversed(parts) if abstract_first else parts
        yield pc.binary_join_element_wise(
            outer[0], first, outer[1], second, outer[2], outer[3], null_handling="replace"
        )


def text_hashes(texts: pa.LargeStringArray) -> bytes:
    """Return the hashes of texts one after another, each as the `HASH_BYTES` bytes that `text_hash` writes in hex."""
    _, offsets, content = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1].tolist()
    data = memoryview(content if content is not None else b"")
    return b"".join(
        [hashlib.blake2b(data[start:stop], digest_size=HASH_BYTES).digest() for start, stop in pairwise(ends)]
    )


def _trimmed(column: pa.ChunkedArray) -> pa.LargeStringArray:
    """Return the texts without white space at their ends. Arrow and `str.strip` remove the same characters."""
    whole = pa.concat_arrays([chunk.cast(pa.large_string()) for chunk in column.chunks])
    return pc.utf8_trim_whitespace(whole)


def _groups(rows: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    start = 0
    while start < len(rows):
        within = np.cumsum(sizes[rows[start : start + GROUP_ROWS]]) <= GROUP_BYTES
        stop = start + max(int(within.sum()), 1)
        yield rows[start:stop]
        start = stop


def is_missing(text: str | None) -> bool:
    """Return whether a value is missing: null, without a visible character, or a word such as "NaN" (`SPELLINGS`)."""
    return text is None or _MISSING.fullmatch(text) is not None


def missing_values(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Return the result of `is_missing` for each value of a text column, `(n_values,)` bool."""
    return _matching(column, _ARROW_MISSING)


def missing_ids(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Return True for each id that is null or has no visible character, `(n_values,)` bool."""
    return _matching(column, _ARROW_INVISIBLE)


def _matching(column: pa.Array | pa.ChunkedArray, pattern: str) -> npt.NDArray[np.bool_]:
    missing = pc.fill_null(pc.match_substring_regex(column, pattern), True)
    return np.asarray(missing.to_numpy(zero_copy_only=False) if isinstance(missing, pa.Array) else missing.to_numpy())
