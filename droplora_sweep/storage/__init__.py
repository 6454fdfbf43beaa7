"""Storage in an object store: a URL, and the folder on this machine that mirrors it."""

from .mirror import Mirror, local_storage, mirror_of
from .object_store import ObjectStore, is_url

__all__ = ["Mirror", "ObjectStore", "is_url", "local_storage", "mirror_of"]
