"""Which files of ours a value passes through while a command runs."""

import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any

from pydantic import BaseModel

import specter_batch
import specter_jobs

PACKAGES = [Path(str(package.__file__)).parent for package in (specter_batch, specter_jobs)]


class Walk:
    """Traces a value through our files.

    A file is on the walk if a function of it holds the value when a call of the function begins or ends: as an
    argument, in a local variable, or as what it returns. A value is also held by a list, tuple, set or dict that holds
    it, and by a dataclass or pydantic model with a field that holds it. Attributes of other objects do not count.

    Args:
        is_it: Says whether an object is the value, in any of its forms.
        until: Says whether the walk has reached its end; files that come later do not count.

    Attributes:
        files: The files, as `specter_jobs/night/run.py`, in the order in which the value reaches them.
    """

    def __init__(self, is_it: Callable[[Any], bool], *, until: Callable[[], bool]) -> None:
        self.files: list[str] = []
        self._is_it, self._until = is_it, until
        self._at_work = threading.local()  # what is called here must not be traced itself

    @contextmanager
    def traced(self) -> Iterator[None]:
        """Trace this thread and those that are started meanwhile."""
        threading.setprofile(self._called)
        sys.setprofile(self._called)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _called(self, frame: FrameType, event: str, returned: Any) -> None:
        if event not in ("call", "return") or getattr(self._at_work, "yes", False):
            return
        name = _name(frame.f_code.co_filename)
        if name is None or name in self.files or frame.f_code.co_name == "<module>":
            return
        self._at_work.yes = True
        try:
            values = [*frame.f_locals.values(), returned if event == "return" else None]
            if any(self._holds(value, frozenset()) for value in values) and not self._until():
                self.files.append(name)
        finally:
            self._at_work.yes = False

    def _holds(self, value: Any, around: frozenset[int]) -> bool:
        if self._is_it(value):
            return True
        if id(value) in around or isinstance(value, type):
            return False
        return any(self._holds(part, around | {id(value)}) for part in _parts(value))


@cache
def _name(file: str) -> str | None:
    for package in PACKAGES:
        if Path(file).is_relative_to(package):
            return f"{package.name}/{Path(file).relative_to(package).as_posix()}"
    return None


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict | MappingProxyType):
        return [*value, *value.values()]
    if isinstance(value, Collection) and type(value).__module__ in ("builtins", "collections"):
        return () if isinstance(value, str | bytes | bytearray | range) else list(value)
    if isinstance(value, BaseModel):
        return list(value.__dict__.values())
    if is_dataclass(value):
        return [getattr(value, field.name, None) for field in fields(value)]
    return ()
