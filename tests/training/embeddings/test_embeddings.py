from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertModel

from specter_batch.errors import ConfigError
from specter_batch.training.demo.sample import SamplePaths
from specter_batch.training.embeddings.cache import EmbeddingCache, default_cache
from specter_batch.training.embeddings.embed import Embedder, embed
from specter_batch.training.papers.labelled import read_labelled
from specter_batch.training.run.folder import TrainingRun


@pytest.fixture(scope="module")
def embedder(tiny_encoder: Path) -> Embedder:
    return Embedder.of_encoder(str(tiny_encoder), pooling="mean", max_length=96)


@pytest.fixture(scope="module")
def texts(sample_paths: SamplePaths) -> list[str]:
    return [*read_labelled(sample_paths.val).texts()[:24], "Sepsis[SEP]"]


def transformers_own(folder: Path, text: str, *, pooling: str, max_length: int = 96) -> np.ndarray:
    """Return one text's vector as transformers' plain `BertModel` gives it."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        output = model(**tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt"))
    vectors = {
        "cls": output.last_hidden_state[0, 0],
        "mean": output.last_hidden_state[0].mean(dim=0),
        "pooler": output.pooler_output[0],
    }
    return vectors[pooling].numpy()


@pytest.mark.parametrize("pooling", ["cls", "mean", "pooler"])
def test_an_embedding_is_what_transformers_own_model_gives_for_the_text_alone(
    tiny_encoder: Path, texts: list[str], pooling: str
) -> None:
    found = Embedder.of_encoder(str(tiny_encoder), pooling=pooling, max_length=96).embed(texts)
    assert (found.dtype, found.shape) == (np.dtype(np.float32), (len(texts), 32))
    alone = np.stack([transformers_own(tiny_encoder, text, pooling=pooling) for text in texts])
    np.testing.assert_allclose(found, alone, rtol=0, atol=2e-6)


def test_batches_of_any_size_give_the_same_embeddings_in_input_order(embedder: Embedder, texts: list[str]) -> None:
    token_ids = embedder.text_encoder.encode(texts)
    assert len({len(ids) for ids in token_ids}) > 3
    alone = embed(embedder.model, token_ids, max_tokens=1)
    for max_tokens in (200, 100_000):
        np.testing.assert_allclose(embed(embedder.model, token_ids, max_tokens=max_tokens), alone, rtol=0, atol=2e-6)


def test_no_papers_have_no_embeddings(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, 32)


def test_a_model_in_training_is_asked_without_dropout_and_stays_in_training(
    tiny_encoder: Path, texts: list[str]
) -> None:
    model = Embedder.of_encoder(str(tiny_encoder), max_length=96)
    token_ids = model.text_encoder.encode(texts)
    model.model.train()
    first, second = (embed(model.model, token_ids, max_tokens=4096) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert model.model.training


def test_bf16_is_close_to_fp32_and_not_it(tiny_encoder: Path, texts: list[str], embedder: Embedder) -> None:
    rough = Embedder.of_encoder(str(tiny_encoder), pooling="mean", max_length=96, precision="bf16").embed(texts)
    exact = embedder.embed(texts)
    assert rough.dtype == np.float32
    assert 0 < np.abs(rough - exact).max() < 0.05


def test_a_runs_embeddings_are_what_its_head_reads(tiny_run: TrainingRun, texts: list[str]) -> None:
    from specter_batch.training.evaluation.evaluate import TorchClassifier

    classifier = TorchClassifier(tiny_run)
    with torch.inference_mode():
        logits = classifier.model.head(torch.from_numpy(Embedder.of_run(tiny_run.path).embed(texts))).numpy()
    np.testing.assert_allclose(logits, classifier.logits(tiny_run.text_encoder().encode(texts)), rtol=0, atol=1e-4)


def test_a_length_beyond_the_encoders_positions_is_cut_to_them(tiny_encoder: Path, tiny_run: TrainingRun) -> None:
    assert Embedder.of_encoder(str(tiny_encoder), max_length=400).text_encoder.max_length == 128
    assert Embedder.of_run(tiny_run.path, max_length=400).text_encoder.max_length == 128
    assert Embedder.of_run(tiny_run.path, max_length=50).text_encoder.max_length == 50


def test_an_encoder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="was not found"):
        Embedder.of_encoder(str(tmp_path / "none"))


def test_the_fingerprint_knows_weights_and_pooling_and_nothing_of_the_head(
    tiny_encoder: Path, tiny_run: TrainingRun, embedder: Embedder
) -> None:
    again = Embedder.of_encoder(str(tiny_encoder), pooling="mean", max_length=50)
    assert again.fingerprint() == embedder.fingerprint()
    others = [
        Embedder.of_encoder(str(tiny_encoder), pooling="cls"),
        Embedder.of_encoder(str(tiny_encoder), pooling="mean", precision="bf16"),
        Embedder.of_run(tiny_run.path),
        # The encoder of the run, under another head.
        Embedder.of_encoder(str(tiny_run.path), pooling="cls"),
    ]
    fingerprints = [other.fingerprint() for other in others]
    assert len({embedder.fingerprint(), *fingerprints}) == 4
    assert fingerprints[2] == fingerprints[3]


# The cache.


def test_the_second_call_embeds_nothing(
    embedder: Embedder, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = EmbeddingCache(tmp_path / "deep" / "cache").embed(embedder, texts)
    monkeypatch.setattr(Embedder, "embed_tokens", lambda *_: pytest.fail("embedded again"))
    cache = EmbeddingCache(tmp_path / "deep" / "cache")
    np.testing.assert_array_equal(cache.embed(embedder, texts), first)
    assert cache.hits == 1


def test_other_texts_another_length_and_another_encoder_are_not_taken_from_the_cache(
    embedder: Embedder, tiny_encoder: Path, texts: list[str], tmp_path: Path
) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.embed(embedder, texts)
    cache.embed(embedder, texts[::-1])
    cache.embed(embedder, texts[:5])
    cache.embed(Embedder.of_encoder(str(tiny_encoder), pooling="mean", max_length=20), texts)
    cache.embed(Embedder.of_encoder(str(tiny_encoder), pooling="cls", max_length=96), texts)
    assert cache.hits == 0
    assert len(list(tmp_path.glob("*.npy"))) == 5


@pytest.mark.parametrize("damage", [b"", b"no embeddings", None])
def test_a_damaged_file_of_the_cache_is_made_anew(
    embedder: Embedder, texts: list[str], tmp_path: Path, damage: bytes | None
) -> None:
    first = EmbeddingCache(tmp_path).embed(embedder, texts)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-100] if damage is None else damage)
    cache = EmbeddingCache(tmp_path)
    np.testing.assert_array_equal(cache.embed(embedder, texts), first)
    assert cache.hits == 0
    np.testing.assert_array_equal(np.load(file), first)


def test_a_cache_that_cannot_be_written_costs_a_note_and_not_the_embeddings(
    embedder: Embedder, texts: list[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = EmbeddingCache(tmp_path / "file" / "cache")
    assert cache.embed(embedder, texts).shape == (len(texts), 32)
    assert "could not be kept" in cache.problems[0]


def test_the_cache_lies_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "specter-batch" / "embeddings"
    for not_absolute in ("", "here"):
        monkeypatch.setenv("XDG_CACHE_HOME", not_absolute)
        assert default_cache() == Path.home() / ".cache" / "specter-batch" / "embeddings"
