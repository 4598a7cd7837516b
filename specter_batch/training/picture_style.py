"""A fixed style for matplotlib's pictures, so that they are the same on every machine."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib


@contextmanager
def fixed_style(settings: Mapping[str, Any]) -> Iterator[None]:
    """Draw with matplotlib's defaults and these settings. The same drawing gives the same bytes of SVG.

    Args:
        settings: Entries of `matplotlib.rcParams`. The user's matplotlib style is ignored.
    """
    style: Any = {"svg.hashsalt": "specter-batch", "text.parse_math": False, **settings}
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style)
        yield
