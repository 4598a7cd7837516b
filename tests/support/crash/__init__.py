"""What stops, kills or damages the product at a chosen point."""
