"""Addresses of saved views, read from the store of a storage folder without MLflow."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from .ui import MLFLOW_DATABASE
from .views import ALL_SWEEPS, TAG_PREFIX, all_sweeps, key_of, links, own_views

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from droplora_sweep.records.trial import SweepRecord

_TAGS = """
SELECT experiment_tags.experiment_id, key, value FROM experiment_tags
JOIN experiments ON experiments.experiment_id = experiment_tags.experiment_id
WHERE lifecycle_stage = 'active' AND substr(key, 1, ?) = ?
"""


def stored_links(storage: Path, sweep: SweepRecord) -> dict[str, str]:
    """Return the addresses of a sweep's views by their names; none where the store has none.

    Args:
        storage: Folder of the store.
        sweep: A sweep that is published to it.
    """
    for experiment_id, tags in _own_tags(storage).items():
        if TAG_PREFIX + key_of(sweep) in tags:
            return links_among(experiment_id, tags, sweep)
    return {}


def newest_links(storage: Path, limit: int) -> dict[str, str]:
    """Return where the charts of the newest sweeps are, by the sweeps' names.

    Args:
        storage: Folder of the store.
        limit: So many at most.
    """
    found = [
        (time_ms, name, links(key, experiment_id)["charts"])
        for experiment_id, tags in _own_tags(storage).items()
        for key, (name, time_ms) in own_views(tags).items()
        if time_ms
    ]
    return {name: where for _, name, where in sorted(found, reverse=True)[:limit]}


def links_among(experiment_id: str, tags: Mapping[str, str], sweep: SweepRecord) -> dict[str, str]:
    """Return the addresses of a sweep's views, and of the comparison where there are others.

    Args:
        experiment_id: The sweep's experiment.
        tags: Tags of the experiment.
        sweep: The sweep.
    """
    views = own_views(tags)
    if key_of(sweep) not in views:
        return {}
    found = links(key_of(sweep), experiment_id)
    if ALL_SWEEPS in views and sum(time_ms > 0 for _, time_ms in views.values()) > 1:
        found["all sweeps"] = all_sweeps(experiment_id)
    return found


def _own_tags(storage: Path) -> dict[str, dict[str, str]]:
    """Tags of saved views, by the experiment's id."""
    database = storage / MLFLOW_DATABASE
    found: dict[str, dict[str, str]] = {}
    if not database.is_file():
        return found
    try:
        uri = f"{database.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=1)) as connection:
            rows = connection.execute(_TAGS, (len(TAG_PREFIX), TAG_PREFIX)).fetchall()
    except sqlite3.Error:
        # Links are an extra: a store that is locked, or no store, costs them alone.
        return found
    for experiment_id, key, value in rows:
        found.setdefault(str(experiment_id), {})[key] = value
    return found
