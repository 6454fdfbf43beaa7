"""Storage in an object store: a URL, and the folder on this machine that mirrors it."""

from .local import local_storage, mirror_of, storage_name
from .mirror import Mirror
from .object_store import ObjectStore, StoreError, below, beside, is_url

__all__ = [
    "Mirror",
    "ObjectStore",
    "StoreError",
    "below",
    "beside",
    "is_url",
    "local_storage",
    "mirror_of",
    "storage_name",
]
