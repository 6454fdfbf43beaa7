"""Work outside any sweep on a group of its own: a trial, scores, a merged model."""

from .group import LoneGroup as LoneGroup
from .group import lone_group as lone_group
