"""The SPECTER encoder with a classification head, as a transformers model."""

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, BertConfig, BertModel, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from specter_batch.training.model.head_config import HeadConfig, Pooling
from specter_batch.training.model.heads import build_head, initialise_head
from specter_batch.training.model.settings import MODEL_TYPE


class SpecterClassifierConfig(BertConfig):
    """A BERT configuration with pooling and head.

    Args:
        pooling: `cls` (the last layer's first vector, SPECTER's own), `pooler` (BERT's dense layer and tanh on it)
            or `mean` (over all tokens but padding).
        head: The fields of `HeadConfig`.
    """

    model_type = MODEL_TYPE

    def __init__(self, pooling: Pooling = "cls", head: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pooling = pooling
        self.head = HeadConfig.model_validate(head or {}).model_dump(mode="json", exclude_none=True)


AutoConfig.register(SpecterClassifierConfig.model_type, SpecterClassifierConfig)


class SpecterForSequenceClassification(BertPreTrainedModel):
    """Encoder, pooling and head; `from_pretrained` takes any BERT encoder and any checkpoint of this class."""

    config_class = SpecterClassifierConfig
    base_model_prefix = "bert"

    def __init__(self, config: SpecterClassifierConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=config.pooling == "pooler")
        self.head = build_head(
            HeadConfig.model_validate(config.head), hidden_size=config.hidden_size, n_labels=config.num_labels
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        # Called for each module that a checkpoint does not hold; the head is started as a whole.
        if module is self.head:
            initialise_head(self.head)
        elif not any(module is layer for layer in self.head):
            super()._init_weights(module)

    def set_head(self, head: nn.Sequential) -> None:
        """Put a custom head, with its weights, on the encoder.

        Raises:
            ConfigError: A layer of the head cannot be saved and loaded again, or its widths do not fit.
        """
        config = HeadConfig.of(head)
        build_head(config, hidden_size=self.config.hidden_size, n_labels=self.config.num_labels)
        self.head, self.config.head = head, config.model_dump(mode="json", exclude_none=True)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Return logits, and the mean cross entropy when labels are given.

        Args:
            input_ids: `(batch, seq_len)` int64.
            attention_mask: `(batch, seq_len)`, 1 on tokens and 0 on padding.
            token_type_ids: `(batch, seq_len)` int64; all 0 when None.
            labels: `(batch,)` int64.
        """
        pooled = self.pooled(input_ids, attention_mask, token_type_ids)
        logits = self.head(pooled)
        loss: Any = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def pooled(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the papers' vectors `(batch, hidden_size)`."""
        bert: Any = self.bert
        hidden: torch.Tensor = bert.embeddings(input_ids=input_ids, token_type_ids=token_type_ids)
        mask = self.get_extended_attention_mask(attention_mask, input_ids.shape, dtype=hidden.dtype)
        *layers, last = bert.encoder.layer
        for layer in layers:
            hidden = layer(hidden, mask)[0]
        if self.config.pooling == "mean":
            hidden = last(hidden, mask)[0]
            weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
            return (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        cls = _first_position(last, hidden, mask)
        if self.config.pooling == "pooler":
            cls_pooled: torch.Tensor = bert.pooler(cls)
            return cls_pooled
        return cls[:, 0]


def _first_position(layer: Any, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Run a `BertLayer` for position 0 only and return its output, `(batch, 1, hidden_size)`.

    Keys and values are computed for all positions, but the query for one. The head reads only this vector.
    """
    first = hidden[:, :1]
    context = layer.attention.self(first, attention_mask=mask, encoder_hidden_states=hidden)[0]
    output: torch.Tensor = layer.feed_forward_chunk(layer.attention.output(context, first))
    return output
