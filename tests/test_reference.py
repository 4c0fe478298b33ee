"""The table of options is the whole truth about a config file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from streamwatch import configschema
from streamwatch.cli.reference import options, table

ROOT = Path(__file__).parent.parent


def paths(value: Any, path: str = "") -> set[str]:
    if isinstance(value, list):
        return {found for item in value for found in paths(item, f"{path}[]")}
    if isinstance(value, dict):
        return {f"{path}.{key}" if path else key for key in value} | {
            found for key, item in value.items() for found in paths(item, f"{path}.{key}" if path else key)
        }
    return set()


def test_every_option_says_what_it_means():
    assert [one.path for one in options() if not one.meaning] == []


def test_all_that_the_full_config_says_is_in_the_table():
    known = [re.escape(one.path).replace("NAME", r"[^.]+").replace("FIELD", r"\w+") for one in options()]
    pattern = re.compile("|".join(known))
    inherited = {f"monitors[].{name}" for name in configschema.keys(("defaults",))}
    said = paths(yaml.safe_load((ROOT / "configs" / "full.yaml").read_text()))
    free = re.compile(
        r"(models|(defaults|sight)\.tags|monitors\[\]\.where|inputs\[\]\.read\.\w+\.map)\.[^.]+"
    )
    missing = {
        path
        for path in said
        if not pattern.fullmatch(path)
        and not free.fullmatch(path)
        and not any(path == one or path.startswith(f"{one}.") for one in inherited)
    }
    assert missing == set()


def test_no_option_is_told_twice():
    told = [one.path for one in options()]
    assert len(told) == len(set(told))


def test_the_table_is_markdown_of_four_cells():
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table().splitlines()} == {5}
