"""The plan of a night: settings, shards and identity."""
