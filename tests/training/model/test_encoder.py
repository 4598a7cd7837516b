import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

from specter_batch.errors import ConfigError
from specter_batch.papers.labels import LabelSet
from specter_batch.papers.text import TEXT_TEMPLATE, paper_text
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.model.encoder import LoadedEncoder, load_encoder
from specter_batch.training.model.encoder_checks import check_tokenizer, separator_template
from specter_batch.training.model.encoder_folder import EncoderFolder

LABELS = LabelSet(names=("a", "b"))


@pytest.fixture
def copied(tiny_encoder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))


def load(folder: Path, **settings: Any) -> LoadedEncoder:
    return load_encoder(TrainConfig.load(None, {"encoder": str(folder), **settings}), LABELS)


def refusal(folder: Path, **settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, **settings)
    message = str(caught.value)
    assert message.startswith(f"--encoder {folder}: ")
    assert "\n" not in message
    assert len(message) < len(str(folder)) + 420
    return message


def settings_files(folder: Path) -> list[Path]:
    """Return the files with the names of the special tokens. transformers 5 writes one, transformers 4 two."""
    return [file for file in (folder / "tokenizer_config.json", folder / "special_tokens_map.json") if file.exists()]


def tokenizer_files(folder: Path) -> list[Path]:
    return [folder / "vocab.txt", folder / "tokenizer.json", *settings_files(folder)]


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_an_ordinary_encoder_loads_without_a_word(tiny_encoder: Path) -> None:
    loaded = load(tiny_encoder)
    assert (loaded.text_template, loaded.max_length, loaded.notes) == (TEXT_TEMPLATE, 128, ())
    assert loaded.model.config.pooling == "cls"


def test_the_encoders_own_separator_parts_title_and_abstract(copied: Path) -> None:
    for file in tokenizer_files(copied):
        file.write_text(file.read_text().replace("[SEP]", "</s>"))
    loaded = load(copied)
    assert loaded.text_template == "{title}</s>{abstract}"
    ids = loaded.tokenizer(paper_text("Gout", "Joints", loaded.text_template))["input_ids"]
    assert ids.count(loaded.tokenizer.sep_token_id) == 2


def test_a_tokenizer_that_is_larger_than_the_embeddings_is_refused(copied: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(copied)
    first = len(tokenizer)
    tokenizer.add_tokens(["[GENE]", "[DRUG]"])
    tokenizer.save_pretrained(copied)
    message = refusal(copied)
    assert f"2 tokens of its tokenizer have no embedding, '[GENE]' first (its id is {first:,} " in message
    model = BertModel.from_pretrained(copied)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(copied)
    assert load(copied).notes == ()


def test_a_tokenizer_that_is_much_smaller_than_the_embeddings_is_warned_about(copied: Path) -> None:
    model = BertModel.from_pretrained(copied)
    model.resize_token_embeddings(10_000)
    model.save_pretrained(copied)
    (note,) = load(copied).notes
    assert "check that the tokenizer is the encoder's own" in note


def test_an_encoder_without_a_padding_token_loads(copied: Path) -> None:
    for file in settings_files(copied):
        edit(file, pad_token=None)
    assert load(copied).tokenizer.pad_token is None


def test_a_tokenizer_without_a_fast_version_is_refused(copied: Path) -> None:
    (copied / "tokenizer.json").unlink()
    edit(copied / "tokenizer_config.json", tokenizer_class="BertTokenizer", use_fast=False)
    slow = AutoTokenizer.from_pretrained(copied, use_fast=False)
    if slow.is_fast:
        pytest.skip("transformers 5 has no slow tokenizer of BERT")
    with pytest.raises(ConfigError, match=r"its tokenizer \(BertTokenizer\) has no fast version"):
        check_tokenizer("here", slow, vocab_size=len(slow))


def test_a_tokenizer_without_an_unknown_token_is_refused(copied: Path) -> None:
    file = copied / "tokenizer.json"
    settings = json.loads(file.read_text())
    settings["model"]["unk_token"] = "[NOT-THERE]"  # noqa: S105
    settings["added_tokens"] = [one for one in settings["added_tokens"] if one["content"] != "[UNK]"]
    file.write_text(json.dumps(settings))
    for file in settings_files(copied):
        edit(file, unk_token=None)
    assert "cannot read every text" in refusal(copied)


def test_a_tokenizer_that_does_not_add_its_first_token_is_refused(copied: Path) -> None:
    edit(copied / "tokenizer.json", post_processor=None)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(copied / "tokenizer.json"), cls_token="[CLS]")  # noqa: S106
    tokenizer.save_pretrained(copied)
    assert "does not begin a text with its first token '[CLS]'" in refusal(copied)


def test_a_tokenizer_without_a_separator_joins_by_a_blank(copied: Path) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(copied / "tokenizer.json"), cls_token="[CLS]")  # noqa: S106
    template, notes = separator_template("here", tokenizer)
    assert template == "{title} {abstract}"
    assert notes == ("--encoder here: its tokenizer has no separator; title and abstract are joined by a blank",)


SPECIAL = st.text(st.sampled_from("[]<>/|SEPCLS{}#_ \u2581"), min_size=1, max_size=6).filter(lambda t: t == t.strip())


@settings(deadline=None, max_examples=60)
@given(st.lists(SPECIAL, min_size=4, max_size=4, unique=True), st.booleans())
def test_any_special_tokens_give_one_separator_or_one_clear_line(tokens: list[str], lowercase: bool) -> None:
    unknown, first, separator, pad = tokens
    words = ["a", "b", "title", "abstract"]
    vocabulary = {word: i for i, word in enumerate([*tokens, *(word for word in words if word not in tokens)])}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    if lowercase:
        backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.BertProcessing((separator, vocabulary[separator]), (first, vocabulary[first]))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token=unknown, cls_token=first, sep_token=separator, pad_token=pad
    )
    try:
        check_tokenizer("here", tokenizer, vocab_size=len(vocabulary))
        template, _ = separator_template("here", tokenizer)
    except ConfigError as error:
        assert str(error).startswith("--encoder here: ")
        return
    ids = tokenizer(paper_text("title", "abstract", template))["input_ids"]
    assert ids.count(vocabulary[separator]) == 2
    at = ids.index(vocabulary[separator])
    assert 1 < at < len(ids) - 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "roberta"}, "expected a BERT-type encoder, got roberta"),
        ({"model_type": "nonsense"}, "the folder has no config.json that transformers can read"),
        ({"is_decoder": True}, "does not describe an encoder"),
        ({"pad_token_id": 10**6}, "does not describe an encoder"),
        ({"type_vocab_size": 0}, "does not describe an encoder"),
        ({"vocab_size": 77}, "its weights cannot be loaded"),
        ({"hidden_size": 33}, "its weights cannot be loaded"),
        ({"num_hidden_layers": 3}, "its weights lack 16 tensors"),
        ({"hidden_act": "nonsense"}, "its weights cannot be loaded"),
    ],
)
def test_a_configuration_that_does_not_fit_is_one_clear_line(copied: Path, changes: dict[str, Any], said: str) -> None:
    edit(copied / "config.json", **changes)
    assert said in refusal(copied)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", b"{", "the folder has no config.json that transformers can read"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "its weights cannot be loaded"),
        ("model.safetensors", b"", "its weights cannot be loaded"),
        ("tokenizer.json", b"{}", "its tokenizer cannot be loaded"),
        ("tokenizer.json", b"\xff", "its tokenizer cannot be loaded"),
        ("tokenizer_config.json", b"[", "its tokenizer cannot be loaded"),
    ],
)
def test_a_damaged_file_is_one_clear_line(copied: Path, name: str, content: bytes, said: str) -> None:
    (copied / name).write_bytes(content)
    assert said in refusal(copied)


def test_weights_that_are_not_finite_are_refused(copied: Path) -> None:
    weights = load_file(copied / "model.safetensors")
    weights["embeddings.LayerNorm.bias"][3] = torch.nan
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    assert "its weights hold NaN or infinity, in embeddings.LayerNorm.bias first" in refusal(copied)


def test_a_pooler_that_is_not_there_is_named(tiny_encoder: Path, tmp_path: Path) -> None:
    BertModel.from_pretrained(tiny_encoder, add_pooling_layer=False).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(tmp_path)
    assert load(tmp_path).notes == ()
    assert "starts from random weights" in load(tmp_path, pooling="pooler").notes[0]


def test_a_name_that_is_neither_a_folder_nor_on_the_hub_says_how_to_get_the_encoder() -> None:
    with pytest.raises(ConfigError, match="was not found") as caught:
        load(Path("nobody/no-such-encoder"))
    assert "run `hf download nobody/no-such-encoder --local-dir encoder`" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_or_a_bundle_is_no_encoder(copied: Path, tiny_bundle: Path) -> None:
    assert "is a file; give the folder" in refusal(copied / "config.json")
    assert "is a bundle, and a bundle holds no weights to train; give the run" in refusal(tiny_bundle)


def sentence_transformer(encoder: Path, folder: Path, pooling: dict[str, Any], *, inner: str = "0_Transformer") -> Path:
    """Write the layout of sentence-transformers, its encoder in a folder of its own or at the top."""
    shutil.copytree(encoder, folder / inner, dirs_exist_ok=True)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    kinds = {"Transformer": inner, "Pooling": "1_Pooling"}
    parts = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for kind, path in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(parts))
    return folder


@pytest.mark.parametrize("inner", ["0_Transformer", "", "encoder"])
@pytest.mark.parametrize(("mode", "pooling"), [("mean_tokens", "mean"), ("cls_token", "cls")])
def test_both_layouts_of_sentence_transformers_are_read(
    tiny_encoder: Path, tmp_path: Path, inner: str, mode: str, pooling: str
) -> None:
    folder = sentence_transformer(tiny_encoder, tmp_path / "st", {f"pooling_mode_{mode}": True}, inner=inner)
    assert load(folder).model.config.pooling == pooling
    assert load(folder / inner).model.config.pooling == pooling  # the encoder's folder itself
    assert load(folder, pooling="pooler").model.config.pooling == "pooler"


@pytest.mark.parametrize(
    "settings",
    [
        {"pooling_mode_max_tokens": True},
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
        {"pooling_mode": "lasttoken"},
    ],
)
def test_another_pooling_is_refused_unless_one_is_chosen(
    tiny_encoder: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    folder = sentence_transformer(tiny_encoder, tmp_path / "st", settings)
    assert "choose one with --pooling mean" in refusal(folder)
    assert load(folder, pooling="mean").model.config.pooling == "mean"


def test_a_layout_without_its_encoder_is_one_clear_line(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = sentence_transformer(tiny_encoder, tmp_path / "st", {})
    shutil.rmtree(folder / "0_Transformer")
    assert "modules.json names" in refusal(folder)
    (folder / "modules.json").write_text("{")
    with pytest.raises(ConfigError, match=r"modules\.json: not readable JSON"):
        EncoderFolder.find(str(folder))


def test_an_encoder_with_fewer_positions_shortens_the_texts(tmp_path: Path, tiny_encoder: Path) -> None:
    shape = BertConfig.from_pretrained(tiny_encoder)
    shape.max_position_embeddings = 40
    BertModel(shape).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(tmp_path)
    assert load(tmp_path).max_length == 40


@pytest.mark.parametrize(("attention_dropout", "varies"), [(0.0, False), (0.3, True)])
def test_the_setting_decides_whether_a_training_step_leaves_out_attention_weights(
    copied: Path, attention_dropout: float, varies: bool
) -> None:
    edit(copied / "config.json", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.1)
    model = load(copied, attention_dropout=attention_dropout, head={"dropout": 0.0}).model.train()
    ids = torch.tensor([[5, 6, 7, 8]] * 8)
    first, second = (model(ids, attention_mask=torch.ones_like(ids)).logits for _ in range(2))
    assert torch.equal(first, second) is not varies
