"""Labels that come later than their predictions: what the config says of them, and how they are kept.

`read: matured` (the default) reads an outcome when its prediction is `wait` old, in the order of predictions, with the
label that it has by then. So late and early labels, corrections and nightly dumps in any order bias nothing. `read:
arrival` reads it when its label comes: sooner, and biased towards what is labelled fast. Times are stream time, the
running maximum of the times of predictions; a label moves no clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from streamwatch.alerts import Labels
from streamwatch.packed import UNUSABLE
from streamwatch.series import Floats
from streamwatch.units import Seconds, Share

Hashes = npt.NDArray[np.uint64]


ONE_OF_THOUSAND: Final = 0.001


class LabelsSpec(BaseModel):
    """How the labels of a model come, and when their outcomes are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wait: Seconds = Field(gt=0, description="how long a prediction waits for its label, in stream time")
    read: Literal["matured", "arrival"] = Field(
        "matured",
        description="when an outcome is read: after `wait`, in order; or when its label comes, biased",
    )
    absent_means: str | int | float | bool = Field(
        "drop", description="what no label after `wait` stands for: a class, or drop (nothing is read)"
    )
    conflict: Literal["last", "first"] = Field(
        "last", description="which of several labels of one prediction counts (arrival: always the first)"
    )
    sample: Share = Field(
        1.0, gt=0, description="the share of predictions that are joined, chosen by a hash of the id"
    )
    early: Seconds = Field(3600.0, description="how long a label waits for its prediction, in stream time")
    most: int = Field(
        1_000_000, ge=1000, description="predictions that wait at most; the oldest leave sooner, announced"
    )
    min_coverage: Share | None = Field(
        None,
        description="blind when a smaller share of the last 1,000 predictions had a label; 0: never; default: when "
        "none had, and never where `absent_means` is a class",
    )

    @property
    def least_coverage(self) -> Share:
        if self.min_coverage is not None:
            return self.min_coverage
        return ONE_OF_THOUSAND if self.absent_means == "drop" else 0.0


def read_later_s(spec: LabelsSpec | None, labels: Labels | None) -> float:
    """How much later than its prediction an outcome is read: exactly, or by the median of how late labels were."""
    if spec is None or labels is None or labels.read == "inline":
        return 0.0
    return spec.wait if labels.read == "matured" else labels.median_delay_s or 0.0


# ---- ids as hashes

_WHOLE: Final = 2**64


def hashed(ids: Sequence[str]) -> Hashes:
    """64 bits of BLAKE2b of each id: the same on every machine and in every version. Of a million that wait together
    two have the same one once in 40 million times."""
    return np.array(
        [int.from_bytes(hashlib.blake2b(one.encode(), digest_size=8).digest(), "little") for one in ids],
        dtype=np.uint64,
    )


def hashed_again(hashes: Hashes, model: str) -> Hashes:
    """The hashes of the same ids for one model."""
    key = model.encode()[:64]
    return np.array(
        [
            int.from_bytes(hashlib.blake2b(one.tobytes(), digest_size=8, key=key).digest(), "little")
            for one in hashes
        ],
        dtype=np.uint64,
    )


def sampled(hashes: Hashes, share: float) -> npt.NDArray[np.bool_]:
    """The same ids are chosen on both sides, and fewer of them at a smaller share."""
    if share >= 1.0:
        return np.ones(len(hashes), dtype=np.bool_)
    return hashes < np.uint64(int(share * _WHOLE))


# ---- labels as float64: a number is itself, a text is 2**60 and more by its code, what cannot be used is 2**62

MOST_WORDS: Final = 10_000  # labels are classes: more of them are a field that was mapped by mistake
LONGEST: Final = 200
_TEXTS: Final = 2.0**60
_STEP: Final = 4096.0
_UNUSABLE: Final = 2.0**62
_WHOLE_NUMBER: Final = 2**53


class Words:
    """The texts that labels have been, by code."""

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.words = list(words)
        self._codes = {word: code for code, word in enumerate(self.words)}

    def encoded(self, labels: Sequence[Any]) -> Floats:
        """None is NaN.

        >>> words = Words()
        >>> words.decoded(words.encoded([1, None, "fraud", [3], True]))[:3]
        [1.0, None, 'fraud']
        """
        return np.array([self._encoded(label) for label in labels], dtype=np.float64)

    def _encoded(self, label: Any) -> float:
        if label is None:
            return float("nan")
        if isinstance(label, str):
            code = self._codes.get(label)
            if code is None:
                if len(self.words) >= MOST_WORDS or len(label) > LONGEST:
                    return _UNUSABLE
                code = self._codes[label] = len(self.words)
                self.words.append(label)
            return _TEXTS + _STEP * code
        if isinstance(label, int | float) and abs(label) <= _WHOLE_NUMBER:
            return float(label)
        return _UNUSABLE

    def decoded(self, slots: Floats) -> list[Any]:
        return [self._decoded(slot) for slot in slots.tolist()]

    def _decoded(self, slot: float) -> Any:
        if slot != slot:
            return None
        if slot < _TEXTS:
            return slot
        return UNUSABLE if slot >= _UNUSABLE else self.words[int((slot - _TEXTS) / _STEP)]
