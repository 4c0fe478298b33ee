"""A column of few distinct values, encoded once: what works on its codes need not look at the values again."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T", bound=Hashable)

Codes = npt.NDArray[np.int64]


class Coded(Sequence[T], Generic[T]):
    """`words[codes[row]]` equals `values[row]`; words in the order of their first rows."""

    __slots__ = ("codes", "values", "words")

    def __init__(self, values: Sequence[T], words: Sequence[T], codes: Codes) -> None:
        self.values = values
        self.words = words
        self.codes = codes

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, at: Any) -> Any:
        return self.values[at]

    def __iter__(self) -> Iterator[T]:
        return iter(self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self.values) == list(other)


class Table(dict[Any, int]):
    """Of whatever is hashable to its number, in the order of first appearance."""

    def __missing__(self, word: Any) -> int:
        code = self[word] = len(self)
        return code


def coded(values: Sequence[T]) -> Coded[T]:
    """The same if it is encoded already; TypeError if a value is not hashable.

    >>> column = coded(["b", "a", "b"])
    >>> column.words, column.codes.tolist(), column[2]
    (['b', 'a'], [0, 1, 0], 'b')
    """
    if isinstance(values, Coded):
        return values
    table = Table()
    codes = np.fromiter(map(table.__getitem__, values), dtype=np.int64, count=len(values))
    return Coded(values, list(table), codes)


def paired(one: Coded[Any], other: Coded[Any]) -> tuple[list[tuple[Any, Any]], Codes]:
    """The distinct pairs of two columns of n rows, in the order of their first rows, and the (n,) codes of them."""
    if len(other.words) == 1:
        return [(word, other.words[0]) for word in one.words], one.codes
    numbers = one.codes * len(other.words) + other.codes
    distinct, first, codes = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    pairs = [divmod(number, len(other.words)) for number in distinct[order].tolist()]
    return [(one.words[left], other.words[right]) for left, right in pairs], place[codes.reshape(-1)]
