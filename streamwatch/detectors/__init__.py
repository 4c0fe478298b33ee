"""Detectors: the contract in `base`, River's detectors behind one guard in `river`."""

from typing import Any

AnyDetector = Any  # replaced: an annotated pydantic union that parses `adwin` and `{adwin: {delta: 0.002}}`
