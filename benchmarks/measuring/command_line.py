"""Shared parts of the benchmarks' command lines: numbers with a lower limit, and errors without a traceback."""

import argparse
import sys
from collections.abc import Callable

from specter_batch.errors import SpecterBatchError


def at_least(lowest: int) -> Callable[[str], int]:
    """Return a parser for a number of the command line that refuses numbers below `lowest`."""

    def number(word: str) -> int:
        if int(word) < lowest:
            raise argparse.ArgumentTypeError(f"expected {lowest} or more, got {word}")
        return int(word)

    return number


def run_benchmark(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Run a benchmark with the command line's arguments, and print errors as one line."""
    try:
        main(parser.parse_args())
    except SpecterBatchError as error:
        sys.exit(f"error: {error}")
