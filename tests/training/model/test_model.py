from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import BertModel

from specter_batch.training.model.classifier import SpecterClassifierConfig, SpecterForSequenceClassification
from specter_batch.training.model.head_config import HeadConfig, Pooling

N_PAPERS, SEQ_LEN = 6, 20


def classifier(encoder: Path, *, pooling: Pooling = "cls", attention: str = "sdpa", **head: object):
    config = SpecterClassifierConfig.from_pretrained(encoder, pooling=pooling, head=head, num_labels=5)
    model = SpecterForSequenceClassification.from_pretrained(encoder, config=config, attn_implementation=attention)
    return model.eval()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and mask `(N_PAPERS, SEQ_LEN)`, each paper shorter than the one before."""
    torch.manual_seed(2)
    mask = (torch.arange(SEQ_LEN) < torch.arange(SEQ_LEN, SEQ_LEN - 3 * N_PAPERS, -3)[:, None]).long()
    return torch.randint(5, 300, (N_PAPERS, SEQ_LEN)) * mask, mask


@pytest.mark.parametrize("pooling", ["cls", "pooler", "mean"])
def test_a_saved_checkpoint_gives_the_same_logits_bit_for_bit(
    tiny_encoder: Path, tmp_path: Path, pooling: Pooling
) -> None:
    model = classifier(tiny_encoder, pooling=pooling, hidden_sizes=(16, 8))
    model.save_pretrained(tmp_path)
    again = SpecterForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        assert torch.equal(again(*batch()).logits, model(*batch()).logits)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("pooling", ["cls", "pooler"])
def test_the_last_layer_for_cls_alone_equals_the_whole_layer(
    tiny_encoder: Path, pooling: Pooling, attention: str
) -> None:
    whole = BertModel.from_pretrained(tiny_encoder, attn_implementation=attention).eval()
    model = classifier(tiny_encoder, pooling=pooling, attention=attention)
    ids, mask = batch()
    with torch.inference_mode():
        full = whole(input_ids=ids, attention_mask=mask)
        expected = full.pooler_output if pooling == "pooler" else full.last_hidden_state[:, 0]
        torch.testing.assert_close(model.pooled(ids, mask), expected, rtol=0, atol=1e-6)


def test_mean_pooling_is_the_mean_of_the_tokens_without_padding(tiny_encoder: Path) -> None:
    whole = BertModel.from_pretrained(tiny_encoder).eval()
    ids, mask = batch()
    with torch.inference_mode():
        hidden = whole(input_ids=ids, attention_mask=mask).last_hidden_state
        expected = torch.stack([row[: int(kept.sum())].mean(dim=0) for row, kept in zip(hidden, mask, strict=True)])
        found = classifier(tiny_encoder, pooling="mean").pooled(ids, mask)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("pooling", ["cls", "pooler", "mean"])
def test_padding_changes_no_logit(tiny_encoder: Path, pooling: Pooling) -> None:
    model = classifier(tiny_encoder, pooling=pooling)
    ids, mask = batch()
    with torch.inference_mode():
        together = model(ids, mask).logits
        for row in range(N_PAPERS):
            length = int(mask[row].sum())
            alone = model(ids[row : row + 1, :length], mask[row : row + 1, :length]).logits[0]
            torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-5)


def test_a_deep_head_on_a_fresh_encoder_tells_texts_apart(tiny_encoder: Path) -> None:
    sizes = (64,) * 5
    ids, mask = batch()
    with torch.inference_mode():
        shallow = classifier(tiny_encoder)(ids, mask).logits.std(dim=0).mean()
        deep = classifier(tiny_encoder, hidden_sizes=sizes)(ids, mask).logits.std(dim=0).mean()
    assert deep > 0.1 * shallow


def test_batch_norm_on_a_fresh_encoder_starts_as_the_identity(tiny_encoder: Path) -> None:
    norms = [
        layer
        for layer in classifier(tiny_encoder, hidden_sizes=(16, 8), batch_norm=True).head
        if isinstance(layer, nn.BatchNorm1d)
    ]
    for norm in norms:
        values = torch.randn(4, norm.num_features)
        torch.testing.assert_close(norm(values), values, rtol=1e-4, atol=1e-4)
        assert norm.num_batches_tracked == 0


def test_the_head_of_the_settings_is_the_head_of_the_model(tiny_encoder: Path) -> None:
    head = classifier(tiny_encoder, hidden_sizes=(16, 8), batch_norm=True, activation="tanh").head
    assert [layer.num_features for layer in head if isinstance(layer, nn.BatchNorm1d)] == [16, 8]
    assert sum(isinstance(layer, nn.Tanh) for layer in head) == 2


def test_only_the_pooler_reads_berts_dense_layer(tiny_encoder: Path) -> None:
    held = {pooling: classifier(tiny_encoder, pooling=pooling).bert.pooler for pooling in ("cls", "pooler", "mean")}
    assert held["cls"] is None
    assert held["mean"] is None
    assert held["pooler"] is not None


def test_the_loss_is_the_cross_entropy_of_the_labels(tiny_encoder: Path) -> None:
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    with torch.inference_mode():
        output = classifier(tiny_encoder)(*batch(), labels=labels)
    assert output.loss == nn.functional.cross_entropy(output.logits, labels)


def test_the_configuration_keeps_pooling_and_head(tmp_path: Path) -> None:
    head = HeadConfig(hidden_sizes=(16,), activation="gelu", batch_norm=True)
    SpecterClassifierConfig(pooling="mean", head=head.model_dump(mode="json")).save_pretrained(tmp_path)
    read = SpecterClassifierConfig.from_pretrained(tmp_path)
    assert read.pooling == "mean"
    assert HeadConfig.model_validate(read.head) == head


def test_a_head_of_ones_own_is_saved_and_loaded(tiny_encoder: Path, tmp_path: Path) -> None:
    model = classifier(tiny_encoder)
    size = model.config.hidden_size
    model.set_head(nn.Sequential(nn.Linear(size, 12), nn.LeakyReLU(0.3), nn.BatchNorm1d(12), nn.Linear(12, 5)))
    model.eval().save_pretrained(tmp_path)
    again = SpecterForSequenceClassification.from_pretrained(tmp_path).eval()
    assert again.head[1].negative_slope == 0.3
    with torch.inference_mode():
        assert torch.equal(again(*batch()).logits, model(*batch()).logits)
