import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer
from transformers import BertTokenizerFast

from specter_batch.errors import BundleError
from specter_batch.model.tokens.encoding import TextEncoder, longest_first, pad_batch, plan_batches, rounded_up

MAX_LENGTH = 24
PAD, UNK, CLS, SEP = range(4)
SENTENCES = (
    "Slow rivers and their beds: we measured the depth of twelve rivers over ten years.",
    "TNF-α, IL-1β and γ-interferon in patients with Sjögren's syndrome (χ² ≥ 3.84).",
    "Étude naïve of the São José registry – 10 µg/m² of particles, p < 0.05.",
    "慢性乙型肝炎患者抗病毒治疗的长期疗效观察",
    "The 𝛽-model predicts the outcome of untreated patients to within five per cent.",
)
TEXTS = (
    "Slow rivers[SEP]We measured the depth.",
    "",
    "[SEP]",
    "   \t\n ",
    "unpredicted, overmeasured!",
    "Sjo\u0308gren and Sjögren, SJÖGREN",
    "乙型肝炎 patients 治疗",
    "emoji 🧬 and 👩‍🔬, \u200bzero width\u00ad and \u0000 control \ufffd characters",
    "[CLS] [PAD] [MASK] [UNK] [sep]",
    "مرحبا بالعالم",
    "x" * 500,
    "rivers " * 600,
    "１２３ ﬁrst ½",
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> BertTokenizerFast:
    trained = Tokenizer(WordPiece(unk_token="[UNK]"))  # noqa: S106, a token of text and no password
    trained.normalizer = BertNormalizer(lowercase=True)
    trained.pre_tokenizer = BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trained.train_from_iterator(
        SENTENCES, WordPieceTrainer(vocab_size=250, special_tokens=special, show_progress=False)
    )
    words = sorted(trained.get_vocab(), key=trained.get_vocab().__getitem__)
    folder = tmp_path_factory.mktemp("vocabulary")
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    tokenizer: BertTokenizerFast = BertTokenizerFast.from_pretrained(folder, do_lower_case=True)
    return tokenizer


@pytest.fixture(scope="module")
def tokenizer_file(reference: BertTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    reference.save_pretrained(folder)
    return folder / "tokenizer.json"


@pytest.fixture(scope="module")
def encoder(tokenizer_file: Path) -> TextEncoder:
    return TextEncoder(tokenizer_file, max_length=MAX_LENGTH)


# Token ids


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_token_ids_are_those_of_transformers(encoder: TextEncoder, reference: BertTokenizerFast, text: str) -> None:
    expected = reference(text, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    assert encoder.encode([text])[0].tolist() == expected


@settings(deadline=None)
@given(text=st.text(max_size=60))
def test_token_ids_of_any_unicode_text_are_those_of_transformers(
    encoder: TextEncoder, reference: BertTokenizerFast, text: str
) -> None:
    expected = reference(text, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    assert encoder.encode([text])[0].tolist() == expected


@pytest.mark.parametrize("max_length", [2, 3, 10, 512])
def test_texts_are_cut_where_transformers_cuts_them(
    tokenizer_file: Path, reference: BertTokenizerFast, max_length: int
) -> None:
    found = TextEncoder(tokenizer_file, max_length=max_length).encode(TEXTS)
    assert [ids.tolist() for ids in found] == reference(list(TEXTS), truncation=True, max_length=max_length)[
        "input_ids"
    ]
    assert max(map(len, found)) == max_length


def test_a_cut_text_still_ends_with_the_separator(encoder: TextEncoder) -> None:
    (ids,) = encoder.encode(["rivers " * 500])
    assert (len(ids), ids[0], ids[-1]) == (MAX_LENGTH, CLS, SEP)
    assert PAD not in ids


def test_the_separator_of_the_text_template_is_one_special_token(encoder: TextEncoder) -> None:
    (joined,) = encoder.encode(["slow[SEP]rivers"])
    (title,), (abstract,) = encoder.encode(["slow"]), encoder.encode(["rivers"])
    assert joined.tolist() == [*title.tolist(), *abstract.tolist()[1:]]


def test_texts_encoded_together_are_encoded_as_if_alone(encoder: TextEncoder) -> None:
    together = encoder.encode(TEXTS)
    assert [ids.tolist() for ids in together] == [encoder.encode([text])[0].tolist() for text in TEXTS]
    assert {ids.dtype for ids in together} == {np.dtype(np.int64)}


def test_no_texts_give_no_token_ids(encoder: TextEncoder) -> None:
    assert encoder.encode([]) == []


def test_padding_and_truncation_kept_in_the_file_are_overruled(tokenizer_file: Path, tmp_path: Path) -> None:
    kept = Tokenizer.from_file(str(tokenizer_file))
    kept.enable_padding(length=64)
    kept.enable_truncation(5)
    kept.save(str(tmp_path / "tokenizer.json"))
    found = TextEncoder(tmp_path / "tokenizer.json", max_length=MAX_LENGTH).encode(TEXTS)
    expected = TextEncoder(tokenizer_file, max_length=MAX_LENGTH).encode(TEXTS)
    assert [ids.tolist() for ids in found] == [ids.tolist() for ids in expected]


@pytest.mark.parametrize("content", [b"", b"{}", b"not json", json.dumps({"model": {"type": "Nope"}}).encode()])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_bytes(content)
    with pytest.raises(BundleError, match=r"tokenizer\.json: not a readable tokenizer\.json"):
        TextEncoder(file, max_length=8)


def test_a_missing_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a readable tokenizer"):
        TextEncoder(tmp_path / "tokenizer.json", max_length=8)


# Batches

lengths_of_papers = st.lists(st.integers(0, 600), max_size=60)
budgets = st.integers(1, 4096)


@given(lengths_of_papers, budgets)
def test_every_paper_is_in_exactly_one_batch(lengths: list[int], max_tokens: int) -> None:
    rows = [int(row) for batch in plan_batches(lengths, max_tokens=max_tokens) for row in batch]
    assert sorted(rows) == list(range(len(lengths)))


@given(lengths_of_papers, budgets)
def test_no_padded_batch_of_several_papers_exceeds_the_budget(lengths: list[int], max_tokens: int) -> None:
    for batch in plan_batches(lengths, max_tokens=max_tokens):
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= max_tokens


@given(lengths_of_papers, budgets)
def test_papers_come_longest_first_and_equal_lengths_in_input_order(lengths: list[int], max_tokens: int) -> None:
    rows = [int(row) for batch in plan_batches(lengths, max_tokens=max_tokens) for row in batch]
    assert rows == sorted(range(len(lengths)), key=lambda row: -lengths[row])


@given(lengths_of_papers, budgets)
def test_no_batch_could_have_taken_the_next_paper_too(lengths: list[int], max_tokens: int) -> None:
    batches = list(plan_batches(lengths, max_tokens=max_tokens))
    for batch in batches[:-1]:
        assert (len(batch) + 1) * max(*(lengths[row] for row in batch), 1, 0) > max_tokens


def test_a_paper_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    assert [batch.tolist() for batch in plan_batches([4, 50, 4, 60], max_tokens=10)] == [[3], [1], [0, 2]]


def test_longest_first_keeps_equal_lengths_in_input_order() -> None:
    assert longest_first([3, 5, 3, 5, 9]).tolist() == [4, 1, 3, 0, 2]
    assert longest_first([]).tolist() == []


@given(st.lists(st.lists(st.integers(1, 30_000), min_size=1, max_size=12), min_size=1, max_size=10), st.data())
def test_a_padded_batch_holds_its_papers_and_hides_the_padding(papers: list[list[int]], data: st.DataObject) -> None:
    rows = np.array(data.draw(st.permutations(range(len(papers))))[: data.draw(st.integers(1, len(papers)))])
    batch = pad_batch([np.array(ids) for ids in papers], rows)
    assert batch.input_ids.shape == batch.attention_mask.shape == (len(rows), max(len(papers[row]) for row in rows))
    assert batch.input_ids.dtype == batch.attention_mask.dtype == np.int64
    for ids, mask, row in zip(batch.input_ids, batch.attention_mask, batch.row, strict=True):
        length = len(papers[row])
        assert ids[:length].tolist() == papers[row]
        assert not ids[length:].any()
        assert mask.tolist() == [1] * length + [0] * (len(ids) - length)


@given(lengths=st.lists(st.integers(1, 100), max_size=50), multiple=st.integers(1, 64))
def test_rounded_lengths_hold_their_papers_and_fit_the_model(lengths: list[int], multiple: int) -> None:
    for length, rounded in zip(lengths, rounded_up(lengths, multiple=multiple, most=100), strict=True):
        assert length <= rounded < length + multiple
        assert rounded % multiple == 0 or rounded == 100
