"""Detects whether papers are in English: a fast screen decides the easy cases, seeded langdetect the others."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

ENGLISH, UNKNOWN, UNDECIDED = "en", "unknown", "undecided"

# With fewer words langdetect is often wrong. In a test with 1,500 English phrases, it misread 59 % of the phrases of 2
# words, 17 % with 5 words, 3 % with 7 words, 1 % with 8 or 9 words, and hardly any longer ones. Medical titles, which
# contain Latin words, are a little harder.
MIN_VERDICT_WORDS = 10

# SPECTER reads 512 tokens, about 3,000 characters. langdetect samples n-grams from the whole text, so a long end in
# another language could outweigh the part that the model reads. Its run time also grows with the length.
MAX_CHARACTERS = 4000


def _words(words: str) -> frozenset[str]:
    """Return the words in lower case and with a capital first letter.

    Words in all capitals are left out: langdetect ignores them and is often wrong on texts in capitals, so the screen
    leaves such texts undecided.
    """
    return frozenset(words.split()) | frozenset(words.title().split())


# English function words that are rarer in all other languages with Latin letters; so not "a", "in", "on" and "an".
_ENGLISH = _words(
    "the of and to that this these those we is are was were by with from for which it its be been has have can not "
    "than their such our between into when how"
)

# Function words of the languages that occur in bilingual papers, without words that are frequent in English texts: "et
# al", "de Broglie", "die", "per". A language that is not in this list is found as a stretch without English words.
_FOREIGN = _words(
    "der das und ist nicht zu den ein eine einer eines einem für mit auf zur zum wird werden sich auch bei beim aus "
    "dieser wie als über zwischen nach ueber warum "  # German
    "les du une dans pour que qui aux ce cette ces avec nous ont entre chez vers "  # French
    "el las del una para con por como más mas "  # Spanish
    "il gli di della dei delle che nel nella sono alla dal sul sulla "  # Italian
    "um uma não mais pela pelo em "  # Portuguese
    "het een voor niet zijn wordt worden ook aan "  # Dutch
    "nie jest są oraz się przez przy dla jako "  # Polish
    "och att som för av ett är og på ikke "  # Swedish, Danish, Norwegian
    "ve bir ile için olarak "  # Turkish
    "yang dengan untuk pada dari adalah dalam"  # Indonesian
)

# These limits were fitted on papers in ten languages: whole, shortened, and mixed with 3 to 50 % of another language.
# The screen accepts 98 % of English papers, and langdetect agrees with every paper that it accepts.
_MIN_WORDS = 20
_MIN_ENGLISH_SHARE = 0.15  # 99 % of abstracts have 0.17 to 0.40; tables of contents and formulas less
_ENGLISH_PER_FOREIGN = 20  # one "van der Waals" does not make a title foreign
_STRETCH = 20  # English texts rarely have twenty words without a function word
_MAX_NON_ASCII_SHARE = 0.01  # allows dashes, names and Greek letters, but not a title full of accents

_WORD = re.compile(r"[^\W\d_]{2,}")
_LATIN = re.compile("[A-z]")
_OTHER_LETTERS = re.compile(r"[^\W\d_\u0000-\u02ff\u1e00-\u1eff]")


def is_plain_english(text: str) -> bool:
    """Return whether a text is certainly English; False means that this is not certain."""
    words = text.split()
    if len(words) < _MIN_WORDS:
        return False
    english = sum(map(_ENGLISH.__contains__, words))
    foreign = sum(map(_FOREIGN.__contains__, words))
    if english < _MIN_ENGLISH_SHARE * len(words) or english < _ENGLISH_PER_FOREIGN * foreign:
        return False
    if not text.isascii() and len(text) - len(text.encode("ascii", "ignore")) > _MAX_NON_ASCII_SHARE * len(text):
        return False
    starts = range(0, len(words) - _STRETCH + 1, _STRETCH)
    return not any(_ENGLISH.isdisjoint(words[start : start + _STRETCH]) for start in starts)


def are_plain_english(texts: pa.StringArray) -> npt.NDArray[np.bool_]:
    """Return for which texts `is_plain_english` is certainly true, `(n_texts,)` bool.

    It is not certain of some texts with letters outside ASCII. A column takes less than half the time of its texts one
    by one, and other threads of Python run meanwhile.
    """
    split = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(texts))  # untrimmed texts would have empty words
    ends = split.offsets.to_numpy()
    known = _known_words()
    kind = pc.fill_null(pc.index_in(split.values, value_set=known), len(known)).to_numpy()
    english = _running_count(kind < len(_ENGLISH))
    foreign = _running_count((kind >= len(_ENGLISH)) & (kind < len(known)))
    words, english_words, foreign_words = np.diff(ends), np.diff(english[ends]), np.diff(foreign[ends])
    stretches = words // _STRETCH
    text = np.repeat(np.arange(len(texts)), stretches)
    within = np.arange(len(text)) - np.repeat(np.cumsum(stretches) - stretches, stretches)
    starts = ends[:-1][text] + _STRETCH * within
    plain = words >= _MIN_WORDS
    plain &= (english_words >= _MIN_ENGLISH_SHARE * words) & (english_words >= _ENGLISH_PER_FOREIGN * foreign_words)
    plain[text[english[starts + _STRETCH] == english[starts]]] = False
    characters = pc.utf8_length(texts).to_numpy()
    # A character outside ASCII has at least one byte more than one in ASCII.
    plain &= pc.binary_length(texts).to_numpy() - characters <= _MAX_NON_ASCII_SHARE * characters
    return np.asarray(plain)


@cache
def _known_words() -> pa.StringArray:
    """Return the words that count. Made when needed: pyarrow imports pandas with the first value that it converts."""
    return pa.array([*sorted(_ENGLISH), *sorted(_FOREIGN)])


def _running_count(values: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return how many of the values before each position are true, `(n_values + 1,)`."""
    return np.concatenate([[0], np.cumsum(values)])


def foreign_script(text: str) -> str | None:
    """Return the script of a text that is mostly not in Latin letters, such as "cyrillic", "cjk" or "arabic".

    The limit is langdetect's: if there are more than twice as many other letters as Latin ones, it drops the Latin
    letters and can no longer answer English. The script is also more reliable than langdetect's language: langdetect
    reports Korean for a fifth of Chinese abstracts.
    """
    others = _OTHER_LETTERS.findall(text)
    if not others or len(others) <= 2 * len(_LATIN.findall(text)):
        return None
    # The most frequent letter, not the first, because it distinguishes Japanese (hiragana) from Chinese (cjk).
    letter = Counter(others).most_common(1)[0][0]
    return unicodedata.name(letter, UNKNOWN).split()[0].lower()


@dataclass(frozen=True, kw_only=True)
class EnglishFilter:
    """Decides whether a paper is in English. The answer for a text does not depend on order, thread or process.

    A paper is judged on its title and abstract together, joined by a space or a line break. langdetect weighs the
    languages of a bilingual paper by length. An English title with a French abstract is therefore French, and a French
    title with an English abstract is English.

    Attributes:
        seed: Random seed for the n-grams that langdetect samples.
    """

    seed: int = 0

    def is_english(self, text: str) -> bool:
        """Return whether a text was found to be English; a text without letters is not."""
        return self.language(text) == ENGLISH

    def foreign_language(self, text: str) -> str | None:
        """Return the language of a text that is not English; None for English and for undecided texts."""
        language = self.language(text)
        return None if language in (ENGLISH, UNDECIDED) else language

    def language(self, text: str) -> str:
        """Return a text's language code, such as "en" or "zh-cn", or the name of its script, such as "cyrillic".

        A text without letters is "unknown". If langdetect finds a text of fewer than `MIN_VERDICT_WORDS` words not
        English, the result is "undecided", because so few words are not enough to be sure.
        """
        text = text[:MAX_CHARACTERS]
        screened = self.screen(text)
        if screened is not None:
            return screened
        detected = self._detect(text)
        if detected in (ENGLISH, UNKNOWN) or len(_WORD.findall(text)) >= MIN_VERDICT_WORDS:
            return detected
        return UNDECIDED

    def screen(self, text: str) -> str | None:
        """Return the language of an easy text; None if langdetect is needed, which takes 100 times as long."""
        return "en" if is_plain_english(text) else foreign_script(text)

    def _detect(self, text: str) -> str:
        from specter_batch.papers.detection import detect  # langdetect is loaded when a text needs it

        return detect(text, seed=self.seed) or UNKNOWN  # None: the text has no letters of a known alphabet
