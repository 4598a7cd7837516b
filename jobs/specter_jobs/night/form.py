"""The form of a night's label files, from the settings, the plan and the bundle."""

import datetime

from specter_batch.model.bundle import ModelBundle
from specter_jobs.output.label_form import LabelForm
from specter_jobs.plan.config import NightConfig
from specter_jobs.plan.sections import LabelColumns
from specter_jobs.plan.shards import Plan


def label_form(config: NightConfig, plan: Plan, bundle: ModelBundle, *, night: datetime.date) -> LabelForm:
    """Return the form of the label files of a night.

    Raises:
        ConfigError: `top_k` is larger than the number of labels of the model.
    """
    return LabelForm(
        labels=bundle.labels,
        logit_divisor=bundle.logit_divisor,
        bundle=bundle.fingerprint,
        night=night,
        columns=config.section(LabelColumns),
        kept=plan.kept,
        partitions=plan.partitions,
        embedding_size=bundle.embedding_size if config.embeddings else None,
    )
