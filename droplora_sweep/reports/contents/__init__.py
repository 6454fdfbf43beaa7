"""Facts -> values to draw or to write: pure functions, one module per part of a report."""
