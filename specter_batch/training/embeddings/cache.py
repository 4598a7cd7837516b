"""A cache of embeddings and logits on disk, so that a model never reads the same papers twice."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from specter_batch.model.session import Embeddings
from specter_batch.model.tokens.encoding import TokenIds
from specter_batch.storage.files import written_whole
from specter_batch.storage.user_cache import user_cache
from specter_batch.training.embeddings.embed import Embedder


def default_cache() -> Path:
    """Return the user's cache folder of embeddings."""
    return user_cache("embeddings")


class VectorCache:
    """One file per model and list of papers, named by a hash of both. It holds one vector per paper.

    Args:
        folder: Folder of the cache, created when the first vectors are saved.

    Attributes:
        hits: Number of calls that were answered from the cache.
        problems: Sentences about vectors that could not be saved. The vectors are used nevertheless.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hits = 0
        self.problems: list[str] = []

    def vectors(
        self, token_ids: Sequence[TokenIds], *, fingerprint: str, width: int, compute: Callable[[], Embeddings]
    ) -> Embeddings:
        """Return the vectors `(n, width)` float32 of papers, from the cache or computed and saved.

        Args:
            token_ids: Token ids of each paper, `(seq_len,)`.
            fingerprint: Hash of everything that turns token ids into a vector.
            width: Length of a vector.
            compute: Computes the vectors if they are not in the cache.
        """
        file = self.folder / f"{_key(fingerprint, token_ids)}.npy"
        kept = _read(file, shape=(len(token_ids), width))
        if kept is not None:
            self.hits += 1
            return kept
        vectors = compute()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with written_whole(file) as partial, partial.open("wb") as stream:
                np.save(stream, vectors)
        except OSError as error:  # hours of work should not be lost to a full or read-only disk
            self.problems.append(f"the embeddings could not be kept for the next time: {error}")
        return vectors


class EmbeddingCache(VectorCache):
    """A cache of embeddings."""

    def embed(self, embedder: Embedder, texts: Sequence[str]) -> Embeddings:
        """Return the embeddings `(n, hidden_size)` of texts, from the cache or computed and saved."""
        token_ids = embedder.text_encoder.encode(texts)
        return self.vectors(
            token_ids,
            fingerprint=embedder.fingerprint(),
            width=embedder.hidden_size,
            compute=lambda: embedder.embed_tokens(token_ids),
        )


def _key(fingerprint: str, token_ids: Sequence[TokenIds]) -> str:
    """Hash everything that determines the vectors; token ids reflect the tokenizer, template and length."""
    digest = hashlib.sha256(fingerprint.encode())
    for ids in token_ids:
        digest.update(len(ids).to_bytes(8, "little"))
        digest.update(ids.tobytes())
    return digest.hexdigest()


def _read(file: Path, *, shape: tuple[int, int]) -> Embeddings | None:
    """Return the vectors in a file of the cache; None if the file does not exist or is damaged."""
    try:
        embeddings = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return embeddings if embeddings.shape == shape and embeddings.dtype == np.float32 else None
