"""When a title, an abstract or an id is missing although its column holds something.

An id is missing only if nothing of it is visible: `NaN` and `null` are ids that a catalogue may really give out.
"""

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

# What pandas, R and SQL write for a value that is not there, in exactly these spellings. They are those that pandas
# itself reads as missing, so a paper titled "Null" stays, and one titled "NULL" has no title. NA is left out: it is
# a word of many fields (nucleic acid, numerical aperture) as well.
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
_ARROW_INVISIBLE = rf"\A[{_ARROW_CLASS}]*\z"


def is_missing(text: str | None) -> bool:
    """Say whether a value is none: null, without a visible character, or another program's word for a missing value."""
    return text is None or _MISSING.fullmatch(text) is not None


def missing_values(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Return `(n_values,)` bool: what `is_missing` says of each value of a column of texts."""
    return _matching(column, _ARROW_MISSING)


def missing_ids(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Return `(n_values,)` bool: the id is null or has no visible character."""
    return _matching(column, _ARROW_INVISIBLE)


def _matching(column: pa.Array | pa.ChunkedArray, pattern: str) -> npt.NDArray[np.bool_]:
    missing = pc.fill_null(pc.match_substring_regex(column, pattern), True)
    return np.asarray(missing.to_numpy(zero_copy_only=False) if isinstance(missing, pa.Array) else missing.to_numpy())
