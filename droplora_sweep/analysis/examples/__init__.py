"""Single examples: on which of them settings differ."""
