"""The commands of the nightly job. Each one parses its options, calls one function and prints the result."""

# Where the function of each command is, and what it does. A module is imported when its command is called.
COMMANDS = {
    "ingest": (
        "specter_jobs.cli.ingest:ingest",
        "Turn a public dump into parquet files of papers. If it is interrupted, run it again to resume.",
    ),
    "estimate": (
        "specter_jobs.cli.estimate:estimate",
        "Estimate a night before it runs: papers, tokens, hours, disk, memory, and what --reuse saves.",
    ),
    "classify": (
        "specter_jobs.cli.classify:classify",
        "Label a dump of papers. If it is interrupted, run it again to resume.",
    ),
    "status": (
        "specter_jobs.cli.inspect:status",
        "Show how far a night is: running, finished, or stopped before its end.",
    ),
    "verify": (
        "specter_jobs.cli.inspect:verify",
        "Check a night's counts, schemas and hashes; exit code 1 if anything differs, 4 if only a gate failed.",
    ),
}
