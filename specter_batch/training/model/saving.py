"""Saves a trained model in a form that transformers loads too: as a plain BERT classifier where it is equal to one."""

import json
from pathlib import Path

import torch
from torch import nn

from specter_batch.storage.files import write_json
from specter_batch.training.model.classifier import SpecterForSequenceClassification

CONFIG_FILE = "config.json"
# transformers runs this file if a user asks for it with `trust_remote_code=True`.
LOADER_FILE = "load_with_specter_batch.py"
LOADER = '''"""Lets transformers load this model. Its head or pooling needs specter-batch, which must be installed."""

from specter_batch.training.model.classifier import SpecterClassifierConfig, SpecterForSequenceClassification

__all__ = ["SpecterClassifierConfig", "SpecterForSequenceClassification"]
'''
_AUTO_MAP = {
    "AutoConfig": f"{Path(LOADER_FILE).stem}.SpecterClassifierConfig",
    "AutoModelForSequenceClassification": f"{Path(LOADER_FILE).stem}.SpecterForSequenceClassification",
}
# The numbers of a [CLS] vector are below 10. Scaled down by this, tanh changes them by less than a 500,000th. It is a
# power of 2, so that scaling rounds nothing.
TANH_SCALE = 2.0**-12


def save_model(model: SpecterForSequenceClassification, folder: Path) -> None:
    """Save the weights and the configuration of a model.

    `SpecterForSequenceClassification.from_pretrained` loads every model. `AutoModelForSequenceClassification` loads a
    model with a linear head and [CLS] or BERT's pooler as a `BertForSequenceClassification` with the same logits. For
    other models it needs this project in the environment, and `trust_remote_code=True`.
    """
    added = bert_classifier_weights(model)
    model.save_pretrained(folder, state_dict={**model.state_dict(), **added})
    settings = json.loads((folder / CONFIG_FILE).read_bytes())
    if added:
        settings["model_type"] = "bert"
        settings.pop("auto_map", None)
    else:
        settings["auto_map"] = _AUTO_MAP
        (folder / LOADER_FILE).write_text(LOADER)
    write_json(folder / CONFIG_FILE, settings)


def bert_classifier_weights(model: SpecterForSequenceClassification) -> dict[str, torch.Tensor]:
    """Return the weights that a `BertForSequenceClassification` needs in addition; empty if no such model is equal.

    That class always applies its pooler, tanh(W x + b), to [CLS]. For models without a pooler, W scales [CLS] down so
    far that tanh hardly changes it, and the weights of the classifier scale it up again.
    """
    layers = [layer for layer in model.head if not isinstance(layer, nn.Dropout)]
    if model.config.pooling == "mean" or len(layers) != 1 or not isinstance(layers[0], nn.Linear):
        return {}
    weight, bias = layers[0].weight.detach().clone(), layers[0].bias.detach().clone()
    if model.config.pooling == "pooler":
        return {"classifier.weight": weight, "classifier.bias": bias}
    size = model.config.hidden_size
    return {
        "bert.pooler.dense.weight": TANH_SCALE * torch.eye(size),
        "bert.pooler.dense.bias": torch.zeros(size),
        "classifier.weight": weight / TANH_SCALE,
        "classifier.bias": bias,
    }
