"""Estimates with ranges."""

from typing import Self

from pydantic import BaseModel, ConfigDict

from specter_batch.metrics.f1 import wilson


class Range(BaseModel):
    """An estimate and the range that it lies in.

    Attributes:
        estimate: The estimate.
        low: Lower end of the range.
        high: Upper end of the range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    estimate: float
    low: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> Self:
        """Return a known value as a range without width."""
        return cls(estimate=value, low=value, high=value)

    @classmethod
    def share_of(cls, count: int, n: int, *, whole: bool) -> Self:
        """Return a share with its 95 % Wilson interval. The share is exact if all rows were read."""
        if whole:
            return cls.exactly(count / n)
        low, high = wilson(count / n, n)
        return cls(estimate=count / n, low=low, high=high)

    def times(self, factor: float) -> Self:
        """Return the estimate and both ends of the range, multiplied by a factor."""
        return type(self)(estimate=self.estimate * factor, low=self.low * factor, high=self.high * factor)

    def without(self, share: Self) -> Self:
        """Return the rest after a share is taken away. The range of the share widens the range of the rest."""
        return type(self)(
            estimate=self.estimate * (1 - share.estimate),
            low=self.low * (1 - share.high),
            high=self.high * (1 - share.low),
        )

    def over(self, rate: Self) -> Self:
        """Return this amount divided by a rate. The range of the rate widens the range of the time."""
        return type(self)(estimate=self.estimate / rate.estimate, low=self.low / rate.high, high=self.high / rate.low)
