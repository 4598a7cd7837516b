"""Where files are and how they are written: paths and URLs, whole files, locks, markers, streamed JSON."""
