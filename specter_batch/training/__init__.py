"""Fine-tuning: the only part of the core that knows torch and transformers."""
