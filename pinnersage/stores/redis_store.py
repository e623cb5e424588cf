"""Redis (or Valkey): a version is sixteen hashes and one line in the list of versions.

The line is written last, in one transaction that also makes the hashes permanent; until then
they expire by themselves, so a dead writer leaves nothing behind. Each writer uses hashes of
its own (a random token names them), so two writers of one version cannot mix.

Sixteen hashes write as fast as plain keys with MSET, need 7 % less memory, and are dropped
by name, without a scan over everything that the server holds.
"""

import json
import re
import secrets
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import redis

from pinnersage.errors import ConfigError, DataError, TransientError
from pinnersage.stores.address import without_password
from pinnersage.stores.keyvalue import Item, KeyValueReader, batches, repeated
from pinnersage.stores.versions import check_name, unknown

_VERSIONS = "pinnersage:versions"
_SHARDS = 16
_BATCH = 20_000
_UNFINISHED_SECONDS = 3600
MEMORY = "Give it memory (maxmemory)."
"""What to do about a server that is full, where versions are not what fills it."""
_COMMAND = re.compile(
    r"Command # \d+ \(.*\) of pipeline caused error: |,? with args beginning with: .*", re.DOTALL
)


def client_of(url: str, *, seconds: float) -> Any:
    """Return a client that waits as long for an answer; ``ConfigError`` for what is no address."""
    try:
        return redis.Redis.from_url(
            url,
            decode_responses=False,
            socket_timeout=seconds,
            socket_connect_timeout=min(seconds, 5),
        )
    except ValueError:  # its text repeats the address, password and all
        raise ConfigError(
            f"{without_password(url)} is no address of a Redis server: "
            "redis://[:password@]host:port/db"
        ) from None


class RedisStore:
    """Versions in the server at ``url``, such as ``redis://:password@host:6379/0``."""

    def __init__(self, url: str) -> None:
        self.name = without_password(url)
        self.client: Any = client_of(url, seconds=60)

    def __repr__(self) -> str:
        """Name without secrets."""
        return f"RedisStore({self.name!r})"

    def write(self, version: str, items: Iterable[Item], about: Mapping[str, object]) -> int:
        """See ``KeyValueStore``; a server that is away or full is a ``TransientError``."""
        check_name(version)
        with redis_errors(self.name):
            there = self.record(version)
            if there is None:
                mine = _Record(secrets.token_hex(8), 0, dict(about))
                try:
                    mine = mine._replace(size=self._fill(version, mine.token, items))
                    self._finish(version, mine)
                except BaseException:
                    with suppress(redis.RedisError):
                        self.client.unlink(*_shards(version, mine.token))
                    raise
                there = self.record(version) or mine
        return there.size

    def open(self, version: str) -> "RedisReader":
        """See ``KeyValueStore``; a version that the server has evicted from is refused."""
        with redis_errors(self.name):
            record = self.record(check_name(version))
            if record is None:
                raise unknown(version, self.versions(), self.name)
            held = self._held(version, record.token)
        if held != record.there:
            raise DataError(
                f"{self.name}: version {version!r} holds {held:,} of {record.there:,} values: the "
                "server lost some. Set maxmemory-policy volatile-lru, drop it and publish it again."
            )
        return RedisReader(self, version, record)

    def versions(self) -> list[str]:
        """See ``KeyValueStore``."""
        with redis_errors(self.name):
            return sorted(name.decode() for name in self.client.hkeys(_VERSIONS))

    def drop(self, version: str) -> None:
        """See ``KeyValueStore``; readers that are open raise ``DataError`` from then on."""
        with redis_errors(self.name):
            record = self.record(check_name(version))
            if record is not None:
                pipe = self.client.pipeline(transaction=True)
                pipe.hdel(_VERSIONS, version)
                pipe.unlink(*_shards(version, record.token))
                pipe.execute()

    def erase(self, keys: Collection[bytes]) -> list[str]:
        """See ``KeyValueStore``; readers that are open find none of the keys either."""
        with redis_errors(self.name):
            return [version for version in self.versions() if self._erase(version, list(keys))]

    def _erase(self, version: str, keys: list[bytes]) -> bool:
        """Remove keys and count them as erased in one transaction, begun anew if others wrote."""

        def change(pipe: Any) -> bool:
            line = pipe.hget(_VERSIONS, version)
            if line is None:  # dropped meanwhile
                pipe.multi()
                return False
            record = _Record(*json.loads(line))
            names = _shards(version, record.token)
            found = [key for key in keys if pipe.hexists(names[_shard(key)], key)]
            pipe.multi()
            for key in found:
                pipe.hdel(names[_shard(key)], key)
            if found:
                erased = record._replace(erased=record.erased + len(found))
                pipe.hset(_VERSIONS, version, json.dumps(erased))
            return bool(found)

        erased: bool = self.client.transaction(change, _VERSIONS, value_from_callable=True)
        return erased

    def record(self, version: str) -> "_Record | None":
        """Line of a version in the list of versions."""
        line = self.client.hget(_VERSIONS, version)
        return None if line is None else _Record(*json.loads(line))

    def _held(self, version: str, token: str) -> int:
        pipe = self.client.pipeline(transaction=False)
        for shard in _shards(version, token):
            pipe.hlen(shard)
        return sum(pipe.execute())

    def _fill(self, version: str, token: str, items: Iterable[Item]) -> int:
        shards, count = _shards(version, token), 0
        for batch in batches(items, _BATCH):
            parts: list[dict[bytes, bytes]] = [{} for _ in shards]
            for key, value in batch:
                parts[_shard(key)][key] = value
            pipe = self.client.pipeline(transaction=False)
            for shard, part in zip(shards, parts, strict=True):
                if part:
                    pipe.hset(shard, mapping=part)
                pipe.expire(shard, _UNFINISHED_SECONDS)
            pipe.execute()
            count += len(batch)
        held = self._held(version, token)
        if held != count:
            raise repeated(version, count - held)
        return count

    def _finish(self, version: str, record: "_Record") -> None:
        shards = _shards(version, record.token)
        pipe = self.client.pipeline(transaction=True)
        pipe.hsetnx(_VERSIONS, version, json.dumps(record))
        for shard in shards:
            pipe.persist(shard)
        if not pipe.execute()[0]:  # another writer of this version was faster
            self.client.unlink(*shards)


class RedisReader(KeyValueReader):
    """One version in a server; a connection each thread and process, from the store's pool."""

    def __init__(self, store: RedisStore, version: str, record: "_Record") -> None:
        self.about = record.about
        self._store, self._version, self._record = store, version, record
        self._names = _shards(version, record.token)

    def get(self, key: bytes) -> bytes | None:
        """See ``KeyValueReader``."""
        with redis_errors(self._store.name):
            value: bytes | None = self._store.client.hget(self._names[_shard(key)], key)
            if value is None:
                self._check_there()
        return value

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See ``KeyValueReader``."""
        by_shard: dict[int, list[int]] = {}
        for i, key in enumerate(keys):
            by_shard.setdefault(_shard(key), []).append(i)
        values: list[bytes | None] = [None] * len(keys)
        with redis_errors(self._store.name):
            pipe = self._store.client.pipeline(transaction=False)
            for shard, positions in by_shard.items():
                pipe.hmget(self._names[shard], [keys[i] for i in positions])
            for positions, found in zip(by_shard.values(), pipe.execute(), strict=True):
                for i, value in zip(positions, found, strict=True):
                    values[i] = value
            if None in values:
                self._check_there()
        return values

    def items(self) -> Iterator[Item]:
        """See ``KeyValueReader``; holds all keys of the version, not its values."""
        with redis_errors(self._store.name):
            keys = sorted(key for name in self._names for key in self._store.client.hkeys(name))
        for start in range(0, len(keys), 1000):
            part = keys[start : start + 1000]
            for key, value in zip(part, self.get_many(part), strict=True):
                yield key, value or b""

    def __len__(self) -> int:
        """See ``KeyValueReader``."""
        return self._record.there

    def close(self) -> None:
        """See ``KeyValueReader``; the pool of connections belongs to the store."""

    def _check_there(self) -> None:
        """A missing value means a missing user only while the version itself is there."""
        now = self._store.record(self._version)
        if now is None or now.token != self._record.token:
            raise DataError(
                f"{self._store.name}: version {self._version!r} was dropped while it was open. "
                "Open the live release again."
            )


class _Record(NamedTuple):
    token: str
    size: int
    about: dict[str, Any]
    erased: int = 0

    @property
    def there(self) -> int:
        """How many keys the version has."""
        return self.size - self.erased


def _shard(key: bytes) -> int:
    return zlib.crc32(key) % _SHARDS


def _shards(version: str, token: str) -> list[str]:
    return [f"pinnersage:{version}:{token}:{shard}" for shard in range(_SHARDS)]


@contextmanager
def redis_errors(
    name: str,
    meanwhile: str = "Nothing was published.",
    full: str = "Drop old versions or raise maxmemory, then run the step again.",
) -> Iterator[None]:
    """Turn what a server says into this project's errors, with what that means for the call.

    What was sent to the server is in none of them: it names users.
    """
    try:
        with _without_commands():
            yield
    except redis.AuthenticationError as error:
        raise ConfigError(f"{name} refused the login. Check the user and password.") from error
    except (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError) as error:
        raise TransientError(
            f"{name} is away: {error}. {meanwhile} Try again when it answers."
        ) from error
    except redis.RedisError as error:
        if "maxmemory" in str(error):
            raise TransientError(f"{name} is full: {error}. {meanwhile} {full}") from error
        raise TransientError(f"{name} answered: {error}. {meanwhile}") from error


@contextmanager
def _without_commands() -> Iterator[None]:
    """Take out of an error the command that it is about, where client or server repeat it."""
    try:
        yield
    except redis.RedisError as error:
        error.args = tuple(
            _COMMAND.sub("", value) if isinstance(value, str) else value for value in error.args
        )
        raise
