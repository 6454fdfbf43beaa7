"""Search spaces to begin with: those that are shipped, and one for a user's model and data."""
