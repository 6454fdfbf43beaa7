"""Data of each figure; nothing is drawn here."""
