"""`python -m specter_batch` is the `specter-batch` command."""

from specter_batch.start import main

main()
