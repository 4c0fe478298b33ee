"""A tree of values that know their place in a file: line and column, for every key and every value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

Scalar = str | int | float | bool | None
Loc = tuple[str | int, ...]


class Place(NamedTuple):
    """Where something stands; lines and columns count from 1, 0 = nowhere in the file."""

    path: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}" if self.line else self.path


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its place: a scalar, a mapping of nodes, or a tuple of nodes.

    keys     of a mapping: where each key stands
    text     of a scalar: as written, variables replaced
    source   of a scalar with variables: as written, variables not replaced; else None
    """

    value: Scalar | Mapping[str, Node] | tuple[Node, ...]
    place: Place
    keys: Mapping[str, Place] = field(default_factory=dict)
    text: str = ""
    source: str | None = None

    @property
    def mapping(self) -> Mapping[str, Node] | None:
        return self.value if isinstance(self.value, Mapping) else None

    @property
    def entries(self) -> Mapping[str, Node]:
        """Of a mapping; empty for anything else."""
        return self.mapping or {}

    @property
    def items(self) -> tuple[Node, ...] | None:
        return self.value if isinstance(self.value, tuple) else None

    def get(self, key: str) -> Node | None:
        return None if self.mapping is None else self.mapping.get(key)

    def with_key(self, key: str, value: Node, place: Place | None = None) -> Node:
        """This mapping with one key set."""
        assert self.mapping is not None
        return replace(
            self, value={**self.mapping, key: value}, keys={**self.keys, key: place or value.place}
        )

    def without(self, *gone: str) -> Node:
        """This mapping without some keys."""
        assert self.mapping is not None
        return replace(
            self,
            value={k: v for k, v in self.mapping.items() if k not in gone},
            keys={k: v for k, v in self.keys.items() if k not in gone},
        )

    def placed(self, place: Place) -> Node:
        """The same, all of it at one place."""
        value = self.value
        if self.mapping is not None:
            value = {key: node.placed(place) for key, node in self.mapping.items()}
        elif self.items is not None:
            value = tuple(node.placed(place) for node in self.items)
        return replace(self, value=value, place=place, keys=dict.fromkeys(self.keys, place))

    def plain(self) -> Any:
        """Dicts, lists and scalars."""
        if self.mapping is not None:
            return {key: node.plain() for key, node in self.mapping.items()}
        if self.items is not None:
            return [node.plain() for node in self.items]
        return self.value

    def deepest(self, loc: Sequence[str | int]) -> tuple[Node, Place]:
        """The deepest node on the way along `loc`, and the place to point at: a key's own where there is one.

        Parts of `loc` that are not in the tree are passed over: pydantic's locations name union members too.
        """
        node, place = self, self.place
        for part in loc:
            child: Node | None = None
            if isinstance(part, int):
                if node.items is not None and part < len(node.items):
                    child = node.items[part]
                    place = child.place
            elif node.mapping is not None and part in node.mapping:
                child = node.mapping[part]
                place = node.keys.get(part, child.place)
            node = child or node
        return node, place

    def path(self, loc: Sequence[str | int]) -> Loc:
        """The parts of `loc` that are in the tree."""
        node, kept = self, []
        for part in loc:
            if isinstance(part, int):
                child = node.items[part] if node.items is not None and part < len(node.items) else None
            else:
                child = node.get(part)
            if child is not None:
                node = child
                kept.append(part)
        return tuple(kept)
