"""Resident groups: Ray Train runs that live as long as the sweep and serve trials by lease.

`manager` starts groups, `pool` is where they meet trials, `client` is a trial as Ray Tune sees it.
"""
