"""Texts on which two tokenizers may differ. All of them are made here, and none is written by an author."""

from collections.abc import Sequence

# Blocks of Unicode: first and last code point. They cover scripts, marks, symbols and characters without a shape.
_BLOCKS = (
    *((0x00, 0x7F), (0x80, 0xFF), (0x100, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F)),
    *((0x530, 0x58F), (0x590, 0x5FF), (0x600, 0x6FF), (0x700, 0x7BF), (0x900, 0x97F), (0x980, 0x9FF)),
    *((0xA00, 0xA7F), (0xA80, 0xAFF), (0xB00, 0xBFF), (0xC00, 0xC7F), (0xC80, 0xCFF), (0xD00, 0xDFF)),
    *((0xE00, 0xEFF), (0xF00, 0xFFF), (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137F)),
    *((0x13A0, 0x13FF), (0x1780, 0x17FF), (0x1800, 0x18AF), (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x206F)),
    *((0x2070, 0x218F), (0x2190, 0x23FF), (0x2460, 0x27BF), (0x3000, 0x30FF), (0x3130, 0x33FF), (0x3400, 0x4DBF)),
    *((0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xF8FF), (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFE6F)),
    *((0xFE70, 0xFEFF), (0xFF00, 0xFFFF), (0x10330, 0x1034F), (0x16FE0, 0x16FFF), (0x1D100, 0x1D1FF)),
    *((0x1D400, 0x1D7FF), (0x1E900, 0x1E95F), (0x1F1E6, 0x1F1FF), (0x1F300, 0x1FAFF), (0x20000, 0x2FA1F)),
    *((0xE0000, 0xE007F), (0x10FFF0, 0x10FFFF)),
)
_CHARACTERS_OF_A_BLOCK = 48

_ODD = (
    "",
    " ",
    " \t\r\n \x0b\x0c\x1c\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000 ",
    "a\x0bb\x0cc\x1cd\x85e\xa0f\u2003g\u2028h\u3000i",
    "a\x00b\x01c\x7fd\x80e\xadf\u200bg\u200dh\u2060i\ufeffj\ufffdk\ufffel",
    "x\u0301\u0327 \u0301x \u0301 e\u0302\u0301 \u1ebf q\u0323\u0307 q\u0307\u0323 \u0344 \u0340\u0374\u037e",
    "\u302e\u302f\U0001d165\U0001d16d a\u302e b\U0001d165\U0001d16d",
    "\u1112\u1161\u11ab\u1100\u1173\u11af \ud55c\uae00 \u314e\u314f\u3134",
    "\u0130I\u0131\u017f\u1e9e\xdf\u03a3\u03c3\u03c2 \u039f\u0394\u039f\u03a3 \u01c5 \u0149 \ufb03 \u212b \u2126",
    "\U0001f469\u200d\U0001f52c\U0001f44d\U0001f3fd\U0001f1e9\U0001f1ea 1\ufe0f\u20e3 \u2764\ufe0f",
    "p<0.05, x\u00b2\u2265\u00bd mg\u00b7kg\u207b\u00b9 (95\u202f% CI: 1.2\u20133.4)",
    "\u201cquoted\u201d \u2018it\u2019s\u2019 \u2026 \u2014 \u00ab\u00bb \u2032\u2033",
    "https://doi.org/10.1000/x_y-z?a=1&b=2#c \\alpha_{i}^{2} $\\mathcal{O}(n\\log n)$ C\u2086H\u2081\u2082O\u2086",
    "UPPER lower MiXeD don't co-operate U.S.A. e.g., etc... --- *** 1,234.5e-6 3D 2nd",
)  # fmt: skip


def hard_texts(*, specials: Sequence[str], longest_word: int, max_length: int) -> list[str]:
    """Return texts on which tokenizers may differ.

    Args:
        specials: The tokenizer's special tokens, such as [SEP].
        longest_word: Number of characters of the longest word that the tokenizer splits.
        max_length: Largest number of tokens of a text.
    """
    limit = longest_word or 100
    words = [letter * length for letter in "aé中" for length in (limit - 1, limit, limit + 1, 2 * limit)]
    long = ["word " * (max_length + more) for more in range(-4, 2)]
    return [
        *_ODD,
        *(text for first, last in _BLOCKS for text in _texts_of_block(first, last)),
        *(text for special in specials for text in _with_special(special)),
        *(f"a {word} b" for word in words),
        *(f"{'e' * (limit - 1)}\u0301{'x' * more}" for more in (0, 1, 2)),
        *long,
        "x" * 20_000,
        "The river, measured in 2,019; " * 1_000,
    ]


def _texts_of_block(first: int, last: int) -> tuple[str, str]:
    """Return characters of a block as words of one to five letters, and then as one word."""
    step = max((last - first) // _CHARACTERS_OF_A_BLOCK, 1)
    characters = [chr(point) for point in range(first, last + 1, step) if not 0xD800 <= point < 0xE000]
    words: list[str] = []
    start = 0
    while start < len(characters):
        length = 1 + len(words) % 5
        words.append("".join(characters[start : start + length]))
        start += length
    return " ".join(words), f"a{''.join(characters)}Z"


def _with_special(special: str) -> tuple[str, ...]:
    """Return texts in which an author wrote a special token, or a part of one."""
    return (
        f"a{special}b {special} c{special}{special}\n{special}",
        f"{special[:-1]} {special[1:]} {special.lower()} {special.title()} {special[:2]}\u0301{special[2:]}",
    )
