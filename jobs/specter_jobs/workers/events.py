"""The events that workers report to the driver; they can be sent to another process or machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from specter_batch.errors import SpecterBatchError


class Task(Protocol):
    """A piece of work that can be given to another worker when the first one dies."""

    @property
    def number(self) -> int:
        """The task's position among all tasks."""

    @property
    def name(self) -> str:
        """The name of the file or shard, for messages."""


TaskT = TypeVar("TaskT", bound=Task)
TaskIn = TypeVar("TaskIn", bound=Task, contravariant=True)
OutcomeT = TypeVar("OutcomeT")


@dataclass(frozen=True, kw_only=True)
class Started:
    """A worker takes tasks and prepares them. `Ready` or `Failed` comes before the first `Done`."""

    worker: int


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A worker can run tasks; `description` describes what it runs on."""

    worker: int
    description: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A worker cannot start, and another try would fail for the same reason."""

    worker: int
    error: SpecterBatchError


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A worker died, and the tasks it had have no outcome; `why` is a clause such as "it was killed by signal 9"."""

    worker: int
    why: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A worker has read this many more bytes of a task's input."""

    worker: int
    number: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Done(Generic[OutcomeT]):
    """A worker has finished the task of this number."""

    worker: int
    number: int
    outcome: OutcomeT


Event = Started | Ready | Failed | Lost | Progress | Done[OutcomeT]
