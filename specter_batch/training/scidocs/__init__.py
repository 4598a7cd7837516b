"""SciDocs prepared for training."""
