"""Fine-tuning with transformers' Trainer: from labelled papers to a run folder."""

import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from transformers import EarlyStoppingCallback, PrinterCallback, TrainingArguments, set_seed

from specter_batch.errors import ConfigError
from specter_batch.logs import log
from specter_batch.metrics.temperature import fit_temperature
from specter_batch.model.manifest import TOKENIZER_FILE
from specter_batch.model.tokens.encoding import TextEncoder, TokenIds
from specter_batch.papers.labels import MAG, MESH, LabelSet
from specter_batch.training.distillation.teaching import LOGITS_FOLDER, ComparedPapers, Teaching
from specter_batch.training.embeddings.cache import VectorCache
from specter_batch.training.embeddings.embed import embed
from specter_batch.training.fit.arguments import (
    CHECKPOINTS,
    autocast_dtype,
    make_arguments,
    resolve_precision,
    trackers,
)
from specter_batch.training.fit.config import TrainConfig
from specter_batch.training.fit.epoch_choice import validation_metrics
from specter_batch.training.fit.final_test import FinalTest
from specter_batch.training.fit.optimisation import make_loss, make_optimizer
from specter_batch.training.fit.progress import TrainingProgress
from specter_batch.training.fit.run_writer import write_run
from specter_batch.training.fit.warm_start import head_logits, train_head_alone
from specter_batch.training.fit.weight_average import make_trainer
from specter_batch.training.model.classifier import SpecterForSequenceClassification
from specter_batch.training.model.encoder import load_encoder
from specter_batch.training.model.settings import TORCH_MAX_TOKENS
from specter_batch.training.model.threads import use_threads
from specter_batch.training.papers.dataset import EncodedPapers, padded
from specter_batch.training.papers.labelled import LabelledPapers, label_warnings
from specter_batch.training.papers.split import check_split
from specter_batch.training.run.folder import TrainingRun
from specter_batch.training.run.lineage import Lineage
from specter_batch.training.run.resume import (
    SaveWhenInterrupted,
    SharedCheckpoints,
    StopWhenDiverged,
    claimed,
    diverged,
    last_checkpoint,
    remove_broken_checkpoints,
    saving,
)

logger = logging.getLogger(__name__)


def train(
    config: TrainConfig,
    *,
    train_papers: LabelledPapers,
    val_papers: LabelledPapers,
    out: Path,
    allow_overlap: bool = False,
    test_papers: LabelledPapers | None = None,
    teaching: Teaching | None = None,
    threads: int | None = None,
    warn: Callable[[str], None] = logger.warning,
    console: Console | None = None,
) -> TrainingRun:
    """Fine-tune an encoder with a head, or a student, and keep the epoch that `epoch_rank` ranks highest.

    If a run was killed, the same call with the same settings and papers resumes from the last checkpoint. Under
    torchrun each process calls this function, and the first process writes the files.

    Args:
        config: Settings of the training run.
        train_papers: Papers to train on.
        val_papers: Papers on which the best epoch and the temperature are chosen.
        out: The run folder to write.
        allow_overlap: True to train although some validation papers are also training papers.
        test_papers: Papers to score the finished model on, once, at the end; no test when None.
        teaching: Makes a student of a trained model, and teaches the student with the model's logits. Then `config` is
            from `DistillConfig.of_student`. When None, an encoder is trained on the labels alone.
        threads: Number of CPU threads; chosen when None.
        warn: Function that is called with each warning before training starts. The run records the warnings as well.
        console: Gets a progress bar if it is a terminal; nothing is shown when None.

    Raises:
        ConfigError: The folder holds another run, or another process uses it. Or the encoder cannot be loaded,
            validation papers are also training papers, or the loss becomes NaN or infinite.
        LabelError: A validation paper has a label that no training paper has.
        KeyboardInterrupt: The run was interrupted. A checkpoint has been saved.
    """
    labels = choose_labels(config, train_papers) if teaching is None else teaching.labels
    lineage = Lineage.of_encoder(config.encoder) if teaching is None else teaching.lineage()
    notes = [
        *label_warnings(train_papers),
        *lineage.notes,
        *check_split(train_papers, val_papers, labels, inherited=lineage.seen_texts, allow_overlap=allow_overlap),
    ]
    test = None
    if test_papers is not None:
        test = FinalTest.prepared(
            test_papers,
            labels,
            train_papers=train_papers,
            val_papers=val_papers,
            inherited=lineage.seen_texts,
        )
        notes += [*label_warnings(test_papers), *test.notes]
    train_ids, val_ids = train_papers.label_ids(labels), val_papers.label_ids(labels)
    if config.head.normalises_batches and config.batch_size < 2:
        raise ConfigError("batch norm needs a batch of at least two papers; raise --batch-size")
    request = {
        "settings": config.model_dump(mode="json"),
        "train_sha256": train_papers.content_sha256(),
        "validation_sha256": val_papers.content_sha256(),
        **({} if teaching is None else teaching.request()),
    }
    arguments = make_arguments(config, out)
    set_seed(config.seed)
    if teaching is None:
        loaded = load_encoder(config, labels)
    else:
        loaded = teaching.student(attention_dropout=config.attention_dropout)
    model = loaded.model
    used = use_threads(threads, tokens=config.batch_size * loaded.max_length, hidden_size=model.config.hidden_size)
    facts: dict[str, Any] = {
        "precision": resolve_precision(config),
        "threads": used.count,
        "threads_chosen_by": used.chosen_by,
    }
    notes += loaded.notes
    if arguments.process_index == 0:
        for note in notes:
            warn(note)
    with ExitStack() as held:
        with arguments.main_process_first(local=False):
            if arguments.process_index == 0:
                held.enter_context(claimed(out, request))
                remove_broken_checkpoints(out / CHECKPOINTS)
                loaded.tokenizer.save_pretrained(out)
        encoder = TextEncoder(out / TOKENIZER_FILE, max_length=loaded.max_length)
        train_set, val_set = (
            EncodedPapers(token_ids=encoder.encode(papers.texts(loaded.text_template)), label_ids=ids)
            for papers, ids in ((train_papers, train_ids), (val_papers, val_ids))
        )

        progress = TrainingProgress(
            console, papers=len(train_papers) + (0 if teaching is None else teaching.unlabelled_papers)
        )
        held.enter_context(progress.shown())
        if teaching is not None:
            with arguments.main_process_first(local=False):  # the other processes read the logits that it keeps
                train_set = _taught(teaching, config, train_set, encoder, progress, out=out)
        log(
            "training started",
            papers=len(train_set.label_ids),
            validation_papers=len(val_ids),
            labels=len(labels),
            encoder=config.encoder,
            epochs=config.epochs,
            device=str(arguments.device),
            **facts,
        )
        history: list[dict[str, Any]] = []
        if (config.warm_start or config.freeze_encoder) and last_checkpoint(out / CHECKPOINTS) is None:
            train_head_alone(model, config, train_set, val_set, labels, progress)
        if not config.freeze_encoder:
            loss = make_loss(config, train_ids, n_labels=len(labels)) if teaching is None else teaching.loss
            history = _fine_tune(model, config, arguments, train_set, val_set, labels, progress, loss=loss)
        if arguments.process_index == 0:
            # In full precision and with the usual batch plan, as in later evaluations and in the job.
            logits = head_logits(model.head.cpu(), embed(model, val_set.token_ids, max_tokens=TORCH_MAX_TOKENS))
            if not np.isfinite(logits).all():
                raise diverged("at the end")
            test_ids: Sequence[TokenIds] = ()
            test_logits = None
            if test is not None:
                test_ids = encoder.encode(test.papers.texts(loaded.text_template))
                test_logits = head_logits(model.head, embed(model, test_ids, max_tokens=TORCH_MAX_TOKENS))
            if teaching is not None:
                seen_texts = np.union1d(train_papers.seen_hashes(), lineage.seen_texts)
                unseen = ~(val_papers.seen_by(seen_texts, template=loaded.text_template) | val_papers.copies())
                scored = ComparedPapers("validation", val_papers, val_set.token_ids, logits, unseen)
                if test is not None and test_logits is not None:
                    unseen = ~(test.seen | test.papers.copies())
                    scored = ComparedPapers("test", test.papers, test_ids, test_logits, unseen)
                comparison = teaching.compared(
                    model,
                    scored,
                    temperature=fit_temperature(logits.astype(np.float64), val_ids),
                    cache=VectorCache(out / CHECKPOINTS / LOGITS_FOLDER),
                )
                lineage = replace(lineage, distilled_from=teaching.record(comparison))
            write_run(
                out,
                model,
                config,
                train_papers=train_papers,
                val_papers=val_papers,
                val_logits=logits,
                labels=labels,
                max_length=loaded.max_length,
                text_template=loaded.text_template,
                lineage=lineage,
                test=test,
                test_logits=test_logits,
                facts=request | facts | {"notes": notes, "log": history},
            )
            shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
            log("run written", run=str(out))
        with arguments.main_process_first(local=False):  # the other processes wait for the files
            return TrainingRun.open(out)


def choose_labels(config: TrainConfig, papers: LabelledPapers) -> LabelSet:
    """Return the label set of SciDocs if the settings name one, otherwise the labels of the papers, sorted."""
    if config.labels == "auto":
        return LabelSet.from_values(papers.papers["label"].unique().to_pylist())
    return {"mesh": MESH, "mag": MAG}[config.labels]


def _taught(
    teaching: Teaching,
    config: TrainConfig,
    labelled: EncodedPapers,
    encoder: TextEncoder,
    progress: TrainingProgress,
    *,
    out: Path,
) -> EncodedPapers:
    """Return all papers with the teacher's logits, which are kept next to the checkpoints."""
    papers = len(labelled.label_ids) + teaching.unlabelled_papers
    with progress.stage("label papers with the teacher", papers=papers) as advance:
        return teaching.taught(
            labelled,
            encoder,
            cache=VectorCache(out / CHECKPOINTS / LOGITS_FOLDER),
            autocast_dtype=autocast_dtype(config),
            advance=advance,
        )


def _fine_tune(
    model: SpecterForSequenceClassification,
    config: TrainConfig,
    arguments: TrainingArguments,
    train_set: EncodedPapers,
    val_set: EncodedPapers,
    labels: LabelSet,
    progress: TrainingProgress,
    *,
    loss: Callable[..., torch.Tensor],
) -> list[dict[str, Any]]:
    """Train the encoder and the head in place, and return the Trainer's log of losses and scores."""
    stop = SaveWhenInterrupted()
    model.recompute_layers = config.gradient_checkpointing
    trainer = make_trainer(
        config.weight_averaging,
        warmup_ratio=config.warmup_ratio,
        model=model,
        args=arguments,
        train_dataset=train_set.dataset(
            leave_out_lone_of=config.batch_size if config.head.normalises_batches else None
        ),
        eval_dataset=val_set.longest_first().dataset(),
        data_collator=padded,
        compute_metrics=validation_metrics(labels, lambda: trainer.state),
        compute_loss_func=loss,
        callbacks=[
            EarlyStoppingCallback(config.early_stopping_patience),
            stop,
            StopWhenDiverged(),
            SharedCheckpoints(),
            progress,
            *trackers(config, arguments),
        ],
        optimizers=(make_optimizer(model, config), None),
    )
    trainer.remove_callback(PrinterCallback)  # it would print what the progress shows
    checkpoints = Path(str(arguments.output_dir))
    with saving(checkpoints), stop.listening():
        trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    return list(trainer.state.log_history)
