"""streamwatch: is the model in production still the model that was tested?

>>> import streamwatch
>>> from streamwatch.offline.replay import Replayed  # what streamwatch.replay returns
>>> callable(streamwatch.replay)
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "replay"]

if TYPE_CHECKING:
    from streamwatch.offline.replay import replay as replay


def __getattr__(name: str) -> Any:
    # Late, so that `streamwatch --help` need not wait for numpy, pydantic and river.
    if name == "replay":
        from streamwatch.offline.replay import replay

        return replay
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
