"""When a detector that has alarmed can alarm again: after as many values as a fresh one needs, at least.

Until then that it finds nothing says nothing, so what stands does not settle (policy, rule 8).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def rested(
    rest: int, need: int, detected: Sequence[int], rows: npt.NDArray[np.int64]
) -> tuple[int, list[int]]:
    """Values of these rows, ascending, were read, and something was detected at some of them: how many values are then
    still to come (0: none), and the rows with which enough had come. `rest`: as many were still to come before.

    >>> rested(0, 3, [12], np.arange(10, 20)), rested(0, 3, [12], np.arange(10, 14))
    ((0, [15]), (2, []))
    >>> rested(2, 3, [], np.arange(14, 20)), rested(2, 3, [15], np.arange(14, 20))
    ((0, [15]), (0, [18]))
    """
    found: list[int] = []
    start = 0
    for stop in [*np.searchsorted(rows, detected).tolist(), len(rows)]:
        n = stop - start
        if rest and n >= rest:
            found.append(int(rows[start + rest - 1]))
            rest = 0
        elif rest and n > 0:
            rest -= n
        if stop < len(rows):
            rest, start = need, stop + 1
    return rest, found
