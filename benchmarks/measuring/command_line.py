"""What the benchmarks' command lines share: numbers with a lower bound, and errors without a traceback."""

import argparse
import sys
from collections.abc import Callable

from specter_batch.errors import SpecterBatchError


def at_least(lowest: int) -> Callable[[str], int]:
    """Return what reads a number from the command line and refuses a lower one."""

    def number(word: str) -> int:
        if int(word) < lowest:
            raise argparse.ArgumentTypeError(f"expected {lowest} or more, got {word}")
        return int(word)

    return number


def run_benchmark(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Run a benchmark as the command line asks; what it cannot do is said in one line."""
    try:
        main(parser.parse_args())
    except SpecterBatchError as error:
        sys.exit(f"error: {error}")
