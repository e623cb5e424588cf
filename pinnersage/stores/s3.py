"""S3: storage in an object store that speaks S3's protocol, through s3fs.

For several machines without a shared disk. Files named by their content never change, so a copy
of one in the cache folder is good for ever: DuckDB, NumPy and Arrow read those copies, and no
extension has to be downloaded. What may change is read anew each time. The pointer of the live
release moves by a conditional put (``If-Match``), which the store must support: AWS, Cloudflare
R2 and MinIO do.

Credentials and endpoint come from the environment, as for any AWS client: ``AWS_ACCESS_KEY_ID``,
``AWS_SECRET_ACCESS_KEY``, ``AWS_ENDPOINT_URL``, a role of the machine.
"""

import contextlib
import functools
import hashlib
import os
import re
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from pathlib import Path
from typing import Any

from pinnersage.errors import ConfigError, DataError, PinnerSageError, TransientError
from pinnersage.stores.disk import disk_errors
from pinnersage.stores.folder import Folder
from pinnersage.stores.storage import Entry

PARQUET = ".parquet"
PARALLEL = 8
"""Files that are fetched at a time: one takes milliseconds, nearly all of them waiting."""
BELOW = {"aiobotocore", "aiohttp", "botocore", "s3fs", "urllib3"}
"""Packages whose other errors mean that the store, or the way to it, is in trouble."""
KEPT_HOURS = 12
"""A copy used within this time stays, whatever the limit: no task runs longer."""


class S3:
    """Objects under one URL, with a cache of local copies."""

    def __init__(self, url: str, cache: Path, *, cache_gb: float = 20.0) -> None:
        self.url = url.rstrip("/")
        self.cache = cache
        self.cache_gb = cache_gb
        self._prefix = self.url.removeprefix("s3://")

    @property
    def _fs(self) -> Any:
        return file_system()

    @property
    def _copies(self) -> Path:
        return self.cache / hashlib.sha256(self.url.encode()).hexdigest()[:12]

    @property
    def where(self) -> str:
        """The URL."""
        return self.url

    @property
    def scratch(self) -> Path:
        """A folder beside the cache."""
        return self.cache / ".scratch"

    def read(self, key: str) -> bytes | None:
        """Return an object's content."""
        with errors(self.url):
            try:
                data: bytes = self._fs.cat_file(f"{self._prefix}/{key}")
            except FileNotFoundError:
                return None
            return data

    def exists(self, key: str) -> bool:
        """Return whether an object is there."""
        with errors(self.url):
            try:  # not isfile, which takes every error for a no
                return bool(self._fs.info(f"{self._prefix}/{key}")["type"] == "file")
            except FileNotFoundError:
                return False

    def names(self, prefix: str) -> list[str]:
        """Return the names right below a prefix."""
        place = f"{self._prefix}/{prefix}".rstrip("/")
        with errors(self.url):
            try:
                found = self._fs.ls(place, detail=False)
            except FileNotFoundError:
                return []
        return sorted({path.rstrip("/").rpartition("/")[2] for path in found if path != place})

    def list(self, prefix: str) -> list[Entry]:
        """Return every object below a prefix."""
        place = f"{self._prefix}/{prefix}".rstrip("/")
        with errors(self.url):
            found = self._fs.find(place, detail=True)
        return sorted(
            Entry(
                path.removeprefix(f"{self._prefix}/"),
                facts["size"],
                facts["LastModified"].astimezone(UTC),
            )
            for path, facts in found.items()
        )

    def local(self, key: str) -> Path:
        """Return a copy of an object that never changes; fetched once."""
        path = self._copies / key
        with cache_lock(self.cache), contextlib.suppress(FileNotFoundError):
            os.utime(path)
            return path
        with errors(self.url), disk_errors(self.cache):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".", dir=path.parent)
            os.close(handle)
            try:
                self._fs.get_file(f"{self._prefix}/{key}", name)
                Path(name).replace(path)
            except FileNotFoundError as error:
                raise DataError(
                    f"{self.url}/{key} is gone, and something names it. Restore it, or compute "
                    "its day again. See runbook: broken file."
                ) from error
            finally:
                Path(name).unlink(missing_ok=True)
        return path

    def locals(self, keys: Iterable[str]) -> Sequence[Path]:
        """Return copies of several objects, some fetched at a time."""
        wanted = list(keys)
        if not wanted:
            return []
        trim(self.cache, self.cache_gb * 1e9, unused_since=time.time() - KEPT_HOURS * 3600)
        with ThreadPoolExecutor(PARALLEL) as pool:
            return list(pool.map(self.local, wanted))

    def write(self, key: str, data: bytes) -> None:
        """Replace an object."""
        with errors(self.url):
            self._fs.pipe_file(f"{self._prefix}/{key}", data)

    def swap(self, key: str, old: bytes | None, data: bytes) -> bool:
        """Replace an object by a conditional put.

        The tag is read before the content: if the object changes between the two, or after them,
        the put names a tag that is no longer there and is refused. A put whose answer is lost is
        sent again, by layers below us too, and then refused because of itself: a mark that only
        this call can have left says so.
        """
        path = f"{self._prefix}/{key}"
        with errors(self.url):
            condition = {"IfNoneMatch": "*"}
            if old is not None:
                try:
                    condition = {"IfMatch": self._fs.info(path)["ETag"]}
                except FileNotFoundError:
                    return False
                if self.read(key) != old:
                    return False
            mark = uuid.uuid4().hex
            try:
                self._fs.pipe_file(path, data, Metadata={"swap": mark}, **condition)
            except Exception as error:
                if self._mark(path) == mark:
                    return True
                if _refused(error):
                    return False
                raise
        return True

    def _mark(self, path: str) -> str | None:
        try:
            found: str | None = self._fs.metadata(path, refresh=True).get("swap")
        except FileNotFoundError:
            return None
        return found

    def add(self, source: Path, key: str) -> None:
        """Upload a finished file; its copy here is not kept."""
        with errors(self.url):
            self._fs.put_file(str(source), f"{self._prefix}/{key}")
        source.unlink()

    def remove(self, key: str) -> None:
        """Remove an object, and the copy of it here."""
        with errors(self.url), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._prefix}/{key}")
        (self._copies / key).unlink(missing_ok=True)

    def forget(self, prefix: str) -> None:
        """Remove copies of objects that are no longer there, and unfinished ones.

        One that is being fetched at this moment is unfinished too: fetching it fails.
        """
        there = {entry.key for entry in self.list(prefix)}
        for path in (self._copies / prefix).rglob("*"):
            if path.is_file() and path.relative_to(self._copies).as_posix() not in there:
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:  # noqa: ARG002 (nothing can be locked)
        """Keep nobody out."""
        yield

    def under(self, prefix: str) -> "S3":
        """Return the objects below a prefix; copies share the cache's limit."""
        return S3(f"{self.url}/{prefix}", self.cache, cache_gb=self.cache_gb)


@contextlib.contextmanager
def errors(url: str) -> Iterator[None]:
    """Turn what the store of ``url``, or the way to it, says into this project's errors."""
    try:
        yield
    except PinnerSageError:
        raise
    except Exception as error:
        raise translated(error, url) from error


def translated(error: Exception, url: str) -> Exception:
    """Return what to raise for an error of s3fs or of the client below it."""
    from botocore import exceptions  # noqa: PLC0415 (an optional extra)

    said = _first_line(error)
    if isinstance(error, (PermissionError, exceptions.NoCredentialsError)):
        return ConfigError(
            f"{url} refuses: {said}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the "
            "machine's role, to an account that may read, write, list and delete there."
        )
    if isinstance(error, FileNotFoundError):
        return ConfigError(f"{url}: {said}. Make the bucket, or correct its name.")
    if isinstance(error, (exceptions.HTTPClientError, exceptions.ConnectionError, TimeoutError)):
        return TransientError(
            f"{url} cannot be reached: {said}. Nothing was published. Check AWS_ENDPOINT_URL and "
            "the network, then run the step again."
        )
    below = type(error).__module__.partition(".")[0]
    if isinstance(error, OSError) or below in BELOW:
        return TransientError(
            f"{url}: {said}. Nothing was published. Run the step again; if it stays, see the "
            "store's own status."
        )
    return error


def matching(pattern: str) -> list[str]:
    """Return the URLs of the Parquet files that a pattern, or a prefix, names; sorted.

    One flat listing: s3fs's own ``glob`` lists folder by folder and leaves out, without a word, a
    folder that it could not list.
    """
    from fsspec.utils import glob_translate  # noqa: PLC0415 (with the optional extra)

    wanted = pattern.removeprefix("s3://").rstrip("/")
    fixed = re.split(r"[*?\[]", wanted, maxsplit=1)[0]
    with errors(pattern):
        found = file_system().find(fixed if fixed == wanted else fixed.rpartition("/")[0])
    if fixed == wanted:
        found = [path for path in found if path == wanted or path.endswith(PARQUET)]
    else:
        matches = re.compile(glob_translate(wanted)).match
        found = [path for path in found if matches(path)]
    return sorted(f"s3://{path}" for path in found)


def file_system() -> Any:
    """Return the client of this process, which DuckDB can be given too."""
    return _file_system(os.getpid())


@functools.cache
def _file_system(pid: int) -> Any:  # noqa: ARG001 (a forked child must not use its parent's)
    """Return the client of this process; listings are never remembered."""
    try:
        import s3fs  # noqa: PLC0415 (an optional extra)
    except ImportError as error:
        raise ConfigError(
            "lake.root is on S3, and s3fs is not installed. Install the extra s3 of this project."
        ) from error
    return s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)


def _refused(error: BaseException | None) -> bool:
    """Return whether a conditional put found another content than it named."""
    while error is not None:
        code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
        if code in {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}:
            return True
        error = error.__cause__
    return False


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def trim(cache: Path, limit: float, *, unused_since: float) -> None:
    """Remove the copies that were used longest ago until the rest fits the limit.

    Several processes may do so at once. A copy used after ``unused_since`` (seconds since 1970)
    stays, since a task may be about to open it.
    """
    copies = []
    for path in cache.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and ".scratch" not in path.parts and path.suffix != ".lock":
                facts = path.stat()
                copies.append((facts.st_mtime, facts.st_size, path))
    over = sum(size for _, size, _ in copies) - limit
    for used, size, path in sorted(copies):
        if over <= 0 or used >= unused_since:
            break
        with cache_lock(cache), contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < unused_since:  # not used since it was looked at
                path.unlink()
                over -= size


def cache_lock(cache: Path) -> contextlib.AbstractContextManager[None]:
    """Keep a copy from being taken and thrown away at once."""
    return Folder(cache).locked("trim")
