"""Loading a pretrained encoder, from the hub or a folder, under a new head."""

import json
from pathlib import Path

from transformers import AutoConfig, AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerBase
from transformers.utils import logging
from transformers.utils.hub import cached_file

from specter_batch.errors import ConfigError
from specter_batch.labels import LabelSet
from specter_batch.training.config import TrainConfig
from specter_batch.training.model import Pooling, SpecterClassifierConfig, SpecterForSequenceClassification

# Where sentence-transformers says how its encoders pool.
POOLING_FILE = "1_Pooling/config.json"


def load_encoder(
    config: TrainConfig, labels: LabelSet
) -> tuple[SpecterForSequenceClassification, PreTrainedTokenizerBase, int]:
    """Load a BERT-type encoder under a new head.

    Returns:
        The model, its tokenizer, and the text length that it can take.

    Raises:
        ConfigError: The encoder is not there, not whole, or no BERT.
    """
    try:
        base = AutoConfig.from_pretrained(config.encoder)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--encoder {config.encoder}: neither a folder with a config.json nor a model the hub could give "
            f"({str(error).splitlines()[0]})"
        ) from error
    if not isinstance(base, BertConfig):
        raise ConfigError(f"--encoder {config.encoder}: expected a BERT-type encoder, got {base.model_type}")
    pooling = encoders_own_pooling(config.encoder) if config.pooling == "auto" else config.pooling
    names = {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
    inherited = {key: value for key, value in base.to_diff_dict().items() if key not in ("model_type", "architectures")}
    classifier = SpecterClassifierConfig(
        **{**inherited, **names, "pooling": pooling, "head": config.head.model_dump(mode="json", exclude_none=True)}
    )
    model = SpecterForSequenceClassification(classifier)
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # what is missing is looked at below; that the pooler is not used is no news
    try:
        # The encoder alone: were it a run, its head would know other labels.
        pretrained, loading = BertModel.from_pretrained(
            config.encoder, add_pooling_layer=pooling == "pooler", output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(config.encoder, use_fast=True)
    except (OSError, ValueError, TypeError) as error:  # TypeError: no tokenizer file at all
        raise ConfigError(
            f"--encoder {config.encoder}: its weights or its tokenizer cannot be loaded ({str(error).splitlines()[0]})"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
    missing = [key for key in loading["missing_keys"] if not key.startswith("pooler.")]
    if missing:
        raise ConfigError(f"--encoder {config.encoder}: its weights lack {len(missing)} tensors, {missing[0]} first")
    model.bert.load_state_dict(pretrained.state_dict())
    return model, tokenizer, min(config.max_length, base.max_position_embeddings)


def encoders_own_pooling(encoder: str) -> Pooling:
    """Return the pooling that an encoder was made for: its sentence-transformers one, else `cls`, SPECTER's own."""
    file = cached_file(encoder, POOLING_FILE, _raise_exceptions_for_missing_entries=False)
    if file is None:
        return "cls"
    return "mean" if json.loads(Path(file).read_bytes()).get("pooling_mode_mean_tokens") else "cls"
