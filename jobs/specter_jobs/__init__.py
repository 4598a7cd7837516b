"""The nightly job: a bundle and parquet in; labels, rejects and a report out, with every row accounted for."""
