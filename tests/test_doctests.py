"""What docstrings show is what the code does."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import streamwatch

MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(streamwatch.__path__, "streamwatch.")
    if name != "streamwatch.__main__"
]


@pytest.mark.parametrize("name", ["streamwatch", *MODULES])
def test_the_examples_of_every_module_hold(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_there_are_examples_to_run() -> None:
    counts = [doctest.testmod(importlib.import_module(name)).attempted for name in MODULES]
    assert sum(counts) > 20
