"""Makes a student of its teacher: some of the layers, and all of the rest."""

from collections.abc import Sequence

from torch import nn
from transformers import AutoTokenizer

from specter_batch.errors import ConfigError
from specter_batch.training.model.classifier import SpecterForSequenceClassification
from specter_batch.training.model.encoder import LoadedEncoder
from specter_batch.training.run.folder import TrainingRun


def evenly_spaced(layers: int, *, of: int) -> tuple[int, ...]:
    """Return the numbers, from 1, of the layers that a student takes from its teacher.

    The first and the last layer are among them; a student of one layer has the last.

    Args:
        layers: Number of layers of the student.
        of: Number of layers of the teacher.

    Raises:
        ConfigError: The teacher has fewer layers.
    """
    if layers > of:
        raise ConfigError(f"--layers {layers}: the teacher has {of} layers; give a number from 1 to {of}")
    if layers == 1:
        return (of,)
    return tuple(1 + (of - 1) * position // (layers - 1) for position in range(layers))


def make_student(teacher: TrainingRun, layers: Sequence[int], *, attention_dropout: float) -> LoadedEncoder:
    """Return a student with the teacher's embeddings, pooling, head, labels and tokenizer, and some of its layers.

    Args:
        teacher: The run of the teacher.
        layers: Numbers, from 1, of the layers to take.
        attention_dropout: Share of the attention weights that a training step leaves out.
    """
    model = SpecterForSequenceClassification.from_pretrained(
        teacher.path, attention_probs_dropout_prob=attention_dropout
    )
    every = model.bert.encoder.layer
    model.bert.encoder.layer = nn.ModuleList([every[number - 1] for number in layers])
    model.config.num_hidden_layers = len(layers)
    return LoadedEncoder(
        model=model,
        tokenizer=AutoTokenizer.from_pretrained(teacher.path, use_fast=True),
        max_length=teacher.record.max_length,
        text_template=teacher.text_template,
        notes=(),
    )
