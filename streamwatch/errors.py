"""Every error that streamwatch raises on purpose, sorted by who must act.

    StreamwatchError
    ├── OperatorError            the person who runs streamwatch: change the config, grant a right, choose
    │   ├── ConfigError          the config is wrong: all problems at once, with line and column
    │   ├── UsageError           what was asked for on the command line cannot be done
    │   ├── StartRefused         the broker refuses us (password, TLS, rights, missing topic)
    │   └── StateError           stored state cannot be used
    │       ├── StateDamaged     bytes are not what was written
    │       ├── StateForeign     written by something else: other service, mode, or a newer format
    │       └── MarkMismatch     committed offsets and the mark disagree
    ├── SenderError              who writes the events: the record is bad (becomes a dead letter)
    └── PlatformError            the broker or the network
        ├── BrokerUnreachable    nobody answers: waited for while running
        ├── TransactionTimeout   a transactional call did not return; its outcome is unknown
        └── TaskLost             the task is no longer ours, or its producer is fenced: restore and go on

`exit_code` is what a command ends with when the error ends it: 2 for bad usage or config, 3 for the platform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class StreamwatchError(Exception):
    exit_code: ClassVar[int] = 3


class OperatorError(StreamwatchError):
    pass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a config: where it stands, what is wrong, what was expected or meant.

    `line` and `column` count from 1; 0 means that the place is not in the file (a default, a command line).
    """

    path: str
    line: int
    column: int
    where: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}:{self.column}: " if self.line else f"{self.path}: "
        where = f"{self.where}: " if self.where else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}{where}{self.what}{hint}"


class ConfigError(OperatorError):
    exit_code = 2

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = problems


class UsageError(OperatorError):
    exit_code = 2


class StartRefused(OperatorError):
    """The broker answers and says no. The text says what was refused and what to grant or change."""


class StateError(OperatorError):
    pass


class StateDamaged(StateError):
    pass


class StateForeign(StateError):
    pass


class MarkMismatch(StateError):
    pass


class SenderError(StreamwatchError):
    """A record that cannot be read: `field` names the place, the text says what was expected and what came."""

    def __init__(self, code: str, text: str, field: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.field = field


class PlatformError(StreamwatchError):
    pass


class BrokerUnreachable(PlatformError):
    pass


class TransactionTimeout(PlatformError):
    pass


class TaskLost(PlatformError):
    pass
