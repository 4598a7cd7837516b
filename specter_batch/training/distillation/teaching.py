"""What a student learns from: its teacher, the teacher's logits, and unlabelled papers."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from specter_batch.model.ranking import Predictions
from specter_batch.model.session import Logits
from specter_batch.model.tokens.encoding import TextEncoder, TokenIds
from specter_batch.papers.labels import LabelSet
from specter_batch.storage.files import file_sha256
from specter_batch.training.distillation.comparison import COMPARISON, StudentComparison, compare_with_teacher
from specter_batch.training.distillation.loss import DistillationLoss
from specter_batch.training.distillation.settings import StudentSettings
from specter_batch.training.distillation.speed import papers_per_second
from specter_batch.training.distillation.student import evenly_spaced, make_student
from specter_batch.training.embeddings.cache import VectorCache
from specter_batch.training.embeddings.embed import embed
from specter_batch.training.model.classifier import SpecterClassifierConfig, SpecterForSequenceClassification
from specter_batch.training.model.encoder import LoadedEncoder
from specter_batch.training.model.settings import TORCH_MAX_TOKENS
from specter_batch.training.papers.dataset import NO_LABEL, EncodedPapers
from specter_batch.training.papers.labelled import LabelledPapers
from specter_batch.training.papers.unlabelled import UnlabelledPapers
from specter_batch.training.run.folder import TrainingRun
from specter_batch.training.run.lineage import DISTILLED_FROM, Lineage

# Where the teacher's logits are kept, next to the checkpoints, until the run is finished.
LOGITS_FOLDER = "teacher_logits"

WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True)
class ComparedPapers:
    """Labelled papers on which a student is compared with its teacher.

    Attributes:
        part: Which papers these are.
        papers: The papers.
        token_ids: Token ids of the papers, `(seq_len,)` each.
        logits: The student's logits, `(n_papers, n_labels)`.
        unseen: True for papers that neither model was trained on, `(n_papers,)`.
    """

    part: Literal["validation", "test"]
    papers: LabelledPapers
    token_ids: Sequence[TokenIds]
    logits: Logits
    unseen: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Teaching:
    """A teacher, and how and on which papers it teaches a student.

    Attributes:
        teacher: The run of the teacher.
        settings: The student's layers and its loss.
        unlabelled: Papers without labels; None if there are none.
        layers: Numbers, from 1, of the layers that the student takes from the teacher.
        teacher_layers: Number of encoder layers of the teacher.

    Raises:
        ConfigError: The teacher has fewer layers than the student should have.
    """

    teacher: TrainingRun
    settings: StudentSettings
    unlabelled: UnlabelledPapers | None = None
    layers: tuple[int, ...] = field(init=False)
    teacher_layers: int = field(init=False)

    def __post_init__(self) -> None:
        """Find the layers before anything else is done."""
        of = int(SpecterClassifierConfig.from_pretrained(self.teacher.path).num_hidden_layers)
        object.__setattr__(self, "teacher_layers", of)
        object.__setattr__(self, "layers", evenly_spaced(self.settings.layers, of=of))

    @property
    def labels(self) -> LabelSet:
        """The teacher's labels, which are the student's."""
        return self.teacher.labels

    @property
    def loss(self) -> DistillationLoss:
        """The loss that the settings describe."""
        return DistillationLoss.of(self.settings)

    @cached_property
    def teacher_sha256(self) -> str:
        """Hash of the teacher's weights."""
        return file_sha256(self.teacher.path / WEIGHTS_FILE)

    @property
    def unlabelled_papers(self) -> int:
        """Number of papers without labels."""
        return 0 if self.unlabelled is None else len(self.unlabelled)

    def lineage(self) -> Lineage:
        """Return the teacher's lineage. All papers of teacher and student count as seen."""
        lineage = Lineage.of_encoder(str(self.teacher.path))
        if self.unlabelled is None:
            return lineage
        return replace(lineage, seen_texts=np.union1d(lineage.seen_texts, self.unlabelled.hashes))

    def request(self) -> dict[str, Any]:
        """Return what must be the same for a run to resume, next to the settings and the labelled papers."""
        return {
            "teacher_sha256": self.teacher_sha256,
            "unlabelled_sha256": None if self.unlabelled is None else self.unlabelled.content_sha256(),
            "student": self.settings.model_dump(mode="json", include=set(StudentSettings.model_fields)),
        }

    def student(self, *, attention_dropout: float) -> LoadedEncoder:
        """Make the student, with the teacher's embeddings, pooling, head, labels and tokenizer.

        Args:
            attention_dropout: Share of the attention weights that a training step leaves out.

        Raises:
            ConfigError: The teacher has fewer layers.
        """
        return make_student(self.teacher, self.layers, attention_dropout=attention_dropout)

    def record(self, comparison: StudentComparison | None) -> dict[str, Any]:
        """Return what the student's run records about where it comes from, and how it compares with its teacher."""
        training = self.teacher.record.training
        return {
            "run": str(self.teacher.path),
            "sha256": self.teacher_sha256,
            "layers": list(self.layers),
            "of_layers": self.teacher_layers,
            "train_sha256": training.get("train_sha256"),
            "unlabelled_papers": self.unlabelled_papers,
            "unlabelled_dropped": {} if self.unlabelled is None else dict(self.unlabelled.dropped),
            DISTILLED_FROM: training.get(DISTILLED_FROM),
            COMPARISON: None if comparison is None else comparison.model_dump(mode="json"),
        }

    def taught(
        self,
        labelled: EncodedPapers,
        encoder: TextEncoder,
        *,
        cache: VectorCache,
        autocast_dtype: torch.dtype | None,
        advance: Callable[[int], None],
    ) -> EncodedPapers:
        """Return the labelled papers and the unlabelled ones after them, with the teacher's logits for all.

        Args:
            labelled: The labelled papers.
            encoder: Makes the token ids of the unlabelled papers.
            cache: Keeps the teacher's logits, so that a run that resumes does not compute them again.
            autocast_dtype: Type of the matrix products; fp32 when None.
            advance: Called with the number of papers of each batch that is done.
        """
        texts = [] if self.unlabelled is None else self.unlabelled.texts(self.teacher.text_template)
        token_ids = [*labelled.token_ids, *encoder.encode(texts)]
        return EncodedPapers(
            token_ids=token_ids,
            label_ids=np.append(labelled.label_ids, np.full(len(texts), NO_LABEL, dtype=np.int64)),
            teacher_logits=self.logits(token_ids, cache=cache, autocast_dtype=autocast_dtype, advance=advance),
        )

    def logits(
        self,
        token_ids: Sequence[TokenIds],
        *,
        cache: VectorCache,
        autocast_dtype: torch.dtype | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> Logits:
        """Return the teacher's logits `(n, n_labels)` float32 of papers, from the cache or computed and saved."""
        return cache.vectors(
            token_ids,
            fingerprint=hashlib.sha256(f"{self.teacher_sha256} {autocast_dtype}".encode()).hexdigest(),
            width=len(self.labels),
            compute=lambda: self._computed(token_ids, autocast_dtype=autocast_dtype, advance=advance),
        )

    def compared(
        self,
        student: SpecterForSequenceClassification,
        papers: ComparedPapers,
        *,
        temperature: float,
        cache: VectorCache,
    ) -> StudentComparison | None:
        """Compare the student with its teacher on labelled papers; None if no paper can be compared.

        Args:
            student: The trained student.
            papers: The papers, with the student's logits.
            temperature: Divisor of the student's logits before the softmax.
            cache: Keeps the teacher's logits.
        """
        true = papers.papers.known_label_ids(self.labels)
        compared = papers.unseen & (true >= 0)
        if not compared.any():
            return None
        teacher_logits = self.logits(papers.token_ids, cache=cache)
        speeds = papers_per_second(self._model(), student, papers.token_ids)
        return compare_with_teacher(
            true[compared],
            teacher=Predictions.from_logits(teacher_logits[compared], temperature=self.teacher.temperature),
            student=Predictions.from_logits(papers.logits[compared], temperature=temperature),
            labels=self.labels,
            papers=papers.part,
            papers_per_second=speeds,
            device=str(student.device),
        )

    def _model(self) -> SpecterForSequenceClassification:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model: SpecterForSequenceClassification = SpecterForSequenceClassification.from_pretrained(self.teacher.path)
        model.eval().to(device)
        return model

    def _computed(
        self, token_ids: Sequence[TokenIds], *, autocast_dtype: torch.dtype | None, advance: Callable[[int], None]
    ) -> Logits:
        model = self._model()
        vectors = embed(model, token_ids, max_tokens=TORCH_MAX_TOKENS, autocast_dtype=autocast_dtype, advance=advance)
        with torch.inference_mode():
            return np.asarray(model.head.cpu()(torch.from_numpy(vectors)).numpy())
