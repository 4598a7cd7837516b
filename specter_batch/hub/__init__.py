"""Bundles in repositories of the Hugging Face hub: their URLs, downloads, uploads, and what the hub's errors mean."""
