"""HTML pages and pictures for nights, evaluations and training runs. They need no script, no network and no torch."""
