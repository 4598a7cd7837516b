"""The report of a night: figures, drift, gates, the HTML page and the Prometheus metrics."""
