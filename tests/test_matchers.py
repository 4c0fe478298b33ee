"""Matchers: what fits, and what is refused."""

from __future__ import annotations

import time

import pytest

from streamwatch.matchers import OPEN_ALERT, fit, matcher, matchers

SUBJECT = {"model": "fraud", "monitor": "error-rate", "segment.country": "DE=AT", "version": ""}

FITS = [
    ("model=fraud", True),
    ("model=frau", False),
    ("model!=fraud", False),
    ("model!=churn", True),
    ("model = fraud", True),
    ("monitor=error*", True),
    ("monitor=*rate", True),
    ("monitor=*or*at*", True),
    ("monitor=*rate*error*", False),
    ("monitor=e*e", True),
    ("monitor=error-rat*rate", False),
    ("monitor=error-*rate", True),
    ("monitor=score*", False),
    ("monitor=*error*rate", True),
    ("monitor=*rate*rate", False),
    ("monitor=*rr*rr*", False),
    ("monitor=*", True),
    ("monitor=error[-]rate", False),
    ("segment.country=DE=AT", True),
    ("segment.region=", True),
    ("version=", True),
    ("version!=", False),
    ("owner=risk", False),
]


@pytest.mark.parametrize(("text", "fits"), FITS)
def test_a_matcher_fits_as_people_read_it(text, fits):
    """Only `*` is special, and what is not there is the empty text."""
    assert matcher(text).fits(SUBJECT) is fits


def test_all_of_a_list_must_fit_and_an_empty_one_fits_everything():
    assert fit(matchers(["model=fraud", "monitor=error*"]), SUBJECT)
    assert not fit(matchers(["model=fraud", "monitor=score"]), SUBJECT)
    assert fit((), SUBJECT)


@pytest.mark.parametrize(
    "text",
    ["", "model", "=fraud", "!=fraud", "colour=red", "segment.=x", "incident=1", "model=" + "x" * 2000],
)
def test_what_is_no_matcher_is_refused(text):
    with pytest.raises(ValueError, match="expected"):
        matcher(text)


def test_open_alerts_are_named_only_where_that_makes_sense():
    assert matcher("incident=1", OPEN_ALERT).fits({"incident": "1"})


def test_many_stars_cost_one_pass():
    hostile = matcher("model=" + "*a" * 500 + "*b")
    began = time.perf_counter()
    assert not hostile.fits({"model": "a" * 1000})
    assert time.perf_counter() - began < 1.0  # a backtracking match would take for ever
