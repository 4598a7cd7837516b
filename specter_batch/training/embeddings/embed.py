"""Computes embeddings of papers: the pooled output of a pretrained or fine-tuned encoder, before the head."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch

from specter_batch.model.manifest import TOKENIZER_FILE
from specter_batch.model.predictions import CUDA_MAX_TOKENS
from specter_batch.model.session import Embeddings
from specter_batch.model.tokens.encoding import TextEncoder, TokenIds, pad_batch, plan_batches
from specter_batch.papers.labels import LabelSet
from specter_batch.training.model.classifier import SpecterForSequenceClassification
from specter_batch.training.model.encoder import load_encoder
from specter_batch.training.model.settings import TORCH_MAX_TOKENS, ModelSettings
from specter_batch.training.model.threads import TorchThreads, use_threads
from specter_batch.training.run.folder import TrainingRun

Precision = Literal["fp32", "bf16"]

# An encoder is always loaded with a head. The head needs labels but does not affect the embeddings.
_ANY_LABELS = LabelSet(names=("0", "1"))

# Settings that change an embedding and do not show in the weights or their shapes.
_DECISIVE = ("pooling", "num_attention_heads", "hidden_act", "layer_norm_eps")


def embed(
    model: SpecterForSequenceClassification,
    token_ids: Sequence[TokenIds],
    *,
    max_tokens: int,
    autocast_dtype: torch.dtype | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Embeddings:
    """Return the papers' pooled vectors `(n, hidden_size)` float32, in input order.

    Args:
        model: The model, which runs on its current device without dropout. Its training mode is restored afterwards.
        token_ids: Token ids of each paper, `(seq_len,)`.
        max_tokens: Largest number of tokens in a batch, padding included.
        autocast_dtype: Type of the matrix products, such as `torch.bfloat16`; the type of the weights when None.
        advance: Called with the number of papers of each batch that is done.
    """
    embeddings = np.zeros((len(token_ids), model.config.hidden_size), dtype=np.float32)
    was_training = model.training
    model.eval()
    autocast = torch.autocast(model.device.type, dtype=autocast_dtype, enabled=autocast_dtype is not None)
    for rows in plan_batches([len(ids) for ids in token_ids], max_tokens=max_tokens):
        batch = pad_batch(token_ids, rows)
        with torch.inference_mode(), autocast:
            pooled = model.pooled(
                torch.from_numpy(batch.input_ids).to(model.device),
                torch.from_numpy(batch.attention_mask).to(model.device),
            )
        embeddings[rows] = pooled.float().cpu().numpy()
        advance(len(rows))
    model.train(was_training)
    return embeddings


@dataclass(frozen=True, kw_only=True)
class Embedder:
    """A frozen encoder with its tokenizer; made by `of_encoder` or `of_run`.

    Attributes:
        name: The encoder's hub name or folder, or the run's folder.
        model: The model, on the device that computes the embeddings.
        threads: The number of CPU threads that PyTorch uses.
        text_encoder: The encoder's tokenizer, which cuts texts at `max_length`.
        text_template: Template that joins title and abstract into one text.
        precision: Precision of the matrix products; the weights and the embeddings are always float32.
        notes: Sentences about the encoder that a user should read.
    """

    name: str
    model: SpecterForSequenceClassification
    threads: TorchThreads
    text_encoder: TextEncoder
    text_template: str
    precision: Precision = "fp32"
    notes: tuple[str, ...] = ()

    @classmethod
    def of_encoder(
        cls,
        encoder: str | None,
        *,
        pooling: str | None = None,
        max_length: int | None = None,
        precision: Precision = "fp32",
        threads: int | None = None,
    ) -> "Embedder":
        """Load a pretrained encoder. An argument that is None has the default of `ModelSettings`.

        PyTorch then uses `threads` CPU threads in this process; the number is chosen when None.

        Raises:
            ConfigError: The encoder cannot be loaded, or a setting is wrong.
        """
        config = ModelSettings.load(None, {"encoder": encoder, "pooling": pooling, "max_length": max_length})
        loaded = load_encoder(config, _ANY_LABELS)
        with TemporaryDirectory() as folder:
            loaded.tokenizer.save_pretrained(folder)
            text_encoder = TextEncoder(Path(folder) / TOKENIZER_FILE, max_length=loaded.max_length)
        return cls(
            name=config.encoder,
            model=_ready(loaded.model),
            threads=_threads(loaded.model, threads),
            text_encoder=text_encoder,
            text_template=loaded.text_template,
            precision=precision,
            notes=loaded.notes,
        )

    @classmethod
    def of_run(
        cls,
        path: Path,
        *,
        max_length: int | None = None,
        precision: Precision = "fp32",
        threads: int | None = None,
    ) -> "Embedder":
        """Load the fine-tuned encoder of a run, with the run's pooling; `max_length` is the run's when None.

        PyTorch then uses `threads` CPU threads in this process; the number is chosen when None.

        Raises:
            BundleError: The folder is not a finished run.
        """
        run = TrainingRun.open(path)
        model = SpecterForSequenceClassification.from_pretrained(run.path)
        length = min(max_length or run.record.max_length, model.config.max_position_embeddings)
        text_encoder = TextEncoder(run.path / TOKENIZER_FILE, max_length=length)
        return cls(
            name=str(path),
            model=_ready(model),
            threads=_threads(model, threads),
            text_encoder=text_encoder,
            text_template=run.text_template,
            precision=precision,
        )

    @property
    def about(self) -> Mapping[str, str | int]:
        """Everything that decides over the embeddings, by name."""
        return {
            "encoder": self.name,
            "pooling": self.pooling,
            "max_length": self.text_encoder.max_length,
            "text_template": self.text_template,
            "precision": self.precision,
        }

    @property
    def pooling(self) -> str:
        """The method that turns token vectors into one paper vector: `cls`, `pooler` or `mean`."""
        return str(self.model.config.pooling)

    @property
    def hidden_size(self) -> int:
        """Length of an embedding."""
        return int(self.model.config.hidden_size)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return the embeddings `(n, hidden_size)` float32 of texts, in input order."""
        return self.embed_tokens(self.text_encoder.encode(texts))

    def embed_tokens(self, token_ids: Sequence[TokenIds]) -> Embeddings:
        """Return the embeddings `(n, hidden_size)` float32 of papers, given as token ids, in input order."""
        max_tokens = CUDA_MAX_TOKENS if self.model.device.type == "cuda" else TORCH_MAX_TOKENS
        autocast_dtype = torch.bfloat16 if self.precision == "bf16" else None
        return embed(self.model, token_ids, max_tokens=max_tokens, autocast_dtype=autocast_dtype)

    def fingerprint(self) -> str:
        """Return a hash of everything that turns token ids into an embedding: weights, shapes and pooling."""
        settings = {name: getattr(self.model.config, name) for name in _DECISIVE} | {"precision": self.precision}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for name, tensor in sorted(self.model.bert.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def _threads(model: SpecterForSequenceClassification, asked: int | None) -> TorchThreads:
    return use_threads(asked, tokens=TORCH_MAX_TOKENS, hidden_size=model.config.hidden_size)


def _ready(model: SpecterForSequenceClassification) -> SpecterForSequenceClassification:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    ready: SpecterForSequenceClassification = model.eval().to(device)
    return ready
