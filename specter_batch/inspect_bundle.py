"""The command that shows a model bundle: inspect."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from specter_batch.options import JsonOutput
from specter_batch.options.command import command
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import PathOrUrl
from specter_batch.terminal import show, show_json

if TYPE_CHECKING:
    from specter_batch.model.manifest import GraphEntry


class InspectOptions(JsonOutput):
    """Options of `inspect`."""

    bundle: Annotated[PathOrUrl, Option(argument="BUNDLE")] = Field(description="Model bundle: a folder or a URL.")


@command("specter-batch inspect bundle", "specter-batch inspect bundle --json")
def inspect(options: InspectOptions) -> None:
    """Show what a model bundle holds, after checking every file in it."""
    from specter_batch.model.bundle import ModelBundle
    from specter_batch.model.manifest import CARD_FILE
    from specter_batch.storage.files import file_sha256

    bundle = ModelBundle.open(options.bundle)
    manifest = bundle.manifest
    if options.as_json:
        show_json(manifest.model_dump(mode="json"))
        return
    show(f"bundle {bundle.place}", f"fingerprint  {manifest.fingerprint}", f"encoder      {manifest.encoder}")
    show(f"made by      {manifest.created_by}")
    show(f"labels       {len(manifest.labels)}: {', '.join(manifest.labels)}")
    show(f"text         {manifest.text_template}, at most {manifest.max_length} tokens")
    show(f"head         {manifest.pooling} pooling, hidden layers {manifest.head.get('hidden_sizes') or 'none'}")
    scaled = ", which the logits of the graphs are already divided by" if manifest.logit_divisor == 1 else ""
    show(f"temperature  {manifest.temperature:.4f}{scaled}")
    for graph in manifest.graphs:
        margin = "" if graph.deferral_margin is None else f", defers under a margin of {graph.deferral_margin:.3f}"
        show(
            f"graph        {graph.file}: {graph.precision} for {graph.device}, opset {graph.opset}{margin}; parity "
            f"over {graph.parity.papers} papers: max Δlogit {graph.parity.max_logit_difference:.1e}, "
            f"{graph.parity.label_flips} flips{_embeddings(graph)}"
        )
        if graph.certificate is not None:
            show(f"certificate  {graph.file}: {graph.certificate.sentence}")
    teacher = manifest.training.get("distilled_from")
    if isinstance(teacher, dict):
        layers = teacher.get("layers")
        shown = ", ".join(map(str, layers)) if isinstance(layers, list) else "not recorded"
        show(f"student of   {teacher.get('run')}, with its layers {shown} of {teacher.get('of_layers')}")
    card = bundle.path / CARD_FILE
    if card.is_file():
        edited = file_sha256(card) != manifest.files.get(CARD_FILE)
        show(f"model card   {CARD_FILE}{', edited since the export' if edited else ''}")
    validation = manifest.training.get("validation")
    macro_f1 = validation.get("macro_f1") if isinstance(validation, dict) else None
    if isinstance(macro_f1, float):
        show(f"validation   macro F1 {macro_f1:.4f}")


def _embeddings(graph: "GraphEntry") -> str:
    if graph.embedding_size is None or graph.parity.min_embedding_cosine is None:
        return ", no embeddings"
    return f"; embeddings of {graph.embedding_size} numbers, smallest cosine {graph.parity.min_embedding_cosine:.5f}"
