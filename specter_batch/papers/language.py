"""Tell English papers from others: seeded langdetect behind a cheap screen that is exact on the easy cases."""

import re
import threading
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENGLISH, UNKNOWN, UNDECIDED = "en", "unknown", "undecided"

# With fewer words langdetect is often wrong. Of 1,500 English phrases it took 59 % of those of 2 words for another
# language, 17 % of those of 5 words, 3 % of those of 7 words, 1 % of those of 8 or 9 words, and hardly any longer ones.
# Titles of medicine, with their Latin, are a little harder.
MIN_VERDICT_WORDS = 10

# SPECTER reads 512 tokens, about 3,000 characters. langdetect samples its n-grams from all it is given, so a long tail
# in another language could outvote the part that the model reads; and its time grows with the length.
MAX_CHARACTERS = 4000


def _words(words: str) -> frozenset[str]:
    """Return the words as they stand inside and at the head of a sentence.

    Not in capitals: langdetect passes over words in capitals and errs on texts made of them, so those stay in doubt.
    """
    return frozenset(words.split()) | frozenset(words.title().split())


# Function words of English that no other language written in Latin letters uses as often; so no "a", "in", "on", "an".
_ENGLISH = _words(
    "the of and to that this these those we is are was were by with from for which it its be been has have can not "
    "than their such our between into when how"
)

# Function words of the languages that stand beside English in bilingual papers, less those often met in English: "et
# al", "de Broglie", "die", "per". What this list misses shows as a stretch without English words.
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

# Fitted on papers in ten languages, whole, cut short, and mixed with 3 to 50 % of another language, so that the screen
# accepts 98 % of English and langdetect agrees with all that it accepts.
_MIN_WORDS = 20
_MIN_ENGLISH_SHARE = 0.15  # 99 % of abstracts have 0.17 to 0.40; tables of contents and formulas less
_ENGLISH_PER_FOREIGN = 20  # one "van der Waals" is no foreign title
_STRETCH = 20  # English seldom writes twenty words without a function word
_MAX_NON_ASCII_SHARE = 0.01  # room for dashes, names and Greek letters, not for a title full of accents

_WORD = re.compile(r"[^\W\d_]{2,}")
_LATIN = re.compile("[A-z]")
_OTHER_LETTERS = re.compile(r"[^\W\d_\u0000-\u02ff\u1e00-\u1eff]")


def is_plain_english(text: str) -> bool:
    """Say whether a text is English beyond doubt; False means doubt, not another language."""
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


def foreign_script(text: str) -> str | None:
    """Name the script of a text that is mostly written in another alphabet, as "cyrillic", "cjk" or "arabic".

    The bound is langdetect's own: beyond twice as many other letters as Latin ones it drops the Latin ones, and then
    cannot answer English. The script is the surer name, too: langdetect takes a fifth of Chinese abstracts for Korean.
    """
    others = _OTHER_LETTERS.findall(text)
    if not others or len(others) <= 2 * len(_LATIN.findall(text)):
        return None
    # Of the most frequent letter, not the first: it tells Japanese (hiragana) from Chinese (cjk).
    letter = Counter(others).most_common(1)[0][0]
    return unicodedata.name(letter, UNKNOWN).split()[0].lower()


@dataclass(frozen=True, kw_only=True)
class EnglishFilter:
    """Decides whether a paper is in English; the same text gets the same answer in any order, thread and process.

    A paper is judged on title and abstract together, joined by a space or a line break. langdetect weighs the two
    languages of a bilingual paper by length: an English title above a French abstract is French, and the other way
    round the paper is English.

    Attributes:
        seed: For the n-grams that langdetect samples.
    """

    seed: int = 0

    def is_english(self, text: str) -> bool:
        """Say whether a text is in English beyond doubt; a text without letters is not."""
        return self.language(text) == ENGLISH

    def foreign_language(self, text: str) -> str | None:
        """Return the language of a text that is not English; None for English and undecided texts."""
        language = self.language(text)
        return None if language in (ENGLISH, UNDECIDED) else language

    def language(self, text: str) -> str:
        """Return a text's language code, as "en" or "zh-cn", or the name of its script, as "cyrillic".

        A text without letters is "unknown". A text of fewer than `MIN_VERDICT_WORDS` words that langdetect does not
        find English is "undecided": so few words do not say that it is not.
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
        """Return the language of an easy text; None where langdetect has to be asked, which takes 100 times as long."""
        return "en" if is_plain_english(text) else foreign_script(text)

    def _detect(self, text: str) -> str:
        from langdetect import LangDetectException

        detector = _detector_factory().create()
        detector.seed = self.seed  # each detector draws from its own generator, seeded anew for each text
        detector.append(text)
        try:
            return str(detector.detect())
        except LangDetectException:  # no letters, or none of a known alphabet
            return UNKNOWN


_factory: Any = None
_factory_lock = threading.Lock()


def _detector_factory() -> Any:
    """Load langdetect's profiles once, at the first text in doubt: it takes half a second.

    A factory of our own, because langdetect's global one is not safe to load from several threads, carries a seed that
    others may change, and takes the profiles in whatever order the file system lists them.
    """
    global _factory
    with _factory_lock:
        if _factory is None:
            from langdetect import DetectorFactory
            from langdetect.detector_factory import PROFILES_DIRECTORY

            factory = DetectorFactory()
            profiles = sorted(Path(PROFILES_DIRECTORY).iterdir())
            factory.load_json_profile([profile.read_text(encoding="utf-8") for profile in profiles])
            _factory = factory
        return _factory
