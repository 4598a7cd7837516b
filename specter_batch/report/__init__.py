"""Pages and pictures of a night, an evaluation and a training run: one look, no script, no network, no torch."""
