"""Names that settings share with the model: the graphs of a bundle, kinds of devices, and tokenizers."""

from typing import Literal

Precision = Literal["fp32", "fp16", "int8"]
DeviceKind = Literal["cpu", "cuda"]
# `auto` uses nanotoken as long as its token ids are those of `tokenizers`.
TokenizerChoice = Literal["auto", "tokenizers"]
