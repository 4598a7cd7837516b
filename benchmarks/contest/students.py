"""Students of the model with fewer layers, for their speed. They are not trained, so their labels mean nothing."""

import json
import shutil
from pathlib import Path

from specter_batch.training.run.folder import TrainingRun
from specter_export.recipe import load_recipe


def student_int8(run: TrainingRun, work: Path, *, divisor: int) -> Path:
    """Return the int8 graph of a student with a part of a run's layers, which is made once.

    Args:
        run: The run of the teacher.
        work: Folder for the student's run and bundle.
        divisor: 2 for half of the layers, 3 for a third of them.
    """
    every = json.loads((run.path / "config.json").read_text())["num_hidden_layers"]
    layers = max(1, every // divisor)
    bundle, recipe = work / f"student_{layers}_of_{every}", load_recipe("cpu-int8")
    if not bundle.exists():
        # Imported here, so that a process that only times the graph needs little memory.
        from specter_batch.training.distillation.student import evenly_spaced, make_student
        from specter_export.build import build_bundle

        folder = work / f"{bundle.name}_run"
        shutil.copytree(run.path, folder, dirs_exist_ok=True)
        make_student(run, evenly_spaced(layers, of=every), attention_dropout=0.0).model.save_pretrained(folder)
        # The layers were not trained to work together, so a label says nothing, and nothing is promised about labels.
        tolerances = recipe.tolerances.model_copy(update={"max_label_flips": None})
        build_bundle(TrainingRun.open(folder), bundle, recipes=[recipe.model_copy(update={"tolerances": tolerances})])
    return bundle / recipe.file
