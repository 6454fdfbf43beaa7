"""Adapters taken out of a sweep: exported, merged, compressed, scored."""
