"""Models of `report.json` and `manifest.json`. They import nothing of the code that computes them."""
