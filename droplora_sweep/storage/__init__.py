"""Storage in an object store: a URL, and the folder on this machine that mirrors it."""
