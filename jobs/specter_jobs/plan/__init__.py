"""What a night is going to do: its settings, its shards and its identity."""
