"""Cache: compiled kernels that are older than a kernel they call are thrown away.

Numba keeps compiled code beside each source file and looks at that file alone: after a
``git pull`` that changes ``chain.py``, ``users.py`` would go on with the old chain inside it.
"""

import os
from pathlib import Path


def drop_stale(folder: Path) -> None:
    """Remove compiled code of a folder's kernels that is not of its present sources.

    Where the folder can't be written, Numba keeps its code elsewhere and nothing is done.
    """
    compiled = folder / "__pycache__"
    stamp = compiled / "kernels.stamp"
    present = " ".join(
        f"{path.name} {path.stat().st_mtime_ns} {path.stat().st_size}"
        for path in sorted(folder.glob("*.py"))
    )
    try:
        if stamp.is_file() and stamp.read_text() == present:
            return
        for path in compiled.glob("*.nb[ci]"):
            path.unlink(missing_ok=True)
        compiled.mkdir(exist_ok=True)
        aside = stamp.with_suffix(f".{os.getpid()}")
        aside.write_text(present)
        aside.replace(stamp)
    except PermissionError:
        return
