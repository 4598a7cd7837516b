"""`python -m specter_batch` is the `specter-batch` command."""

from specter_batch.cli import main

main()
