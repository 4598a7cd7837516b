"""Fine-tuning: settings, optimiser, batches, the training loop and the temperature."""
