"""A sweep and its trials as their events tell of them, and where their files lie; light."""
