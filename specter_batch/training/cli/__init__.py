"""The commands of the training layer."""

# Command -> (place of its function, what it does). A module is imported when its command is called.
COMMANDS = {
    "prepare-scidocs": (
        "specter_batch.training.cli.scidocs:prepare_scidocs",
        "Join SciDocs' papers with their MeSH and MAG labels, in the official splits.",
    ),
    "split": (
        "specter_batch.training.cli.split:split",
        "Split labelled papers into parts to train on, to validate on and to test on, without duplicates across parts.",
    ),
    "train": (
        "specter_batch.training.cli.train:train",
        "Fine-tune an encoder with a classification head on labelled papers.",
    ),
    "distill": (
        "specter_batch.training.cli.distill:distill",
        "Train a student: a faster model with fewer layers that learns from the logits of a trained one.",
    ),
    "evaluate": (
        "specter_batch.training.cli.evaluate:evaluate",
        "Evaluate a trained model (run or bundle) on labelled papers. Papers seen in training are excluded.",
    ),
    "compare-models": (
        "specter_batch.training.cli.compare_models:compare_models",
        "Compare two models (runs or bundles) on the same labelled papers, with intervals and a significance test.",
    ),
    "baseline": (
        "specter_batch.training.cli.baseline:baseline",
        "Evaluate a linear SVM on frozen embeddings, and compare fine-tuned models with it.",
    ),
    "project": (
        "specter_batch.training.cli.project:project",
        "Draw labelled papers on a plane, before and after fine-tuning.",
    ),
    "demo": (
        "specter_batch.training.cli.demo:demo",
        "Run every step on synthetic papers: train, export, classify, report.",
    ),
}
