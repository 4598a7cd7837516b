"""Remembers which texts the model labelled a short while ago, so that equal texts are labelled once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Most bytes of results that are kept. With 20 labels this is about 200,000 texts.
KEPT_BYTES = 64 << 20
# A text also takes this many bytes in the dictionary of hashes, about.
BYTES_OF_A_HASH = 250


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Where the results of some texts come from.

    Attributes:
        fresh: Positions of the texts that the model labels, `(n_fresh,)`. Equal texts are there once.
        from_fresh: For each text, the position in `fresh` of the equal text; -1 if its result is in a slot.
        from_slot: For each text, the slot of its result; -1 if the model labels it.
        to_slot: Slots in which the results of the fresh texts are kept, `(n_fresh,)`.
    """

    fresh: npt.NDArray[np.int64]
    from_fresh: npt.NDArray[np.int64]
    from_slot: npt.NDArray[np.int64]
    to_slot: npt.NDArray[np.int64]


class RecentTexts:
    """Gives each new text a slot, and takes the slot of the oldest text if there is no free one.

    Args:
        slots: Number of texts to remember.
    """

    def __init__(self, slots: int) -> None:
        self._slot_of: dict[str, int] = {}
        self._text_in: list[str] = []
        self._slots = max(slots, 1)
        self._next = 0

    def plan(self, hashes: Sequence[str]) -> Plan:
        """Decide where the results of the next texts come from. Results must be kept in the order of the plans.

        Args:
            hashes: Hash of each text.
        """
        fresh: list[int] = []
        to_slot: list[int] = []
        at: dict[str, int] = {}
        from_fresh = np.full(len(hashes), -1, np.int64)
        from_slot = np.full(len(hashes), -1, np.int64)
        for position, text in enumerate(hashes):
            if text in at:
                from_fresh[position] = at[text]
            elif text in self._slot_of:
                from_slot[position] = self._slot_of[text]
            else:
                from_fresh[position] = at[text] = len(fresh)
                fresh.append(position)
                to_slot.append(self._add(text))
        return Plan(
            fresh=np.array(fresh, np.int64),
            from_fresh=from_fresh,
            from_slot=from_slot,
            to_slot=np.array(to_slot, np.int64),
        )

    def _add(self, text: str) -> int:
        slot = self._next
        self._next = (slot + 1) % self._slots
        if slot < len(self._text_in):
            del self._slot_of[self._text_in[slot]]
            self._text_in[slot] = text
        else:
            self._text_in.append(text)
        self._slot_of[text] = slot
        return slot


class RecentResults:
    """Keeps the results of recent texts in the slots that `RecentTexts` gave them.

    Args:
        width: Number of values of a result.
        kept_bytes: Most bytes to keep.
    """

    def __init__(self, width: int, *, kept_bytes: int = KEPT_BYTES) -> None:
        self.slots = max(kept_bytes // (4 * width + BYTES_OF_A_HASH), 1)
        self._kept = np.zeros((self.slots, width), np.float32)  # the system gives memory only to slots that are used

    def complete(self, plan: Plan, fresh: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the results of all texts of a plan, `(n_texts, width)`, and keep the fresh ones.

        Args:
            plan: The plan.
            fresh: Results of the texts that the model labelled, `(n_fresh, width)`.
        """
        results = np.empty((len(plan.from_fresh), self._kept.shape[1]), np.float32)
        is_fresh = plan.from_fresh >= 0
        results[is_fresh] = fresh[plan.from_fresh[is_fresh]]
        results[~is_fresh] = self._kept[plan.from_slot[~is_fresh]]
        self._kept[plan.to_slot] = fresh
        return results
