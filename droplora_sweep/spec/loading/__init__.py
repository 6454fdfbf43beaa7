"""Search-space files, from text to a valid sweep or to every fault of them."""
