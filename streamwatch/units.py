"""Durations, shares and sizes as people write them in a config: "4h", "5%", "512 KiB"."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
LONGEST_S = 36_500 * 86_400.0  # a hundred years: times stay within what a date can say
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")


def seconds(value: Any) -> float:
    """A duration in seconds: a number with its unit (ms, s, m, h, d, w), or several of them.

    >>> seconds("4h"), seconds("1m30s"), seconds("250ms"), seconds(0)
    (14400.0, 90.0, 0.25, 0.0)
    """
    if isinstance(value, bool):
        raise ValueError(f"expected a duration like 30s, 4h or 7d, got {value!r}")  # noqa: TRY004 - for pydantic
    if isinstance(value, int | float):
        if value == 0:
            return 0.0
        raise ValueError(f"a duration needs its unit: write {value}s, {value}m, {value}h or {value}d")
    text = str(value).strip()
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip():
        raise ValueError(f"expected a duration like 30s, 4h or 7d, got {value!r}")
    total_s = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if total_s > LONGEST_S:
        raise ValueError(f"expected at most {LONGEST_S / _SECONDS['d']:g} days, got {text[:40]}")
    return total_s


def share(value: Any) -> float:
    """A share in [0, 1]: "5%", or a number.

    >>> share("5%"), share(0.05)
    (0.05, 0.05)
    """
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            number = float(value.strip()[:-1]) / 100.0
        except ValueError:
            raise ValueError(f"expected a share like 5%, got {value!r}") from None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    else:
        raise ValueError(f"expected a share like 5% or 0.05, got {value!r}")
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"expected a share from 0% to 100%, got {value!r}")
    return number


def duration(time_s: float) -> str:
    """Seconds as a person writes them; `seconds` reads exactly the same number again.

    >>> duration(14400.0), duration(90.0), duration(0.25), duration(0.0)
    ('4h', '90s', '250ms', '0s')
    """
    if not time_s:
        return "0s"
    for unit in ("d", "h", "m", "s", "ms"):
        text = f"{time_s / _SECONDS[unit]:.0f}{unit}"
        if seconds(text) == time_s:
            return text
    return f"{Decimal(repr(time_s)):f}s"


Seconds = Annotated[
    float,
    BeforeValidator(lambda value: seconds(value)),
    PlainSerializer(duration, return_type=str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": r"^(\s*\d+(\.\d+)?\s*(ms|s|m|h|d|w))+$", "examples": ["4h"]}
    ),
]
Share = Annotated[
    float,
    BeforeValidator(lambda value: share(value)),
    WithJsonSchema({"type": ["string", "number"], "examples": ["5%", 0.05]}),
]
