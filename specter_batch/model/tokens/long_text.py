"""Finds the token ids of long texts without tokenizing the whole text, because a tokenizer needs 100 bytes a character.

A WordPiece tokenizer such as BERT's works word by word, so the text after a complete word cannot change the word's ids.
A text is read in windows, and a letter is appended to each window. The word with that letter may continue after the
window. All words before it are complete.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # batches are also made where no tokenizer is installed
    from tokenizers import Tokenizer

# A letter that every vocabulary reads as part of a word.
_PROBE = "x"
# Combining marks that normalisation may reorder. If the text read so far has one, the whole text is tokenized.
_MOVED_MARKS = re.compile("[\u302e\u302f\U0001d165\U0001d166\U0001d16d-\U0001d172\U00016ff0\U00016ff1]")
_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Sizes of the windows in which a long text is read, in characters.

    Attributes:
        first: Size of the first window. Windows grow as long as they give no ids.
        longest: Size of the longest window.
        reread: Longest unfinished word that the next window reads again from its beginning.
        prefix: Characters read before the first window, per id wanted. Scientific English has 5 to 6 per id.
    """

    first: int = 1 << 12
    longest: int = 1 << 16
    reread: int = 1 << 10
    prefix: int = 8


WINDOWS = Windows()


class LongTextTokenizer:
    """Finds the first token ids of a text of any length without holding all of its tokens.

    Args:
        tokenizer: The tokenizer from `tokenizer.json`. It is not changed.
        windows: Sizes of the windows in which a text is read.

    Attributes:
        reads_words: True if the tokenizer works word by word, as BERT's does. Only then may a text be cut.
        specials: Special tokens, such as [SEP].
        longest_word: Number of characters of the longest word that is split into pieces; 0 if there is no limit.
    """

    def __init__(self, tokenizer: "Tokenizer", windows: Windows = WINDOWS) -> None:
        self._windows = windows
        settings = json.loads(tokenizer.to_str())
        self.reads_words = _reads_words(settings)
        self.specials: list[str] = [token["content"] for token in settings["added_tokens"]]
        self.longest_word: int = settings["model"].get("max_input_chars_per_word", 0)
        self._tokenizer = type(tokenizer).from_str(tokenizer.to_str())
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
        carried = ""  # the beginning of an unfinished word, shortened to a text that gives the same ids
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
        """Return a shorter beginning of a word that gives the same ids, without characters that normalisation removes.

        A word that is longer than the tokenizer's limit is cut to one character more than the limit: its id is [UNK].
        """
        normalised: str = self._tokenizer.normalizer.normalize_str(beginning)
        return normalised[: self.longest_word + 1]

    def _outside_specials(self, text: str, end: int) -> int:
        """Move the end of a window to after a special token such as [SEP] if the window would cut the token."""
        for special in self.specials:
            start = text.find(special, max(end - len(special) + 1, 0), end + len(special) - 1)
            if start >= 0:
                return start + len(special)
        return end


def _reads_words(settings: dict[str, Any]) -> bool:
    """Return whether a tokenizer is like BERT's and its special tokens cannot be confused with words."""
    kinds = [(settings.get(part) or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model")]
    return kinds == ["BertNormalizer", "BertPreTokenizer", "WordPiece"] and _are_marked(settings["added_tokens"])


def _are_marked(tokens: Sequence[dict[str, Any]]) -> bool:
    """Return whether each token starts with a punctuation mark that occurs nowhere else in a token, and has no space.

    Then no two tokens overlap, and no token begins with an ordinary word.
    """
    starts = {token["content"][:1] for token in tokens}
    return starts <= _PUNCTUATION and not any(
        token["normalized"]
        or token["single_word"]
        or starts & set(token["content"][1:])
        or any(character.isspace() for character in token["content"])
        for token in tokens
    )
