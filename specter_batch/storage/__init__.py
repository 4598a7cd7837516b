"""Access to files: paths and URLs, atomic writes, locks, markers, streamed JSON."""
