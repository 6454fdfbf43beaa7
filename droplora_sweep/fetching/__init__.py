"""Copies of data that lie behind a URL: an object store's, or a web server's."""
