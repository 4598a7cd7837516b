"""The certificate of a graph: unseen papers, the deferral margin, and how many labels differ from the exact model."""
