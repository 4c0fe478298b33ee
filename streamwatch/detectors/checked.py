"""Dumped state, read back with suspicion: what is missing, of the wrong type or out of range is StateDamaged.

The store has a checksum of its own; this is the second door, for state that was whole bytes and wrong numbers.
"""

from __future__ import annotations

import math
from typing import Any

from streamwatch.errors import StateDamaged


def entry(dump: Any, key: str) -> Any:
    if not isinstance(dump, dict):
        raise StateDamaged(f"expected a map with {key!r}, got {_short(dump)}")
    if key not in dump:
        raise StateDamaged(f"{key!r} is missing; there is {', '.join(map(repr, dump)) or 'nothing'}")
    return dump[key]


def flag(dump: Any, key: str) -> bool:
    value = entry(dump, key)
    if not isinstance(value, bool):
        raise StateDamaged(f"{key}: expected true or false, got {_short(value)}")
    return value


def count(dump: Any, key: str, low: int = 0, high: int = 2**53) -> int:
    return _count(entry(dump, key), key, low, high)


def number(dump: Any, key: str, low: float = -math.inf, high: float = math.inf) -> float:
    return _number(entry(dump, key), key, low, high)


def optional(dump: Any, key: str, low: float = -math.inf, high: float = math.inf) -> float | None:
    value = entry(dump, key)
    return None if value is None else _number(value, key, low, high)


def counts(dump: Any, key: str, most: int, low: int = 0, high: int = 2**53) -> list[int]:
    return [_count(value, key, low, high) for value in _items(dump, key, most)]


def numbers(dump: Any, key: str, most: int, low: float = -math.inf, high: float = math.inf) -> list[float]:
    return [_number(value, key, low, high) for value in _items(dump, key, most)]


def octets(dump: Any, key: str, least: int, most: int) -> bytes:
    value = entry(dump, key)
    if not isinstance(value, bytes) or not least <= len(value) <= most:
        raise StateDamaged(f"{key}: expected {least} to {most} bytes, got {_short(value)}")
    return value


def _items(dump: Any, key: str, most: int) -> list[Any]:
    value = entry(dump, key)
    if not isinstance(value, list) or len(value) > most:
        raise StateDamaged(f"{key}: expected a list of at most {most}, got {_short(value)}")
    return value


def _count(value: Any, key: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise StateDamaged(f"{key}: expected a whole number from {low} to {high}, got {_short(value)}")
    return value


def _number(value: Any, key: str, low: float, high: float) -> float:
    if type(value) is not float or not math.isfinite(value) or not low <= value <= high:
        raise StateDamaged(f"{key}: expected a number from {low:g} to {high:g}, got {_short(value)}")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
