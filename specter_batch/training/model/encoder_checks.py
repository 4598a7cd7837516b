"""Checks of an encoder's tokenizer before anything is trained: sizes, special tokens, and the text template."""

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from specter_batch.errors import ConfigError
from specter_batch.papers.text import check_template

# Nothing, a word, and characters that hardly any vocabulary holds: a tokenizer without an unknown token fails on these.
_PROBES = ("", "a", "\U0001f9ec \u0e01 \u4e00 \ufffd x\u0301")
# A vocabulary may be padded to a multiple of a power of two; more unused rows than these are suspicious.
_USUAL_UNUSED_ROWS = 2048


def check_tokenizer(encoder: str, tokenizer: PreTrainedTokenizerBase, *, vocab_size: int) -> tuple[str, ...]:
    """Check that a tokenizer goes with an encoder and can be used without transformers.

    Args:
        encoder: Name of the encoder, for messages.
        tokenizer: The encoder's own.
        vocab_size: Rows of the encoder's word embeddings.

    Returns:
        Sentences that a user should read.

    Raises:
        ConfigError: It has no fast version, has tokens without an embedding, fails on some text, or does not begin a
            text with its first special token.
    """
    where = f"--encoder {encoder}"
    if not tokenizer.is_fast:
        raise ConfigError(
            f"{where}: its tokenizer ({type(tokenizer).__name__}) has no fast version, and nights read tokenizer.json; "
            "give an encoder with a tokenizer.json"
        )
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    beyond = sorted((number, token) for token, number in vocabulary.items() if number >= vocab_size)
    if beyond:
        number, token = beyond[0]
        raise ConfigError(
            f"{where}: {len(beyond):,} tokens of its tokenizer have no embedding, {token!r} first (its id is "
            f"{number:,} and the encoder has {vocab_size:,} embeddings); add embeddings with "
            "model.resize_token_embeddings(len(tokenizer)) and save the encoder again"
        )
    _check_reading(where, tokenizer)
    unused = vocab_size - len(vocabulary)
    if unused > max(_USUAL_UNUSED_ROWS, vocab_size // 10):
        return (
            f"{where}: its tokenizer has {len(vocabulary):,} tokens and the encoder {vocab_size:,} embeddings; check "
            "that the tokenizer is the encoder's own",
        )
    return ()


def _check_reading(where: str, tokenizer: PreTrainedTokenizerBase) -> None:
    reader = _reader(tokenizer)
    try:
        read = [reader.encode(text).ids for text in _PROBES]
    except Exception as error:  # the Rust library raises bare Exception
        raise ConfigError(
            f"{where}: its tokenizer cannot read every text ({error}); give it an unknown token, such as [UNK], and "
            "save it again"
        ) from error
    first = tokenizer.cls_token_id
    if first is None or any(ids[:1] != [first] for ids in read):
        expected = "a first token ([CLS])" if first is None else f"its first token {tokenizer.cls_token!r}"
        raise ConfigError(
            f"{where}: its tokenizer does not begin a text with {expected}, which the head reads; set its "
            "post-processor to BERT's and save it again"
        )


def separator_template(encoder: str, tokenizer: PreTrainedTokenizerBase) -> tuple[str, tuple[str, ...]]:
    """Return the text template with the encoder's own separator, and sentences that a user should read.

    Raises:
        ConfigError: The tokenizer does not read its separator as one token, or no template can hold it.
    """
    separator, number = tokenizer.sep_token, tokenizer.sep_token_id
    if separator is None:
        note = f"--encoder {encoder}: its tokenizer has no separator; title and abstract are joined by a blank"
        return "{title} {abstract}", (note,)
    reader = _reader(tokenizer)
    one, two = (reader.encode(text).ids for text in ("a b", f"a{separator}b"))
    if two.count(number) != one.count(number) + 1:
        raise ConfigError(
            f"--encoder {encoder}: its tokenizer does not read its separator {separator!r} as one token, so title and "
            "abstract would be glued together; add it as a special token and save the tokenizer again"
        )
    template = f"{{title}}{separator}{{abstract}}"
    try:
        return check_template(template), ()
    except ConfigError as error:
        raise ConfigError(
            f"--encoder {encoder}: its separator {separator!r} cannot be part of a text template; give the separator "
            "a name without braces"
        ) from error


def _reader(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    reader = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    reader.no_padding()
    reader.no_truncation()
    return reader
