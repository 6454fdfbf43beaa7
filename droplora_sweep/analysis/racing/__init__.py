"""Racing: the arms of a comparison that get no more seeds."""
