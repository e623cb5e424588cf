"""Stores: where tables, profiles, vectors and embeddings are kept; and which of them is in force.

Each kind is a small protocol with an embedded implementation and one for production; one set of
contract tests runs against all.
"""

import os
from typing import TYPE_CHECKING, Any

from pinnersage.errors import ConfigError

if TYPE_CHECKING:  # a builder's child process imports this package and needs none of these
    from pinnersage.config import Settings
    from pinnersage.stores.keyvalue import KeyValueStore
    from pinnersage.stores.lake import Lake
    from pinnersage.stores.neighbours import Neighbours
    from pinnersage.stores.states import States
    from pinnersage.stores.storage import Storage
    from pinnersage.stores.vectors import VectorStore


def open_storage(settings: "Settings") -> "Storage":
    """Return where lake, releases and reports are: the home folder, or an object store."""
    if not settings.lake.root:
        from pinnersage.stores.folder import Folder  # noqa: PLC0415 (only the one in force)

        return Folder(settings.home)
    from pinnersage.stores.s3 import S3  # noqa: PLC0415

    return S3(settings.lake.root, settings.home / "cache", cache_gb=settings.lake.cache_gb)


def open_lake(settings: "Settings") -> "Lake":
    """Return the lake."""
    from pinnersage.stores.lake import Lake  # noqa: PLC0415 (a builder's child needs no pyarrow)

    return Lake(open_storage(settings).under("lake"))


def open_keyvalue(settings: "Settings") -> "KeyValueStore":
    """Return the key-value store that the settings choose."""
    if settings.keyvalue.store == "lmdb":
        from pinnersage.stores.lmdb_store import LmdbStore  # noqa: PLC0415 (only the one in force)

        return LmdbStore(settings.home / "stores" / "keyvalue")
    from pinnersage.stores.redis_store import RedisStore  # noqa: PLC0415

    return RedisStore(redis_url(settings))


def open_states(settings: "Settings") -> "States":
    """Return the online states, in the kind of store that the profiles are in."""
    if settings.keyvalue.store == "lmdb":
        from pinnersage.stores.lmdb_states import LmdbStates  # noqa: PLC0415 (only the one in force)

        return LmdbStates(settings.home / "stores" / "online")
    from pinnersage.stores.redis_states import RedisStates  # noqa: PLC0415

    return RedisStates(redis_url(settings))


def open_neighbours(settings: "Settings") -> "Neighbours":
    """Return where neighbours of medoids are remembered: shared if the profiles are."""
    from pinnersage.stores import neighbours  # noqa: PLC0415

    if settings.keyvalue.store == "redis":
        return neighbours.Shared(redis_url(settings))
    return neighbours.Memory(settings.retrieval.cached_medoids)


def redis_url(settings: "Settings") -> str:
    """Return the address of the Redis that the settings name."""
    url = settings.keyvalue.url or os.environ.get("REDIS_URL", "")
    if not url:
        raise ConfigError("keyvalue.store is redis, and neither keyvalue.url nor REDIS_URL is set.")
    return url


def open_vectors(settings: "Settings") -> "VectorStore":
    """Return the vector store that the settings choose."""
    config = settings.index
    graph: dict[str, Any] = {
        "m": config.hnsw_m,
        "ef_construct": config.hnsw_ef_construct,
        "ef_search": config.hnsw_ef_search,
        "quantisation": config.quantisation,
    }
    if config.store == "edge":
        from pinnersage.stores.edge import EdgeStore  # noqa: PLC0415

        root = settings.home / "stores" / "vectors"
        return EdgeStore(root, **graph)
    from pinnersage.stores.qdrant import QdrantStore  # noqa: PLC0415

    location = config.location or os.environ.get("QDRANT_URL", "")
    if not location:
        raise ConfigError("index.store is qdrant; set index.location or QDRANT_URL.")
    if location == ":memory:":
        raise ConfigError(
            "index.location is :memory:, which no other step would find. Use path:DIR."
        )
    if location.startswith("path:"):  # from whatever folder a command is given
        location = f"path:{settings.home / location.removeprefix('path:')}"
    key = os.environ.get("QDRANT_API_KEY")
    return QdrantStore(location, api_key=key, **graph)
