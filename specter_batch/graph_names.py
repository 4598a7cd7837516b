"""The names of a bundle's graphs: the precision of their numbers, and the kind of device they are made for."""

from typing import Literal

Precision = Literal["fp32", "fp16", "int8"]
DeviceKind = Literal["cpu", "cuda"]
