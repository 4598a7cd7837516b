"""Loading a pretrained encoder, from the hub or a folder, under a new head."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import logging as hub_logging
from transformers import AutoConfig, AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerBase
from transformers.utils import logging

from specter_batch.errors import ConfigError, SpecterBatchError
from specter_batch.papers.labels import LabelSet
from specter_batch.storage.location import name_meant
from specter_batch.training.model.classifier import SpecterClassifierConfig, SpecterForSequenceClassification
from specter_batch.training.model.encoder_checks import check_tokenizer, separator_template
from specter_batch.training.model.encoder_folder import EncoderFolder
from specter_batch.training.model.head_config import Pooling
from specter_batch.training.model.settings import ModelSettings

# transformers lists every model that it knows in some of its messages.
_REASON_CHARACTERS = 240

# The name of a model on the hub: OWNER/NAME, or NAME alone.
# Settings of `config.json` that belong to the model class, not to the encoder.
_OWN_SETTINGS = frozenset({"model_type", "architectures", "auto_map"})
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


@dataclass(frozen=True, kw_only=True)
class LoadedEncoder:
    """An encoder that passed the checks, under a new head.

    Attributes:
        model: Pretrained weights and a new head.
        tokenizer: The encoder's own, a fast one.
        max_length: Most tokens of a text that it can take and that the settings allow.
        text_template: How title and abstract become one text, with the encoder's own separator.
        notes: Sentences that a user should read.
    """

    model: SpecterForSequenceClassification
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    text_template: str
    notes: tuple[str, ...]


def load_encoder(config: ModelSettings, labels: LabelSet) -> LoadedEncoder:
    """Load a BERT-type encoder under a new head, and check that all of its parts go together.

    Raises:
        ConfigError: The encoder is not there, not whole, no BERT, or its parts do not go together.
    """
    folder = EncoderFolder.find(config.encoder)
    base = _configuration(folder)
    pooling = folder.own_pooling() if config.pooling == "auto" else config.pooling
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # what is missing is looked at below; that the pooler is not used is no news
    try:
        model, notes = _model(config, folder, base, pooling=pooling, labels=labels)
        tokenizer = _tokenizer(folder)
    finally:
        logging.set_verbosity(verbosity)
    notes += check_tokenizer(folder.name, tokenizer, vocab_size=base.vocab_size)
    template, about_template = separator_template(folder.name, tokenizer)
    return LoadedEncoder(
        model=model,
        tokenizer=tokenizer,
        max_length=min(config.max_length, base.max_position_embeddings),
        text_template=template,
        notes=notes + about_template,
    )


def _configuration(folder: EncoderFolder) -> BertConfig:
    verbosity = hub_logging.get_verbosity()
    hub_logging.set_verbosity_error()  # it prints a long line about each attempt to connect; the error below is enough
    try:
        base = AutoConfig.from_pretrained(folder.model)
    except Exception as error:  # transformers raises many kinds for a damaged config.json
        if Path(folder.model).is_dir():
            problem = (
                f"the folder has no config.json that transformers can read ({_reason(error)}); give a folder that "
                "transformers' save_pretrained wrote, or the name of a model on the Hugging Face hub"
            )
        elif not _HUB_NAME.fullmatch(folder.name):
            problem = "was not found: there is no such folder, and a model on the Hugging Face hub is named OWNER/NAME"
            problem += name_meant(Path(folder.name))
        else:
            problem = (
                "was not found. It is not a folder on this machine, and it could not be downloaded from the Hugging "
                f"Face hub ({_reason(error)}). Check the spelling. For a machine without network, run `hf download "
                f"{folder.name} --local-dir encoder` where there is one, copy the folder, and give --encoder encoder"
                f"{name_meant(Path(folder.name))}"
            )
        raise ConfigError(f"--encoder {folder.name}: {problem}") from error
    finally:
        hub_logging.set_verbosity(verbosity)
    if not isinstance(base, BertConfig):
        raise ConfigError(
            f"--encoder {folder.name}: expected a BERT-type encoder, got {base.model_type}; give one whose config.json "
            "has the model_type bert, such as allenai/specter"
        )
    pad = base.pad_token_id
    if base.is_decoder or base.type_vocab_size < 1 or (pad is not None and not 0 <= pad < base.vocab_size):
        raise ConfigError(
            f"--encoder {folder.name}: its config.json does not describe an encoder (is_decoder {base.is_decoder}, "
            f"type_vocab_size {base.type_vocab_size}, pad_token_id {pad} of {base.vocab_size} tokens); correct it"
        )
    return base


def _model(
    config: ModelSettings, folder: EncoderFolder, base: BertConfig, *, pooling: Pooling, labels: LabelSet
) -> tuple[SpecterForSequenceClassification, tuple[str, ...]]:
    """Return the model with its pretrained weights, and sentences that a user should read."""
    names = {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
    inherited = {key: value for key, value in base.to_diff_dict().items() if key not in _OWN_SETTINGS}
    inherited["attention_probs_dropout_prob"] = config.attention_dropout
    head = config.head.model_dump(mode="json", exclude_none=True)
    classifier = SpecterClassifierConfig(**{**inherited, **names, "pooling": pooling, "head": head})
    pretrained: Any
    try:
        model = SpecterForSequenceClassification(classifier)
        # The encoder alone: were it a run, its head would know other labels.
        pretrained, loading = BertModel.from_pretrained(
            folder.model, add_pooling_layer=pooling == "pooler", output_loading_info=True
        )
    except SpecterBatchError:
        raise
    except Exception as error:  # torch, safetensors and pickle each have kinds of their own
        raise ConfigError(
            f"--encoder {folder.name}: its weights cannot be loaded ({_reason(error)}); fetch it again"
        ) from error
    missing = [key for key in loading["missing_keys"] if not key.startswith("pooler.")]
    if missing:
        raise ConfigError(f"--encoder {folder.name}: its weights lack {len(missing)} tensors, {missing[0]} first")
    state = pretrained.state_dict()
    broken = next((name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())), None)
    if broken is not None:
        raise ConfigError(
            f"--encoder {folder.name}: its weights hold NaN or infinity, in {broken} first; fetch it again"
        )
    # The pooler of a run that reads [CLS] is only there for transformers, see `save_model`.
    has_pooler = not loading["missing_keys"] and getattr(base, "pooling", "pooler") == "pooler"
    if pooling == "pooler" and not has_pooler:
        without = {name: tensor for name, tensor in state.items() if not name.startswith("pooler.")}
        model.bert.load_state_dict(without, strict=False)
        return model, (f"--encoder {folder.name}: has no pooler, so --pooling pooler starts from random weights",)
    model.bert.load_state_dict(state)
    return model, ()


def _tokenizer(folder: EncoderFolder) -> PreTrainedTokenizerBase:
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder.model, use_fast=True)
    except Exception as error:  # TypeError where there is no tokenizer file at all, bare Exception from Rust
        raise ConfigError(
            f"--encoder {folder.name}: its tokenizer cannot be loaded ({_reason(error)}); fetch it again"
        ) from error
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # transformers 5 invents one where there is no file
        raise ConfigError(
            f"--encoder {folder.name}: its tokenizer has no words, because tokenizer.json and vocab.txt are missing or "
            "empty; fetch it again"
        )
    return tokenizer


def _reason(error: Exception) -> str:
    """Return what an error says, on one line that is not too long."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= _REASON_CHARACTERS else said[: _REASON_CHARACTERS - 1] + "…"
