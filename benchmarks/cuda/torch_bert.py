"""The Torch model for comparison: BERT with a classification head, with the weights of the ONNX graph.

Attention is `torch.nn.functional.scaled_dot_product_attention`, as in transformers' BERT. The model is written here so
that the machine with the card does not need transformers.
"""

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional

HEADS, EPSILON = 12, 1e-12


class Layer(nn.Module):
    """One encoder layer, `(batch, length, hidden)` in and out."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(hidden, hidden) for _ in range(4))
        self.attention_norm, self.norm = (nn.LayerNorm(hidden, eps=EPSILON) for _ in range(2))
        self.wide, self.narrow = nn.Linear(hidden, inner), nn.Linear(inner, hidden)

    def forward(self, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Attend and transform; `mask` is `(batch, 1, 1, length)` bool, True on tokens."""
        batch, length, hidden = states.shape

        def heads(x: torch.Tensor) -> torch.Tensor:
            return x.view(batch, length, HEADS, hidden // HEADS).transpose(1, 2)

        attended = functional.scaled_dot_product_attention(
            heads(self.query(states)), heads(self.key(states)), heads(self.value(states)), attn_mask=mask
        )
        states = self.attention_norm(states + self.out(attended.transpose(1, 2).reshape(batch, length, hidden)))
        return self.norm(states + self.narrow(functional.gelu(self.wide(states))))


class TorchBert(nn.Module):
    """BERT, and a linear head on [CLS]."""

    def __init__(self, words: int, positions: int, hidden: int, inner: int, layers: int, labels: int) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(words, hidden), nn.Embedding(positions, hidden)
        self.types = nn.Embedding(2, hidden)
        self.norm = nn.LayerNorm(hidden, eps=EPSILON)
        self.layers = nn.ModuleList(Layer(hidden, inner) for _ in range(layers))
        self.head = nn.Linear(hidden, labels)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return logits `(batch, labels)` for ids and mask `(batch, length)`."""
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        states = self.norm(self.words(input_ids) + self.positions(places) + self.types.weight[0])
        mask = attention_mask.bool()[:, None, None, :]
        for layer in self.layers:
            states = layer(states, mask)
        return self.head(states[:, 0])


def torch_bert(model: onnx.ModelProto) -> TorchBert:
    """Make a Torch model with the weights of an exported fp32 graph."""
    values = _Values(model)
    words, positions = (
        values["bert.embeddings.word_embeddings.weight"],
        values["bert.embeddings.position_embeddings.weight"],
    )
    layers = sum(name.endswith("attention.self.query.bias") for name in values.names)
    head = next(node for node in model.graph.node if node.op_type == "Gemm")
    head_weight = values[head.input[1]]
    inner = values["bert.encoder.layer.0.intermediate.dense.bias"].shape[0]
    bert = TorchBert(words.shape[0], positions.shape[0], words.shape[1], inner, layers, head_weight.shape[0])
    # The matrices are transposed and have names made by the exporter. They are in the order of their use in the graph.
    matrices = [
        values[node.input[1]] for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in values.names
    ]
    if len(matrices) != 6 * layers:
        raise ValueError(f"expected {6 * layers} weight matrices in the graph, got {len(matrices)}")
    with torch.no_grad():
        _set(bert.words.weight, words)
        _set(bert.positions.weight, positions)
        _set(bert.types.weight, values["bert.embeddings.token_type_embeddings.weight"])
        _set(bert.norm.weight, values["bert.embeddings.LayerNorm.weight"])
        _set(bert.norm.bias, values["bert.embeddings.LayerNorm.bias"])
        _set(bert.head.weight, head_weight)
        _set(bert.head.bias, values[head.input[2]])
        for number, layer in enumerate(bert.layers):
            name = f"bert.encoder.layer.{number}"
            linears = {
                "attention.self.query": layer.query,
                "attention.self.key": layer.key,
                "attention.self.value": layer.value,
                "attention.output.dense": layer.out,
                "intermediate.dense": layer.wide,
                "output.dense": layer.narrow,
            }
            for (part, linear), matrix in zip(linears.items(), matrices[6 * number : 6 * number + 6], strict=True):
                _set(linear.weight, matrix.T)
                _set(linear.bias, values[f"{name}.{part}.bias"])
            for part, norm in {"attention.output": layer.attention_norm, "output": layer.norm}.items():
                _set(norm.weight, values[f"{name}.{part}.LayerNorm.weight"])
                _set(norm.bias, values[f"{name}.{part}.LayerNorm.bias"])
    return bert.eval()


class _Values:
    """The constant tensors of a graph by name. An Identity node gives the same tensor another name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Identity" and node.input[0] in self._tensors:
                self._tensors[node.output[0]] = self._tensors[node.input[0]]
        self.names = frozenset(self._tensors)

    def __getitem__(self, name: str) -> npt.NDArray[np.float32]:
        return np.asarray(numpy_helper.to_array(self._tensors[name]), dtype=np.float32)


def _set(parameter: torch.Tensor, values: npt.NDArray[np.float32]) -> None:
    parameter.copy_(torch.tensor(values))
