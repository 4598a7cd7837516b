"""Small WordPiece tokenizers, and texts that are hard to tokenize."""

from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,-[]<>中日가éΣσςß"
WORDS = ["the", "river", "##s", "sep", "cl", "##ing", "liver", *LETTERS, *(f"##{letter}" for letter in LETTERS)]

# What a cut may fall into: words, words too long, marks that vanish or stay, letters that change their length,
# characters that vanish, blanks of all kinds, special tokens and parts of them, and text without any blank.
PIECES = st.one_of(
    st.sampled_from(
        [
            *[
                "river",
                "the ",
                " ",
                "\n",
                "\t",
                "\u3000",
                "\xa0",
                "\u2028",
                ".",
                "-",
                "[",
                "]",
                "[SEP]",
                "[CLS]",
                "[SE",
            ],
            *[
                "P]",
                "[SEP",
                "[MASK]",
                "[sep]",
                "中",
                "日本",
                "가",
                "İ",
                "ß",
                "ﬁ",
                "≯",
                "é",
                "e\u0301",
                "\u0301",
                "\u0301a",
            ],
            *[
                "\x00",
                "\ufffd",
                "\u00ad",
                "\u200b",
                "\u034f",
                "\u302e",
                "\U0001d165",
                "\U0001d16d",
                "🧬",
                "مر",
                "ς",
                "Σ",
            ],
        ]
    ),
    st.sampled_from("aé\u0301\x00 中.").flatmap(lambda one: st.integers(1, 40).map(lambda count: one * count)),
    st.integers(95, 110).map(lambda count: "x" * count),
    st.text(max_size=8),
)
TEXTS = st.lists(PIECES, max_size=30).map("".join)


def small_tokenizer(*, lowercase: bool = True, accents: bool | None = None, chinese: bool = True) -> Tokenizer:
    """Return a WordPiece tokenizer like BERT's with a tiny vocabulary."""
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*SPECIALS, *WORDS]))}
    made = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106 - a token of text
    made.normalizer = BertNormalizer(lowercase=lowercase, strip_accents=accents, handle_chinese_chars=chinese)
    made.pre_tokenizer = BertPreTokenizer()
    made.add_special_tokens(SPECIALS)
    made.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return made


KINDS = {
    "uncased": small_tokenizer(),
    "cased": small_tokenizer(lowercase=False),
    "cased without accents": small_tokenizer(lowercase=False, accents=True),
    "uncased with accents": small_tokenizer(accents=False),
    "Chinese as words": small_tokenizer(chinese=False),
}
