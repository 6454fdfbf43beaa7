"""What the driver process does around a search: checks, connects, records."""
