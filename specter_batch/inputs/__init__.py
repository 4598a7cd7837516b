"""Which files an input consists of: each one found is read, ignored for a stated reason, or failed."""
