"""The canary of a run: what its trials do is tried on a group before the first of them."""

from .trying import Canary as Canary
