"""Retrieve: sample a user's medoids, search near them, merge the candidates (paper, section 4).

Everything is read through the live release, so medoids, index and embeddings belong together;
a mix is refused. What is sampled depends on user, day and draw alone and can be replayed. Each
candidate says which medoid brought it, and at which cosine.
"""

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pinnersage.config import RetrievalConfig, Settings
from pinnersage.errors import DataError
from pinnersage.release import Release, Releases
from pinnersage.stores import embeddings, open_keyvalue, open_lake, open_vectors
from pinnersage.stores.embeddings import Embeddings
from pinnersage.stores.keyvalue import KeyValueReader
from pinnersage.stores.lake import broken_file
from pinnersage.stores.packing import Profile, key_of, unpack
from pinnersage.stores.vectors import VectorReader


@dataclass(frozen=True)
class Candidate:
    """A pin for ranking, and why it is there."""

    pin_id: int | str
    cosine: float
    medoid: int | str
    """The sampled medoid that is nearest to it."""


@dataclass(frozen=True)
class Recommendation:
    """What a user is recommended."""

    user_id: int | str
    release: int
    draw: int
    medoids: list[int | str]
    """Those that were sampled, in order of the draw."""
    candidates: list[Candidate]
    """Best first; equal cosines by pin."""


class Reader:
    """The live release, open for reading."""

    def __init__(
        self,
        release: Release,
        profiles: KeyValueReader,
        table: Embeddings,
        index: VectorReader | None,
        config: RetrievalConfig,
    ) -> None:
        self.release = release
        self.profiles = profiles
        self.embeddings = table
        self.index = index
        self.config = config

    def profile(self, user_id: int | str) -> Profile | None:
        """Return a user's clusters, most important first; None for a user without any."""
        value = self.profiles.get(key_of(user_id))
        return None if value is None else unpack(value)

    def recommend(self, user_id: int | str, *, draw: int = 0) -> Recommendation | None:
        """Return candidates for a user; None for a user without clusters.

        Parameters
        ----------
        user_id : int or str
        draw : int
            Another number, another sample.
        """
        profile = self.profile(user_id)
        if profile is None or not len(profile):
            return None
        if self.index is None:
            raise DataError(
                f"Release {self.release.number} has no index yet. "
                f"Run: pinnersage refine and pinnersage index --day {self.release.medoids.day}"
            )
        rng = generator(user_id, self.release.medoids.day.isoformat(), draw)
        chosen = sample_medoids(profile.importance, self.config.n_medoids, rng=rng)
        pins = [as_python(profile.pin_ids[i]) for i in chosen]
        candidates = self.near(pins, self.config.n_candidates // len(pins))
        return Recommendation(user_id, self.release.number, draw, pins, candidates)

    def near(self, medoids: list[int | str], each: int) -> list[Candidate]:
        """Return the pins nearest to some medoids, at most ``each`` a medoid, merged.

        A medoid is not a candidate of its own; a pin that several brought keeps the nearest.
        """
        if self.index is None or not each:
            return []
        rows = self.embeddings.rows_of(medoids)
        if (rows < 0).any():
            raise DataError(
                f"Medoids {[m for m, row in zip(medoids, rows, strict=True) if row < 0]} have no "
                f"embedding in version {self.embeddings.version}. See runbook: mixed versions."
            )
        queries = np.asarray(self.embeddings.matrix[rows], dtype=np.float32)
        found = self.index.search(queries, each + 1)
        best: dict[int, tuple[float, int]] = {}
        for i, (near, cosines) in enumerate(zip(found.rows, found.cosines, strict=True)):
            others = [(int(r), float(c)) for r, c in zip(near, cosines, strict=True) if r >= 0]
            for row, cosine in [pair for pair in others if pair[0] != rows[i]][:each]:
                if row not in best or cosine > best[row][0]:
                    best[row] = (cosine, i)
        order = sorted(best.items(), key=lambda item: (-item[1][0], item[0]))
        return [
            Candidate(as_python(self.embeddings.pin_ids[row]), cosine, medoids[i])
            for row, (cosine, i) in order
        ]

    def close(self) -> None:
        """Let go of the stores."""
        self.profiles.close()
        if self.index:
            self.index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_live(settings: Settings) -> Reader:
    """Open the live release.

    Raises
    ------
    DataError
        Nothing is live, or what is live was not made with one version of the embeddings.
    """
    release = Releases(settings).live()
    if release is None:
        raise DataError("Nothing is live yet. Run: pinnersage run --day YYYY-MM-DD")
    lake = open_lake(settings)
    with ExitStack() as opened:  # closes what is open when a later part fails
        profiles = opened.enter_context(open_keyvalue(settings).open(release.medoids.keyvalue))
        index = None
        if release.index:
            index = opened.enter_context(open_vectors(settings).open(release.index.version))
        refuse_mix(release, profiles.about, index.about if index else None)
        table = embeddings.named(lake, release.embeddings)
        opened.pop_all()
    return Reader(release, profiles, table, index, settings.retrieval)


def refuse_mix(release: Release, profiles: dict[str, Any], index: dict[str, Any] | None) -> None:
    """Refuse stores that were not made with the release's embeddings."""
    versions = {
        "release": release.embeddings,
        "medoids": profiles.get("embeddings"),
        "index": (index or {}).get("embeddings", release.embeddings),
        "index in release": release.index.embeddings if release.index else release.embeddings,
    }
    if len(set(versions.values())) > 1:
        raise DataError(
            f"Release {release.number} mixes embedding versions: {versions}. Roll back with "
            "pinnersage rollback. See runbook: mixed versions."
        )


def generator(user_id: int | str, day: str, draw: int) -> np.random.Generator:
    """Return the generator of one request: the same for the same user, day and draw."""
    text = f"{len(str(user_id))}:{user_id}/{day}/{draw}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))


def sample_medoids(
    importance: npt.NDArray[np.float64], size: int, *, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Return positions of up to ``size`` medoids, drawn by importance without replacement.

    Parameters
    ----------
    importance : float64[k]
        Finite and above 0 (eq. 3).
    size : int
        All k when there are no more.
    """
    size = min(size, importance.size)
    chances = importance / importance.sum()
    return rng.choice(importance.size, size=size, replace=False, p=chances).astype(np.intp)


def as_python(value: Any) -> int | str:
    """Return an id as plain text or integer, whatever array it comes from."""
    value = value.as_py() if hasattr(value, "as_py") else value
    return int(value) if isinstance(value, (int, np.integer)) else str(value)


def titles(settings: Settings, release: Release, pins: list[int | str]) -> dict[int | str, str]:
    """Return what is written on pins, for people; a pin without a title is not in it."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.dataset as ds  # noqa: PLC0415

    lake = open_lake(settings)
    manifest = embeddings.valid_at(lake, "pins", release.medoids.day)
    wanted = pa.array(pins, type=pa.type_for_alias(lake.layout.pin_id))
    paths = [Path(path) for path in lake.paths(manifest)]
    with broken_file(paths[0]):
        table = ds.dataset(paths).to_table(
            columns=["pin_id", "title"], filter=ds.field("pin_id").isin(wanted)
        )
    return {row["pin_id"]: row["title"] for row in table.to_pylist() if row["title"]}
