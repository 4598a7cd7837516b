"""Stop, kill or damage the product at a chosen point."""
