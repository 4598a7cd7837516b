"""The SPECTER encoder with a classification head, as a transformers model."""

import math
from typing import Any, ClassVar

import torch
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForSequenceClassification, BertConfig, BertModel, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import logging

from specter_batch.errors import ConfigError
from specter_batch.training.model.head_config import HeadConfig, Pooling
from specter_batch.training.model.heads import build_head, initialise_layer
from specter_batch.training.model.settings import MODEL_TYPE


class SpecterClassifierConfig(BertConfig):
    """A BERT configuration with pooling and head.

    Args:
        pooling: `cls` (the last layer's first vector, SPECTER's own), `pooler` (BERT's dense layer and tanh on it)
            or `mean` (over all tokens but padding).
        head: The fields of `HeadConfig`.

    Raises:
        ConfigError: The encoder has relative positions, which transformers 5 and the CUDA graph do not support.
    """

    model_type = MODEL_TYPE

    def __init__(self, pooling: Pooling = "cls", head: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pooling = pooling
        self.head = HeadConfig.model_validate(head or {}).model_dump(mode="json", exclude_none=True)
        positions = getattr(self, "position_embedding_type", "absolute")
        if positions != "absolute":
            raise ConfigError(
                f"the encoder's config.json has the position_embedding_type {positions}; choose an encoder with "
                "absolute positions, such as allenai/specter"
            )

    @classmethod
    def get_config_dict(cls, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read a `config.json`. A run that is saved as a plain BERT classifier is read as the model that it is."""
        settings, others = super().get_config_dict(*args, **kwargs)
        if "head" in settings:
            settings["model_type"] = cls.model_type
        return settings, others


def _hide_bars() -> None:
    """Let transformers 5 show no bar for each file that it reads or writes. Downloads keep their bars."""
    downloads_hidden = are_progress_bars_disabled()
    logging.disable_progress_bar()
    if not downloads_hidden:
        enable_progress_bars()


_hide_bars()
AutoConfig.register(SpecterClassifierConfig.model_type, SpecterClassifierConfig)


class SpecterForSequenceClassification(BertPreTrainedModel):
    """Encoder, pooling and head; `from_pretrained` takes any BERT encoder and any checkpoint of this class."""

    config_class = SpecterClassifierConfig
    base_model_prefix = "bert"
    # What `save_model` adds to the weights for transformers' own classifier.
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [  # type: ignore[assignment, misc]
        r"^classifier\.",
        r"^bert\.pooler\.",
    ]

    # True to compute the layers a second time in the backward pass instead of keeping their results. Trainers of
    # transformers 4 and 5 have different names for it.
    recompute_layers = False

    def __init__(self, config: SpecterClassifierConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=config.pooling == "pooler")
        self.head = build_head(
            HeadConfig.model_validate(config.head), hidden_size=config.hidden_size, n_labels=config.num_labels
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        # Called for each module that a checkpoint does not hold.
        position = next((at for at, layer in enumerate(self.head) if layer is module), None)
        if position is None:
            super()._init_weights(module)
        else:
            initialise_layer(self.head, position)

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
        # Added to the attention scores: 0 on tokens and the smallest number on padding.
        mask = (1.0 - attention_mask[:, None, None, :].to(hidden.dtype)) * torch.finfo(hidden.dtype).min
        *layers, last = bert.encoder.layer
        for layer in layers:
            hidden = self._whole_layer(layer, hidden, mask)
        if self.config.pooling == "mean":
            hidden = self._whole_layer(last, hidden, mask)
            weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
            return (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        cls = _first_position(last, hidden, mask)
        if self.config.pooling == "pooler":
            cls_pooled: torch.Tensor = bert.pooler(cls)
            return cls_pooled
        return cls[:, 0]

    def _whole_layer(self, layer: Any, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Run a `BertLayer` for all positions and return its output, `(batch, seq_len, hidden_size)`."""
        recomputed = self.recompute_layers and self.training
        output: Any = checkpoint(layer, hidden, mask, use_reentrant=False) if recomputed else layer(hidden, mask)
        whole: torch.Tensor = output if isinstance(output, torch.Tensor) else output[0]  # transformers 4 gives a tuple
        return whole


AutoModelForSequenceClassification.register(SpecterClassifierConfig, SpecterForSequenceClassification)


def attend(attention: Any, queries: torch.Tensor, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the attention of some positions to all positions, `(batch, n_queries, hidden_size)`.

    These are the steps of `BertSelfAttention` in transformers 4, which ONNX Runtime's optimizer fuses. transformers 5
    has other steps, and computes query, keys and values for the same positions only.

    Args:
        attention: A `BertSelfAttention`, whose weights are used.
        queries: Vectors of the positions that attend, `(batch, n_queries, hidden_size)`.
        hidden: Vectors of all positions, `(batch, seq_len, hidden_size)`.
        mask: Added to the scores, `(batch, 1, 1, seq_len)`.
    """
    shape = (hidden.shape[0], -1, attention.num_attention_heads, attention.attention_head_size)
    query, key, value = (
        product(positions).view(shape).transpose(1, 2)
        for product, positions in ((attention.query, queries), (attention.key, hidden), (attention.value, hidden))
    )
    scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(attention.attention_head_size) + mask
    shares = attention.dropout(nn.functional.softmax(scores, dim=-1))
    context = torch.matmul(shares, value).permute(0, 2, 1, 3).contiguous()
    return context.view((*context.size()[:-2], attention.all_head_size))


def _first_position(layer: Any, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Run a `BertLayer` for position 0 only and return its output, `(batch, 1, hidden_size)`.

    Keys and values are computed for all positions, but the query for one. The head reads only this vector.
    """
    first = hidden[:, :1]
    context = attend(layer.attention.self, first, hidden, mask)
    output: torch.Tensor = layer.feed_forward_chunk(layer.attention.output(context, first))
    return output
