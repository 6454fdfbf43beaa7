"""A page that shows a sweep while it runs, from its ledger alone, and asks its driver for changes.

It is served by the standard library: one page, for its owner, which a browser asks for every few
seconds. A framework and its event loop would add nothing to that. Where a browser runs no script,
the page loads itself anew.
"""
