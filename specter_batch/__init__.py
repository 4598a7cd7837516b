"""Label scientific papers in parquet with a fine-tuned SPECTER, every night, with every row accounted for."""

__version__ = "0.1.0"
