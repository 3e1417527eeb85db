from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costsim import units
from costsim.errors import UnitError
from costsim.units import parse_quantity, to_si

TIB = 1024**4


@pytest.mark.parametrize(
    ("text", "dimension", "expected"),
    [
        ("80 GB", "bytes", 80_000_000_000),
        ("80GB", "bytes", 80_000_000_000),
        ("80 GiB", "bytes", 85_899_345_920),
        ("1 TiB", "bytes", TIB),
        ("8 b", "bytes", 1),
        ("3.35 TB/s", "bytes_per_s", 3_350_000_000_000),
        ("400 Gb/s", "bytes_per_s", 50_000_000_000),
        ("400 Gbps", "bytes_per_s", 50_000_000_000),
        ("400 Gbit/s", "bytes_per_s", 50_000_000_000),
        ("50 GBps", "bytes_per_s", 50_000_000_000),
        ("34 days", "s", 2_937_600),
        ("1.5 h", "s", 5400),
        ("90 min", "s", 5400),
        ("20 ms", "s", 0.02),
        ("12 us", "s", 12e-6),
        ("12 µs", "s", 12e-6),
        ("1 year", "s", 8760 * 3600),
        ("989 TFLOP/s", "flops_per_s", 989e12),
        ("989 TFLOPS", "flops_per_s", 989e12),
        ("1979 TOPS", "flops_per_s", 1979e12),
        ("3.14e23 FLOPs", "flops", 3.14e23),
        ("700 W", "w", 700),
        ("1.2 MW", "w", 1.2e6),
        ("2 kWh", "j", 7.2e6),
        ("50 g/kWh", "g_per_kwh", 50),
        ("0.4 kgCO2e/kWh", "g_per_kwh", 400),
        ("50 gCO2/kWh", "g_per_kwh", 50),
        ("400 kg/MWh", "g_per_kwh", 400),
        ("2.5 $/h", "usd_per_hour", 2.5),
        ("$2.5/h", "usd_per_hour", 2.5),
        ("$2.50 / GPU-hour", "usd_per_hour", 2.5),
        ("2.5 USD/h", "usd_per_hour", 2.5),
        ("1825 $/month", "usd_per_hour", 2.5),
        ("4.5 M$", "usd", 4_500_000),
        ("$4.5M", "usd", 4_500_000),
        ("4.5 million $", "usd", 4_500_000),
        ("0.08 $/kWh", "usd_per_kwh", 0.08),
        ("80 $/MWh", "usd_per_kwh", 0.08),
        ("12000 GPU-h", "device_hours", 12000),
        ("300 B tokens", "tokens", 300_000_000_000),
        ("300B tokens", "tokens", 300_000_000_000),
        ("300e9 tokens", "tokens", 300_000_000_000),
        ("1.5 trillion tokens", "tokens", 1_500_000_000_000),
        (300e9, "tokens", 300_000_000_000),
        ("2000 tokens/s", "tokens_per_s", 2000),
        ("90 %", "ratio", 0.9),
        (0.9, "ratio", 0.9),
        ("1.98 GHz", "hz", 1.98e9),
    ],
)
def test_reads(text: object, dimension: str, expected: float) -> None:
    assert parse_quantity(text, dimension) == expected


@pytest.mark.parametrize(
    ("text", "dimension", "message", "hint"),
    [
        ("80", "bytes", "`80` has no unit", "`80 GB` or `64 GiB`"),
        (80, "bytes", "`80` has no unit", "`80 GB` or `64 GiB`"),
        (2.5, "usd_per_hour", "`2.5` has no unit", "`2.5 $/h`"),
        ("80 gb", "bytes", "unknown unit `gb`", "`GB` or `Gb`"),
        ("80 GB/s", "bytes", "`GB/s` measures data per time, not data", "`80 GB`"),
        ("80 GB", "bytes_per_s", "`GB` measures data, not data per time", "`3.35 TB/s`"),
        ("989 TFLOPs", "flops_per_s", "`TFLOPs` measures operations, not", "`989 TFLOP/s`"),
        ("300 GB", "tokens", "`GB` measures data, not tokens", "`300 B tokens`"),
        ("5 parsecs", "s", "unknown unit `parsecs`", "`34 days`"),
        ("lots", "bytes", "`lots` is not a quantity", "`80 GB`"),
        ("", "bytes", "`` is not a quantity", "`80 GB`"),
        (None, "bytes", "`None` is not a quantity", "`80 GB`"),
        (True, "tokens", "`True` is not a quantity", "tokens"),
        (float("nan"), "ratio", "`nan` is not a quantity", "`90 %`"),
        (float("inf"), "ratio", "`inf` is not a quantity", "`90 %`"),
        ("1e999999999 s", "s", "unknown unit", "`34 days`"),
        ("1e999 s", "s", "the number is too large", "exponent"),
        ("1,024 GB", "bytes", "unknown unit `,024 GB`", "`80 GB`"),
        ("1_000 GB", "bytes", "unknown unit `_000 GB`", "`80 GB`"),
        (["80 GB"], "bytes", "is not a quantity", "`80 GB`"),
        ("9" * 10_000 + " GB", "bytes", "is not a quantity", "`80 GB`"),
    ],
)
def test_refuses(text: object, dimension: str, message: str, hint: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_quantity(text, dimension)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert hint in (problem.hint or "")
    assert len(str(problem)) < 200


@given(st.decimals(0, 10**6, places=3))
def test_bits_are_an_eighth_of_bytes(value: object) -> None:
    bits, size = parse_quantity(f"{value} Gb", "bytes"), parse_quantity(f"{value} GB", "bytes")
    assert bits * 8 == pytest.approx(size, rel=1e-15)


@given(st.floats(0, 1e12), st.sampled_from(["GB/s", "Gb/s", "TB/s", "GiB/s"]))
def test_number_and_unit_apart_are_the_same_quantity(value: float, unit: str) -> None:
    assert to_si(value, unit, "bytes_per_s") == parse_quantity(f"{value!r} {unit}", "bytes_per_s")


@given(st.text(max_size=30))
def test_any_text_is_a_quantity_or_one_clear_error(text: str) -> None:
    for dimension in ("bytes", "usd_per_hour", "tokens"):
        try:
            value = parse_quantity(text, dimension)
        except UnitError as error:
            hint = error.problems[0].hint
        else:
            hint = "none needed" if math.isfinite(value) else None
        assert hint


@pytest.mark.parametrize("dimension", sorted(units.DIMENSIONS))
def test_the_examples_in_hints_are_right(dimension: str) -> None:
    for example in units.unit_examples(dimension).split("`")[1::2]:
        assert parse_quantity(example, dimension) > 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.format_bytes(76.4e9), "76.4 GB"),
        (units.format_bytes(80e9), "80 GB"),
        (units.format_bytes(999.96e9), "1 TB"),
        (units.format_bytes(0), "0 B"),
        (units.format_bytes(float("nan")), "n/a"),
        (units.format_flops(3.14e23), "314 ZFLOP"),
        (units.format_flops(140e12, per_second=True), "140 TFLOP/s"),
        (units.format_si(-12_345, "token"), "-12.3 ktoken"),
        (units.format_duration(34.2 * 86400), "34.2 days"),
        (units.format_duration(47.9 * 3600), "47.9 h"),
        (units.format_duration(4000), "66.7 min"),
        (units.format_duration(18.44), "18.4 s"),
        (units.format_duration(12e-6), "12 us"),
        (units.format_duration(0), "0 s"),
        (units.format_usd(4_931_840.4), "$4,931,840"),
        (units.format_usd(12.3), "$12.30"),
        (units.format_usd(0.00123), "$0.00123"),
        (units.format_usd(-1234), "-$1,234"),
        (units.format_usd(999.999), "$1,000"),
    ],
)
def test_prints_for_people(text: str, expected: str) -> None:
    assert text == expected


@given(st.floats(1e-3, 1e24))
def test_what_is_printed_is_within_half_a_digit(value: float) -> None:
    number, _, unit = units.format_si(value, "B").partition(" ")
    scale = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15, "EB": 1e18}
    printed = float(number.replace(",", "")) * (scale | {"ZB": 1e21})[unit]
    assert printed == pytest.approx(value, rel=5.01e-3)
