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
    "show": (
        "specter_jobs.cli.show:show",
        "Show papers of a night: the least certain ones, errors, a sample of a label, an id, or rejected rows.",
    ),
    "compare": (
        "specter_jobs.cli.compare:compare",
        "Compare two nights: which labels changed, and what changed each of them.",
    ),
    "nights": (
        "specter_jobs.cli.nights:nights",
        "List the nights in a folder: date, rows, labels, failed gates, seconds and bundle.",
    ),
    "verify": (
        "specter_jobs.cli.inspect:verify",
        "Check a night's counts, schemas and hashes; exit code 1 if anything differs, 4 if only a gate failed.",
    ),
}
