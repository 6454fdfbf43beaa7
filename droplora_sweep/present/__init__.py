"""Views of a sweep: `contents` makes them as data; terminal, figures and report show them."""
