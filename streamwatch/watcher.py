"""A watcher: one monitor on one signal of one stream key, with its detector, its eyes and what stands.

It reads values and says what it found, by row; `passage` brings what all watchers found into the order of events and
asks the policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple, replace
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from streamwatch.alerts import Alert
from streamwatch.config import Monitor
from streamwatch.control import EVER, NONE, Applied
from streamwatch.detectors import checked
from streamwatch.detectors.base import Detection, Detector, Level
from streamwatch.errors import StateDamaged
from streamwatch.eyes import Eyes
from streamwatch.policy import Blindness, Drift, Look, Rested, Warmth, blind_due_s, drift_due_s
from streamwatch.rest import rested
from streamwatch.series import Floats, Kind, Reading
from streamwatch.signals import Signal
from streamwatch.sketch import Sketch
from streamwatch.warmup import WarmUp
from streamwatch.windows import NEVER, InForce, covered_until, covering, next_covered, outside

Rows = npt.NDArray[np.int64]


class Held(Protocol):
    """Where values wait until the watcher reads them: `held.Held`."""

    def flush(self) -> None: ...

    def release(self) -> None: ...


BLIND = "blind"
WARM_UP = "warm-up"  # nothing is said about it by itself: who has not seen enough is blind
MUTE = "mute:"  # before what an alert is about: that windows begin or end to mark it
SHORT = 4  # runs of at most this many rows are read value by value: arrays cost more there


class Found(NamedTuple):
    """What a watcher found at one row: a detection, a look that changes something, or that it has seen enough now."""

    row: int
    what: Detection | Look | Warmth | Rested


class Watcher:
    """`digest` is of what gives its numbers their meaning; state of another digest is not taken over. `applied`: the
    windows that are about it. `held`: where its next values may wait. `sketch`: where its values are drawn, if somebody
    wants to see them. `late`: it reads outcomes, whose labels come later than their predictions, and not events.
    `need`: values that a fresh detector needs, at least, before it can detect anything; `rest`: so many are still to
    come since the last detection. `asked`: whether it is asked if it has seen enough to alarm; `warmup`: it has not
    yet."""

    __slots__ = (
        "_applied",
        "_detector",
        "asked",
        "blindness",
        "digest",
        "drifts",
        "eyes",
        "held",
        "label",
        "late",
        "monitor",
        "need",
        "position",
        "rest",
        "said",
        "signal",
        "sketch",
        "unusable",
        "warmup",
    )

    def __init__(
        self, monitor: Monitor, position: int, signal: Signal, detector: Detector, digest: str
    ) -> None:
        self.monitor = monitor
        self.position = position
        self.signal = signal
        self.label = str(signal)
        self._detector = detector
        self._applied: Applied = NONE
        self.held: Held | None = None
        self.digest = digest
        self.eyes = Eyes(monitor.policy.blind)
        self.drifts: dict[str, Drift] = {}
        self.blindness: Blindness | None = None
        self.said: dict[str, Alert] = {}
        self.unusable = 0
        self.sketch: Sketch | None = None
        self.late = False
        self.need = 1
        self.rest = 0
        self.asked = False
        self.warmup: WarmUp | None = None

    @property
    def detector(self) -> Detector:
        """It has read all that has come."""
        if self.held is not None:
            self.held.flush()
        return self._detector

    @detector.setter
    def detector(self, detector: Detector) -> None:
        self._release()
        self._detector = detector

    @property
    def applied(self) -> Applied:
        return self._applied

    @applied.setter
    def applied(self, applied: Applied) -> None:
        self._release()
        self._applied = applied

    def _release(self) -> None:
        if self.held is not None:
            self.held.release()

    @property
    def cold(self) -> bool:
        """It was to have seen enough to alarm by now."""
        return self.warmup is not None and self.warmup.cold

    @property
    def warm_by_s(self) -> float:
        """When it is asked next whether it has seen enough to alarm."""
        return NEVER if self.warmup is None else self.warmup.due_s(self._applied.skips)

    def chill(self, row: int) -> Warmth | None:
        """It is to have seen enough, before this row of the range that is now processed; what it has, if it has not."""
        self._release()
        if self.warmup is None:
            return None
        self.warmup.cold = True
        return self.warmup.at(row)

    @property
    def quiet(self) -> int:
        """So many usable values more and nothing is found in them."""
        if self.sketch is not None or self._applied.skips or self.eyes.blind or self.cold:
            return 0
        quiet = self._detector.quiet
        return min(quiet, self.rest - 1) if self.rest else quiet

    @property
    def quiet_s(self) -> tuple[float, float]:
        """`quiet` is said of values whose times are from one to another."""
        return EVER, NEVER

    def read_quiet(self, values: Floats, times_s: Floats) -> None:
        """Read values that are usable, and not more than `quiet` said."""
        looks, detections = self.eyes.read_usable(len(values)), self._detector.update(values, times_s)
        if looks or detections:
            raise RuntimeError(f"{self.label}: {looks} {detections} in what was said to be quiet")
        if self.rest:
            self.rest -= len(values)
        if self.warmup is not None:
            self.warmup.take(len(values))
            if not self._detector.needs:
                self.warmup = None

    def read(self, reading: Reading, times_s: Floats, rows: Rows) -> list[Found]:
        """Read rows, ascending; what was found: looks and detections, each in order of rows."""
        if len(rows) <= SHORT:
            return self._read_short(reading, times_s, rows)
        values = reading.values[rows]
        found: list[Found] = []
        if reading.whole or (usable := ~np.isnan(values)).all():
            found.extend(Found(int(rows[at]), look) for at, look in self.eyes.read_usable(len(rows)))
            read = rows
        else:
            unusable = reading.unusable[rows]
            self.unusable += int(unusable.sum())
            expected = reading.expected[rows] | unusable | usable
            looks = self.eyes.read(usable[expected], unusable[expected])
            found.extend(Found(int(rows[expected][at]), look) for at, look in looks)
            read, values = rows[usable], values[usable]
        if len(read):
            if self.sketch is not None:
                self.sketch.add(times_s[read], values)
            found += self._detected(values, times_s[read], read)
        return found

    def _detected(self, values: Floats, times_s: Floats, rows: Rows) -> list[Found]:
        """Let the detector read."""
        if self.warmup is not None:
            found = self._warm(self.warmup, values, times_s, rows)
        else:
            found = [Found(int(rows[one.position]), one) for one in self.detector.update(values, times_s)]
        if self.rest or found:
            detected = [item.row for item in found if isinstance(item.what, Detection)]
            self.rest, again = rested(self.rest, self.need, detected, rows)
            found += [Found(row, Rested()) for row in again]
        return found

    def _warm(self, warmup: WarmUp, values: Floats, times_s: Floats, rows: Rows) -> list[Found]:
        """Let the detector read, and find the value with which it has seen enough."""
        found: list[Found] = []
        start = 0
        while start < len(rows):
            # Not before so many values more, so however these fall into calls it is found at the same one.
            stop = len(rows) if warmup.over else start + max(1, self.detector.needs)
            detections = self.detector.update(values[start:stop], times_s[start:stop])
            found += [Found(int(rows[start + one.position]), one) for one in detections]
            if not warmup.over:
                warmup.read(rows[start:stop])
                if detections or not self.detector.needs:
                    warmup.over = True
                    last = int(rows[start:stop][-1])
                    found.append(Found(last, warmup.at(last + 1)))
            start = stop
        return found

    def _read_short(self, reading: Reading, times_s: Floats, rows: Rows) -> list[Found]:
        found: list[Found] = []
        for row in rows.tolist():
            value = float(reading.values[row])
            usable = value == value  # NaN is not
            if usable:
                look = self.eyes.read_one(True, False)
            else:
                unusable = bool(reading.unusable[row])
                if not unusable and not reading.expected[row]:
                    continue
                self.unusable += unusable
                look = self.eyes.read_one(False, unusable)
            if look is not None:
                found.append(Found(row, look))
            if usable:
                if self.sketch is not None:
                    self.sketch.add(times_s[row : row + 1], reading.values[row : row + 1])
                found += self._detected_one(value, float(times_s[row]), row)
        return found

    def _detected_one(self, value: float, time_s: float, row: int) -> list[Found]:
        """The same of one value."""
        if self.warmup is not None or self.rest:
            return self._detected(np.array([value]), np.array([time_s]), np.array([row]))
        found = [Found(row, detection) for detection in self.detector.update_one(value, time_s)]
        if found:
            self.rest = self.need
        return found

    def due(self) -> Iterator[tuple[float, str]]:
        """For all that stands: the stream time at which it next has something to say, and what it is about."""
        policy = self.monitor.policy
        for name, drift in self.drifts.items():
            yield drift_due_s(policy, drift, self.settle_s(drift)), drift_about(name)
        if self.blindness is not None:
            yield blind_due_s(policy, self.blindness), BLIND
        if self.warmup is not None:
            yield self.warm_by_s, WARM_UP
        for about, said in self.said.items():
            if self.applied.mutes or said.silenced:
                yield self._mute_due_s(about, said), MUTE + about

    @property
    def waiting(self) -> int:
        """Values that have come and that the detector reads later."""
        return 0

    def settle_s(self, drift: Drift) -> float:
        """When the drift has been quiet long enough, if nothing more is detected; what is skipped is not quiet, nor is
        what a detector says that has seen too little."""
        length_s = self.monitor.policy.settle_after
        skips = self.applied.skips
        quiet_s = outside(skips, drift.detected_s, length_s) if skips else drift.detected_s + length_s
        return max(quiet_s, drift.warm_s)

    def mute(self, time_s: float) -> InForce | None:
        """The window that mutes alerts of this time."""
        return covering(self.applied.mutes, time_s) if self.applied.mutes else None

    def _mute_due_s(self, about: str, said: Alert) -> float:
        from_s = max(self.standing(about).said_s, self.applied.since_s)
        muted = self.mute(from_s) is not None
        if muted != said.silenced:
            return from_s
        return (covered_until if muted else next_covered)(self.applied.mutes, from_s)

    def standing(self, about: str) -> Drift | Blindness:
        """What stands that an open alert is about."""
        if about != BLIND:
            return self.drifts[drift_name(about)]
        assert self.blindness is not None
        return self.blindness

    def spoke(self, about: str, time_s: float) -> Drift | None:
        """What stands was said again, at a stream time. The drift, if it is one."""
        if about == BLIND:
            assert self.blindness is not None
            self.blindness = replace(self.blindness, said_s=time_s)
            return None
        name = drift_name(about)
        self.drifts[name] = drift = replace(self.drifts[name], said_s=time_s)
        return drift

    def subject(self) -> dict[str, str]:
        """What matchers about a monitor look at."""
        policy = self.monitor.policy
        return {
            "monitor": self.monitor.name,
            "signal": self.label,
            "severity": policy.severity,
            "owner": policy.owner or "",
            **{f"tags.{name}": value for name, value in policy.tags.items()},
        }

    def due_of(self, about: str) -> float | None:
        return next((due_s for due_s, what in self.due() if what == about), None)

    def dump(self) -> dict[str, Any]:
        detector = self.detector  # before the eyes: it lets both read what waits
        return {
            "monitor": self.monitor.name,
            "signal": self.label,
            "digest": self.digest,
            "detector": detector.dump(),
            "eyes": self.eyes.dump(),
            "rest": self.rest,
            "drifts": {name: _drift_plain(drift) for name, drift in self.drifts.items()},
            "blindness": None if self.blindness is None else list(astuple(self.blindness)),
            "said": {about: msgspec.to_builtins(alert) for about, alert in self.said.items()},
            **({"warmup": self.warmup and self.warmup.dump()} if self.asked or self.warmup else {}),
        }

    @classmethod
    def load(
        cls, dump: Mapping[str, Any], monitor: Monitor, position: int, signal: Signal, kind: Kind
    ) -> Watcher:
        """StateDamaged if it is not what `dump` writes, or wrote before there was `rest`: then drifts and blindness had
        one value less."""
        try:
            detector = monitor.detector.load(kind, monitor.policy.direction, dump["detector"])
            watcher = cls(monitor, position, signal, detector, str(dump["digest"]))
            watcher.eyes.load(dump["eyes"])
            watcher.rest = checked.count(dump, "rest") if "rest" in dump else 0
            watcher.drifts = {str(name): _drift(plain) for name, plain in dump["drifts"].items()}
            if dump["blindness"] is not None:
                since_s, said_s, *cold = dump["blindness"]
                watcher.blindness = Blindness(float(since_s), float(said_s), cold == [True])
            watcher.said = said_before(dump)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StateDamaged(f"state of monitor {monitor.name!r} on {signal}: {error!r}") from error
        return watcher


def drift_about(name: str) -> str:
    """What an alert is about: each named detection stands for itself."""
    return f"drift:{name}" if name else "drift"


def drift_name(about: str) -> str:
    return about.partition(":")[2]


def said_before(dump: Mapping[str, Any]) -> dict[str, Alert]:
    """The last alert of all that is open in a dumped watcher, by what it is about."""
    try:
        return {str(about): msgspec.convert(alert, Alert) for about, alert in dump["said"].items()}
    except (KeyError, TypeError, AttributeError, msgspec.ValidationError) as error:
        raise StateDamaged(f"open alerts in the state: {error!r}") from error


def _drift_plain(drift: Drift) -> list[float]:
    return [
        drift.before.mean,
        drift.before.n,
        drift.said.mean,
        drift.said.n,
        drift.since_s,
        drift.said_s,
        drift.detected_s,
        drift.warm_s,
    ]


def _drift(plain: Any) -> Drift:
    before, before_n, said, said_n, since_s, said_s, detected_s, *warm_s = plain
    return Drift(
        Level(float(before), int(before_n)),
        Level(float(said), int(said_n)),
        float(since_s),
        float(said_s),
        float(detected_s),
        float(warm_s[0] if warm_s else detected_s),
    )
