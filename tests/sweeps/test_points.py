from __future__ import annotations

import itertools
import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim.documents import Document, parse_as
from costsim.sweeps.drawing import permuted, position
from costsim.sweeps.points import Points, points_of
from costsim.sweeps.spec import StudyFile


def points(**parts: object) -> Points:
    value = {"scenario": "gpt3", **parts}
    found, wrong = points_of(parse_as(Document(value, "study"), StudyFile))
    assert not wrong
    return found


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 3))
def test_cartesian_is_the_product(sizes: list[int], rows: int) -> None:
    vary = {f"a.k{n}": list(range(size)) for n, size in enumerate(sizes)}
    listed = [{"b": row} for row in range(rows)]
    found = points(vary=vary, **({"list": listed} if rows else {}))
    axes = [[(key, value) for value in values] for key, values in vary.items()]
    axes += [[("b", row) for row in range(rows)]] if rows else []
    wanted = [dict(point) for point in itertools.product(*axes)]
    assert found.count == len(wanted)
    assert [found.at(index) for index in range(found.count)] == wanted


@given(st.integers(1, 700), st.binary(min_size=1, max_size=9))
def test_strata_are_permuted(count: int, key: bytes) -> None:
    assert sorted(permuted(i, count, key) for i in range(count)) == list(range(count))


@given(st.integers(1, 300), st.integers(-5, 5), st.integers(0, 3))
def test_one_point_in_every_stratum(count: int, seed: int, axis: int) -> None:
    found = [position(index, count, seed, axis) for index in range(count)]
    assert sorted(int(share * count) for share in found) == list(range(count))


def test_axes_of_a_sample_are_drawn_apart() -> None:
    pairs = [(position(i, 2000, 1, 0), position(i, 2000, 1, 1)) for i in range(2000)]
    mean = sum((a - 0.5) * (b - 0.5) for a, b in pairs) / len(pairs)
    assert abs(mean * 12) < 0.1  # the correlation of two uniform variables


def test_ranges_are_even_on_their_scale() -> None:
    over = {
        "price": {"from": "1 $/h", "to": "16 $/h", "scale": "log"},
        "devices": {"from": 8, "to": 64, "whole": True},
        "format": ["bf16", "fp8"],
    }
    found = points(sample={"latin_hypercube": 400, "seed": 7, "over": over})
    drawn = [found.at(index) for index in range(400)]
    prices = [math.log2(float(str(one["price"]).removesuffix(" $/h"))) for one in drawn]
    assert sorted(int(price * 100) for price in prices) == list(range(400))
    assert all(isinstance(one["devices"], int) and 8 <= one["devices"] <= 64 for one in drawn)
    assert sum(one["format"] == "fp8" for one in drawn) == 200


def test_steps_include_both_ends() -> None:
    found = points(vary={"price": {"from": "1 $/h", "to": "100 $/h", "steps": 3, "scale": "log"}})
    assert [found.at(i)["price"] for i in range(3)] == ["1 $/h", "10 $/h", "100 $/h"]


def test_a_hundred_million_points_take_no_memory() -> None:
    over = {"price": {"from": "1 $/h", "to": "4 $/h"}}
    found = points(
        vary={f"a.k{n}": list(range(10)) for n in range(4)},
        sample={"latin_hypercube": 10_000, "seed": 0, "over": over},
    )
    assert found.count == 10**8
    tracemalloc.start()
    for index in range(0, 10**8, 10**6):
        found.at(index)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "nothing is varied"),
        ({"vary": {"a": [1]}, "list": [{"a": 2}]}, "varied twice"),
        ({"vary": {"a": [1], "a.b": [1]}}, "set the same value"),
        ({"vary": {"a": {"from": 2, "to": 1, "steps": 3}}}, "is not below"),
        ({"vary": {"a": {"from": "1 W", "to": "2 $", "steps": 3}}}, "different units"),
        ({"vary": {"a": {"from": 0, "to": 1, "steps": 3, "scale": "log"}}}, "above 0"),
        ({"vary": {"a": {"from": "x", "to": 1, "steps": 3}}}, "is no number"),
        ({"vary": {"a..b": [1]}}, "no dotted key"),
    ],
)
def test_what_is_wrong_is_said(parts: dict[str, object], message: str) -> None:
    _, wrong = points_of(parse_as(Document({"scenario": "gpt3", **parts}, "study"), StudyFile))
    assert any(message in text for text, _, _ in wrong)
