"""What Python values become in the text that MySQL gets."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_connhandler._core.mysql.literals import literal, quoted, with_values
from echo_connhandler.errors import ParameterError


class Colour(Enum):
    RED = "r'd"


class Level(IntEnum):
    LOW = 3


class Word(StrEnum):
    A = "a\\"


ZONE = dt.timezone(dt.timedelta(hours=-3))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (True, "1"),
        (False, "0"),
        (-7, "-7"),
        (2**64, "18446744073709551616"),
        (1.5, "1.5e0"),
        (1e300, "1e+300"),
        (-0.0, "-0.0e0"),
        ("it's", "'it''s'"),
        ("a\\", "'a\\\\'"),
        ("100%s\0\x1a\n", "'100%s\0\x1a\n'"),
        (b"\0'\\\xff", "_binary X'00275cff'"),
        (b"", "_binary X''"),
        (bytearray(b"a"), "_binary X'61'"),
        (memoryview(b"a"), "_binary X'61'"),
        (Decimal("1.10"), "1.10"),
        (Decimal("1E+5"), "100000"),
        (Decimal("-1E-30"), "-0.000000000000000000000000000001"),
        (UUID(int=1), "'00000000-0000-0000-0000-000000000001'"),
        (dt.date(2024, 2, 29), "'2024-02-29'"),
        (dt.datetime(1, 1, 1), "'0001-01-01 00:00:00'"),
        (dt.datetime(2024, 1, 1, 1, 2, 3, 4), "'2024-01-01 01:02:03.000004'"),
        (dt.datetime(2024, 1, 1, 22, tzinfo=ZONE), "'2024-01-02 01:00:00'"),
        (dt.time(1, 2, 3, 4), "'01:02:03.000004'"),
        (dt.timedelta(hours=-838, minutes=-59, seconds=-59), "'-838:59:59'"),
        (dt.timedelta(microseconds=-1), "'-00:00:00.000001'"),
        (dt.timedelta(days=2, microseconds=5), "'48:00:00.000005'"),
        ({"a": [1, None, "ü'"]}, """'{"a": [1, null, "ü''"]}'"""),
        ([Decimal("1.0"), UUID(int=0)], """'["1.0", "00000000-0000-0000-0000-000000000000"]'"""),
        ((1, 2), "'[1, 2]'"),
        (Colour.RED, "'r''d'"),
        (Level.LOW, "3"),
        (Word.A, "'a\\\\'"),
        (np.int64(5), "5"),
        (np.float32(0.5), "0.5e0"),
        (np.bool_(True), "1"),
        (np.str_("x"), "'x'"),
        (np.datetime64("2024-01-01T00:00:00.000001"), "'2024-01-01 00:00:00.000001'"),
        (np.datetime64("NaT", "us"), "NULL"),
        (np.timedelta64(90, "s"), "'00:01:30'"),
        (pd.NaT, "NULL"),
        (pd.NA, "NULL"),
        (pd.Timestamp("2024-01-01", tz="UTC"), "'2024-01-01 00:00:00'"),
    ],
)
def test_each_type_has_its_literal(value: Any, text: str) -> None:
    assert literal(value, backslashes=True) == text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "no nan"),
        (float("inf"), "no inf"),
        (np.float64("nan"), "no nan"),
        (Decimal("NaN"), "no NaN"),
        (Decimal("-Infinity"), "no -Infinity"),
        (Decimal("1E+1000000"), "65"),
        (10**66, "65 digits"),
        pytest.param(10**10000, "65 digits", id="ten thousand digits"),
        ("a\ud800", "surrogate at position 1"),
        (dt.time(1, tzinfo=dt.UTC), "zone but no date"),
        (dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))), "years 1 to 9999"),
        (pd.Timestamp("2024-01-01 00:00:00.000000001"), "nanoseconds"),
        (np.datetime64("2024-01-01T00:00:00.000000001"), "datetime64"),
        (np.datetime64("9999999-01-01"), "datetime64"),
        (object(), "type builtins.object"),
        (Fraction(1, 2), "type fractions.Fraction"),
        ({1, 2}, "type builtins.set"),
        (1j, "type builtins.complex"),
        ([float("nan")], "JSON"),
        ({"a": b"x"}, "no bytes"),
        ({"a": object()}, "type builtins.object"),
        (["\ud800"], "surrogate"),
    ],
)
def test_what_has_no_literal_is_refused_with_a_reason(value: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        literal(value, backslashes=True)


def read_back(text: str, *, backslashes: bool) -> str:
    """Read a string literal as the server's lexer does; fail where it ends before the text does."""
    assert text[0] == "'"
    made, at = [], 1
    while True:
        sign = text[at]
        if sign == "\\" and backslashes:
            made.append(text[at + 1])
            at += 2
        elif sign != "'":
            made.append(sign)
            at += 1
        elif text[at + 1 : at + 2] == "'":
            made.append("'")
            at += 2
        else:
            assert at == len(text) - 1, "the literal ended early"
            return "".join(made)


@given(st.text(), st.booleans())
def test_no_text_leaves_its_quotes(text: str, backslashes: bool) -> None:
    assert read_back(quoted(text, backslashes=backslashes), backslashes=backslashes) == text


@given(st.text(alphabet="'\\\"`%\0\n;-#/*", max_size=8), st.booleans())
def test_no_text_of_signs_that_matter_leaves_its_quotes(text: str, backslashes: bool) -> None:
    assert read_back(quoted(text, backslashes=backslashes), backslashes=backslashes) == text


def test_values_stand_in_their_places_and_are_not_looked_at_again() -> None:
    text = with_values("SELECT %s, '%%', %s", ("%s", 1), backslashes=True)
    assert text == b"SELECT '%s', '%', 1"
    assert with_values("SELECT '100%'", (), backslashes=True) == b"SELECT '100%'"


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("SELECT %s", (1, 2)),
        ("SELECT %s, %s", (1,)),
        ("SELECT %(a)s", (1,)),
        ("SELECT 5 % 2, %s", (1,)),
        ("%d", ("1",)),
    ],
)
def test_values_that_do_not_fit_the_text_are_refused(sql: str, params: Any) -> None:
    with pytest.raises(ParameterError, match=f"{len(params)} values do not fit"):
        with_values(sql, params, backslashes=True)
