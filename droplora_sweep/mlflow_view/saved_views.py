"""Saved views and a description, put into an experiment's tags.

They are an extra: a store that refuses a tag, drops it or shortens it costs the view and nothing
else. What a user has made, changed or written is left as it is.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE as NOTE

from .descriptions import experiment_note, is_own_note
from .views import TAG_PREFIX, is_ours, own_views, tag_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlflow import MlflowClient

    from .views import View


def save_views(client: MlflowClient, experiment_id: str, views: Iterable[View]) -> list[str]:
    """Save views where an experiment has none of their keys, or an unchanged earlier one.

    Args:
        client: The store's.
        experiment_id: The experiment.
        views: The views.

    Returns:
        Keys of all views of here that the experiment has now.
    """
    wanted = {f"{TAG_PREFIX}{view.key}": tag_value(view) for view in views}
    tags = _tags(client, experiment_id)
    wanted = {
        tag: value
        for tag, value in wanted.items()
        if tag not in tags or (is_ours(tags[tag]) and tags[tag] != value)
    }
    _set(client, experiment_id, wanted)
    if wanted:
        tags = _tags(client, experiment_id)
    saved = list(own_views(tags))
    note = experiment_note(experiment_id, tags)
    is_free = NOTE not in tags or is_own_note(tags[NOTE])
    if saved and is_free and tags.get(NOTE) != note:
        _set(client, experiment_id, {NOTE: note})
    return saved


def _tags(client: MlflowClient, experiment_id: str) -> dict[str, str]:
    return dict(client.get_experiment(experiment_id).tags)


def _set(client: MlflowClient, experiment_id: str, tags: dict[str, str]) -> None:
    for tag, value in tags.items():
        # Refused by the server, or too long for it; one that is away fails at the next call too.
        with suppress(MlflowException):
            client.set_experiment_tag(experiment_id, tag, value)
