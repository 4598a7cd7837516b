"""Token ids of long texts from as much of the text as they need: a tokenizer holds about 100 bytes per character.

A WordPiece tokenizer as BERT's reads word by word, so what follows a finished word cannot change the word's ids. A text
is read in windows. A letter is put at the end of each window: the word that the letter ends up in may go on after the
window, and all words before that one are finished.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

# A letter that every vocabulary reads as part of a word.
_PROBE = "x"
# Marks that normalisation keeps and may move past their neighbours: a text that is read up to one is read whole.
_MOVED_MARKS = re.compile("[\u302e\u302f\U0001d165\U0001d166\U0001d16d-\U0001d172\U00016ff0\U00016ff1]")
_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


@dataclass(frozen=True, kw_only=True)
class Windows:
    """How a long text is read, in characters.

    Attributes:
        first: Of the first window. Windows grow while they bring no ids.
        longest: Of the longest window.
        reread: A longer word is not read from its beginning again in the next window.
        prefix: Read before any window, for each id wanted: scientific English has 5 to 6 for each.
    """

    first: int = 1 << 12
    longest: int = 1 << 16
    reread: int = 1 << 10
    prefix: int = 8


WINDOWS = Windows()


class LongTextTokenizer:
    """Finds the first token ids of a text of any length without holding all of its tokens.

    Args:
        tokenizer: From `tokenizer.json`; not changed.
        windows: How a text is read.

    Attributes:
        reads_words: Whether the tokenizer is of the kind whose finished words stay as they are. Only then may a text
            be cut.
    """

    def __init__(self, tokenizer: Tokenizer, windows: Windows = WINDOWS) -> None:
        self._windows = windows
        settings = json.loads(tokenizer.to_str())
        self.reads_words = _reads_words(settings)
        self._specials: list[str] = [token["content"] for token in settings["added_tokens"]]
        self._longest_word: int = settings["model"].get("max_input_chars_per_word", 0)
        self._tokenizer: Tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        mask = self._tokenizer.encode(_PROBE).special_tokens_mask
        ids = self._tokenizer.encode(_PROBE).ids
        first = mask.index(0) if 0 in mask else len(mask)
        last = len(mask) - mask[::-1].index(0) if 0 in mask else len(mask)
        self._before, self._after = ids[:first], ids[last:]

    def encode(self, text: str, *, max_length: int) -> list[int]:
        """Return the ids of a text, special tokens included, cut at `max_length`."""
        wanted = max(max_length - len(self._before) - len(self._after), 0)
        first = self._first_ids(text, wanted) if self.reads_words else self._encode(text).ids
        return [*self._before, *first[:wanted], *self._after]

    def _first_ids(self, text: str, wanted: int) -> list[int]:
        """Return at least `wanted` ids of the text, or all of them."""
        ids: list[int] = []
        carried = ""  # what was read of a word that goes on, in a form that is as good as the whole
        position, size = 0, self._windows.first
        while len(ids) < wanted:
            end = self._outside_specials(text, min(position + size, len(text)))
            window = carried + text[position:end]
            if end == len(text):
                return ids + list(self._encode(window).ids)
            if _MOVED_MARKS.search(window):
                return list(self._encode(text).ids)
            encoding = self._encode(window + _PROBE)
            finished = encoding.word_ids.index(encoding.word_ids[-1])
            start = encoding.offsets[finished][0]
            ids += encoding.ids[:finished]
            going_on = window[start:]
            if len(going_on) <= self._windows.reread:
                position, carried = end - len(going_on), ""
            else:
                position, carried = end, self._shortened_word(going_on)
            if not finished:
                size = min(2 * size, self._windows.longest)
        return ids

    def _encode(self, text: str) -> Any:
        return self._tokenizer.encode(text, add_special_tokens=False)

    def _shortened_word(self, beginning: str) -> str:
        """Return a short text that, as the beginning of a word, gives the same ids: without characters that vanish.

        Of a word that is too long already one character more than the limit is enough: it has the id of [UNK].
        """
        normalised: str = self._tokenizer.normalizer.normalize_str(beginning)
        return normalised[: self._longest_word + 1]

    def _outside_specials(self, text: str, end: int) -> int:
        """Move the end of a window behind a special token such as [SEP] that it would cut."""
        for special in self._specials:
            start = text.find(special, max(end - len(special) + 1, 0), end + len(special) - 1)
            if start >= 0:
                return start + len(special)
        return end


def _reads_words(settings: dict[str, Any]) -> bool:
    """Whether a tokenizer is BERT's kind, with special tokens that can be told from words."""
    kinds = [(settings.get(part) or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model")]
    return kinds == ["BertNormalizer", "BertPreTokenizer", "WordPiece"] and _are_marked(settings["added_tokens"])


def _are_marked(tokens: Sequence[dict[str, Any]]) -> bool:
    """Whether each token starts with a punctuation mark that is in no other place of a token, and has no blank.

    Then no two tokens overlap, and no ordinary word is the beginning of one.
    """
    starts = {token["content"][:1] for token in tokens}
    return starts <= _PUNCTUATION and not any(
        token["normalized"]
        or token["single_word"]
        or starts & set(token["content"][1:])
        or any(character.isspace() for character in token["content"])
        for token in tokens
    )
