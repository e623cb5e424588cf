"""PinnerSage: users as medoids of their actions' clusters, with importance (KDD 2020).

``cluster_actions`` and ``cluster_users`` are the model; the rest of the pipeline is in the
modules of the same names as its steps. Importing the package alone stays light: the kernels
and their compiler are loaded when the model is first asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pinnersage.model import cluster_actions, cluster_users

__all__ = ["__version__", "cluster_actions", "cluster_users"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load the model when one of its functions is first used."""
    if name in {"cluster_actions", "cluster_users"}:
        from pinnersage import model  # noqa: PLC0415

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Names that the package offers, loaded or not."""
    return sorted({*globals(), *__all__})
