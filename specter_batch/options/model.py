"""Settings of how a bundle runs, which several commands share."""

from typing import Annotated, ClassVar

from pydantic import Field

from specter_batch.graph_names import Precision, TokenizerChoice
from specter_batch.settings import Settings
from specter_batch.settings.declaration import Option

Graph = Annotated[
    Precision | None,
    Option(default="int8 on a CPU and fp16 on CUDA, if the bundle has them"),
    Field(description="Graph of the bundle to run. fp32 is exact and slower. Labels of another graph are not reused."),
]


TokenizerOption = Annotated[
    TokenizerChoice,
    Field(
        description="Package that makes token ids. `auto` uses nanotoken, which is faster, if it is installed and "
        "gives the ids of tokenizers. Ids and labels are the same with both."
    ),
]


class BundleDevice(Settings):
    """Where a bundle runs."""

    panel: ClassVar[str] = "Model"

    device: Annotated[str, Option(metavar="DEVICE")] = Field(
        default="auto",
        description="Where a bundle runs: auto, cpu, cuda or cuda:N. `auto` uses a working CUDA GPU if there is one, "
        "else the CPU. With `cuda` the command fails if there is none.",
    )
