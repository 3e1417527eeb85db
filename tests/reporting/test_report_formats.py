import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.reporting.formats import (
    apportion,
    clean,
    format_column,
    format_range,
    format_value,
    scale_for,
)
from costsim.reporting.model import Quantity


@pytest.mark.parametrize(
    ("value", "kind", "unit", "text"),
    [
        (None, "usd", "", "–"),
        (math.nan, "bytes", "", "–"),
        (math.inf, "seconds", "", "∞"),
        (True, "text", "", "yes"),
        (0.4512, "ratio", "", "45.1 %"),
        (174_591_688_704, "count", "", "174.6 B"),
        (300e9, "count", "tokens", "300 B tokens"),
        (1024, "count", "", "1,024"),
        (834_109.44, "count", "GPU-h", "834,109 GPU-h"),
        (76.4e9, "bytes", "", "76.4 GB"),
        (34.2 * 86_400, "seconds", "", "34.2 days"),
        (1_234_567.8, "usd", "", "$1,234,568"),
        (1.79, "usd", "/h", "$1.79/h"),
        (187.2, "number", "t", "187 t"),
        (0.0, "number", "", "0"),
        (1.5e6, "si", "W", "1.5 MW"),
        ("plain", "text", "", "plain"),
        (Quantity(0.5, "ratio"), "number", "", "50.0 %"),
    ],
)
def test_one_value(value, kind, unit, text):
    assert format_value(value, kind, unit) == text


def test_range_says_its_unit_once():
    day = 86_400
    assert format_range(31.2 * day, 37.4 * day, "seconds") == "31.2 – 37.4 days"
    assert format_range(150.0, 231.0, "number", "t CO₂e") == "150 – 231 t CO₂e"
    assert format_range(900e9, 1.2e12, "bytes") == "900 GB – 1.2 TB"
    assert format_range(None, 1.0, "usd") == ""
    assert format_range(math.nan, 1.0, "usd") == ""


def test_column_shares_one_unit():
    assert format_column([37.24e9, 900e6, None], "bytes") == ("GB", ["37.24", "0.90", "–"], "")


def test_column_over_many_decades_gives_each_cell_its_unit():
    assert format_column([2e12, 3e3], "bytes") == ("", ["2 TB", "3 kB"], "")


def test_small_values_never_print_as_zero():
    unit, cells, total = format_column([12.0, 0.01], "seconds", total=True)
    assert unit == "s"
    assert total == "12.0"
    assert cells == ["12.0", "0.0"] or "<" in cells[1]
    assert scale_for([12.0], "seconds").text(0.01) == "<0.1"


def test_control_and_direction_characters_go():
    assert clean("a\x1b[31mb\u202ec\ud800") == "a\ufffd[31mb\ufffdc\ufffd"


parts = st.lists(st.floats(0, 1e9, allow_nan=False) | st.none(), min_size=1, max_size=12)


@given(parts, st.sampled_from([0.01, 0.1, 1.0, 1000.0]))
def test_apportioned_parts_add_up_and_stay_within_one_step(values, step):
    total = math.fsum(value for value in values if value is not None)
    rounded = apportion(values, total, step)
    steps = [None if part is None else round(part / step) for part in rounded]
    assert sum(part for part in steps if part is not None) == round(total / step)
    for value, part in zip(values, rounded, strict=True):
        assert (value is None) == (part is None)
        assert value is None or abs(value - part) <= step * (1 + 1e-9)


@given(
    st.lists(st.floats(0, 1e9), min_size=1, max_size=8),
    st.sampled_from(["usd", "bytes", "seconds"]),
)
def test_printed_cells_sum_to_the_printed_total(values, kind):
    _, cells, total = format_column(values, kind, total=True)

    def exact(text):
        return 0 if "<" in text else Fraction(text.replace("$", "").replace(",", ""))

    assert sum(map(exact, cells)) == exact(total)
