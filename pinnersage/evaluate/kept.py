"""Kept: what was measured of each model, in files, so that an interrupted evaluation goes on.

A file's name holds a hash of everything that the measuring depends on: another input, setting or
version of the code is another name.
"""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

import pinnersage
from pinnersage.errors import DataError
from pinnersage.evaluate.metrics import Sums
from pinnersage.evaluate.retrieval import Key, Retrieval
from pinnersage.stores.disk import write_atomically

BROKEN = (zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError, KeyError, EOFError)
"""What reading a damaged archive may end in; the third is of a compression that is none."""


class Kept:
    """Measurements in a folder.

    Parameters
    ----------
    folder : Path
    depends_on : str
        What, changed, makes all of them void.
    """

    def __init__(self, folder: Path, depends_on: str) -> None:
        self.folder = folder
        self.depends_on = depends_on

    def __call__(self, name: str, make: Callable[[], Retrieval]) -> Retrieval:
        """Return what is kept by a name, or what ``make`` returns, kept from now on."""
        digest = hashlib.sha256(f"{self.depends_on}\n{name}".encode()).hexdigest()[:24]
        path = self.folder / f"{digest}.npz"
        if path.exists():
            return opened(path)
        found = make()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, packed(found))
        return found


def code_digest() -> str:
    """Return a hash of this package's source: edited code keeps nothing of what it measured."""
    found = hashlib.sha256()
    for path in sorted(Path(pinnersage.__file__).parent.rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


def opened(path: Path) -> Retrieval:
    """Return what a file holds."""
    try:
        return unpacked(path.read_bytes())
    except BROKEN as error:
        raise DataError(
            f"{path} is damaged: {error}. Remove it; what it held is measured again."
        ) from error


def packed(found: Retrieval) -> bytes:
    """Return the measurements of a model as bytes."""
    arrays = dict[str, np.ndarray]()

    def add(sums: Sums) -> str:
        arrays[str(len(arrays))] = np.stack([sums.hits, sums.counts])
        return str(len(arrays) - 1)

    index = {
        "measured": [
            [*key, {name: add(sums) for name, sums in of.items()}]
            for key, of in found.measured.items()
        ],
        "interests": add(found.interests),
        "vectors": add(found.vectors),
        "come": [],
    }
    for key, rows in found.come.items():
        arrays[str(len(arrays))] = rows
        index["come"].append([*key, str(len(arrays) - 1)])  # type: ignore[attr-defined]
    text = np.frombuffer(json.dumps(index).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, index=text, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def unpacked(data: bytes) -> Retrieval:
    """Return what ``packed`` was given."""
    with np.load(io.BytesIO(data)) as arrays:
        index = json.loads(arrays["index"].tobytes())

        def sums(name: str) -> Sums:
            return Sums(*arrays[name])

        return Retrieval(
            {
                Key(policy, budget): {name: sums(at) for name, at in of.items()}
                for policy, budget, of in index["measured"]
            },
            {Key(policy, budget): arrays[at] for policy, budget, at in index["come"]},
            sums(index["interests"]),
            sums(index["vectors"]),
        )
