"""What the graphs of a bundle are named by: the precision of their numbers, and the kind of device they are for."""

from typing import Literal

Precision = Literal["fp32", "fp16", "int8"]
DeviceKind = Literal["cpu", "cuda"]
