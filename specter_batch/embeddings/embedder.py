"""What a model must offer so that its embeddings can be written, and the bundle as such a model."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from specter_batch.graph_names import Precision
from specter_batch.model.bundle import ModelBundle
from specter_batch.model.device import Device
from specter_batch.model.predictions import OnnxClassifier
from specter_batch.model.session import Embeddings
from specter_batch.model.tokens.encoding import TextEncoder, TokenIds
from specter_batch.storage.location import Location


class PaperEmbedder(Protocol):
    """A model that turns token ids into vectors."""

    @property
    def text_encoder(self) -> TextEncoder:
        """The model's tokenizer."""

    @property
    def text_template(self) -> str:
        """Template that joins a paper's title and abstract into one text."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about the model that a user should read."""

    @property
    def hidden_size(self) -> int:
        """Length of an embedding."""

    @property
    def about(self) -> Mapping[str, str | int]:
        """The metadata of the file: everything that decides over the embeddings, by name."""

    def embed_tokens(self, token_ids: Sequence[TokenIds]) -> Embeddings:
        """Return the embeddings `(n, hidden_size)` float32 of papers, given as token ids, in input order."""


class BundleEmbedder:
    """The graphs of a bundle, which give embeddings without torch and exactly as the nightly job gets them.

    Args:
        place: Folder or URL of the bundle.
        device: Device to run on.
        graph: Precision of the graph to run; the fastest graph for the device when None.
        threads: Number of papers at once on a CPU; the usable cores when None.

    Raises:
        BundleError: The bundle cannot be read, or its graphs give no embeddings.
        ProviderError: The bundle cannot run on the device.
    """

    def __init__(
        self, place: Location, *, device: Device, graph: Precision | None = None, threads: int | None = None
    ) -> None:
        bundle = ModelBundle.open(place)
        self.hidden_size = bundle.embedding_size
        self.text_encoder = bundle.text_encoder()
        self.text_template = bundle.text_template
        self.notes: tuple[str, ...] = ()
        self._classifier = OnnxClassifier(bundle, device=device, precision=graph, threads=threads)
        self.about: Mapping[str, str | int] = {
            "encoder": str(place),
            "pooling": bundle.manifest.pooling,
            "max_length": bundle.manifest.max_length,
            "text_template": bundle.text_template,
            "precision": self._classifier.entry.precision,
            "fingerprint": bundle.fingerprint,
        }

    def embed_tokens(self, token_ids: Sequence[TokenIds]) -> Embeddings:
        """Return the embeddings `(n, hidden_size)` float32 of papers, given as token ids, in input order."""
        return self._classifier.logits_and_embeddings(token_ids)[1]

    def close(self) -> None:
        """Stop the threads of the model."""
        self._classifier.close()
