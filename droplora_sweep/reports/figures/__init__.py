"""Values -> pictures: one module per kind of figure, none of which computes what it draws."""
