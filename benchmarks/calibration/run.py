"""Fit all constants, write hardware_specs/calibration/*.yaml and docs/kernels.md.

`python benchmarks/calibration/run.py` takes three minutes. The files of classes that were not timed
(tpu.yaml, cdna.yaml, ...) and classes.yaml are written by hand.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from statistics import median

import attention
import collectives
import exchange
import gemm
import moe
import numpy as np
import pandas as pd
import streaming
from report import write_docs

from costsim.hardware import calibration
from data import CALIBRATION, CLASSES, DEVICES, Fit, errors

SOURCE = "aiconfigurator-core 0.12.0 (PyPI, Apache-2.0), fastest framework of each shape"
STREAMING_SOURCE = "vidur@7d47513 (MIT), layer operators on A100, A40 and H100"

# A fit worse than this describes no kernel: the class inherits the medians of the others.
WORST_ERROR = 0.4


def main() -> None:
    """Fit class by class, then the medians, then the links; write what came out."""
    groups: dict[str, dict[str, dict[str, Fit]]] = {name: {} for name in CLASSES}
    transfer: list[tuple[str, str, str, float]] = []
    for group, families in _families().items():
        for family, (fit_on, error_on) in families.items():
            fits = {name: fit_on(hardware) for name, hardware in CLASSES.items()}
            fits = {n: f for n, f in fits.items() if f and f.held_out <= WORST_ERROR}
            for name, found in fits.items():
                groups[name].setdefault(group, {})[family] = found
                print(f"{group}.{family} {name}: {found.held_out:.3f}", flush=True)
            transfer += _transfer(f"{group}.{family}", fits, fit_on, error_on)
    stream_rows = streaming.load()
    stream = streaming.fit_devices(stream_rows)
    for name in CLASSES:
        _write_class(name, groups[name])
    _write_generic(groups, stream)
    links = _write_links()
    exchanged = exchange.fit_all()
    _write_exchange(exchanged)
    _write_glossary()
    write_docs(groups, transfer, stream, _left_out_streams(stream_rows), links, exchanged)


FitOn = Callable[[tuple[str, ...]], Fit | None]
ErrorOn = Callable[[dict[str, float], str], float]
Predict = Callable[[dict[str, float], pd.DataFrame], np.ndarray]
Keep = Callable[[pd.DataFrame], pd.DataFrame]


def _families() -> dict[str, dict[str, tuple[FitOn, ErrorOn]]]:
    products, prefill, decode = gemm.load(), attention.load_prefill(), attention.load_decode()
    latent, experts = attention.load_latent(), moe.load()

    def error_of(rows: pd.DataFrame, predict: Predict, keep: Keep) -> ErrorOn:
        def error(constants: dict[str, float], device: str) -> float:
            part = keep(rows[rows.hardware == device])
            if part.empty:
                return np.nan
            return errors(predict(constants, part), part)[0]

        return error

    families: dict[str, dict[str, tuple[FitOn, ErrorOn]]] = {
        "gemm": {},
        "attention": {},
        "decode": {},
        "grouped": {},
    }
    for name, measured in gemm.FAMILIES.items():
        families["gemm"][name] = (
            lambda hardware, name=name: gemm.fit_family(products, name, hardware),
            error_of(
                products,
                lambda v, rows, name=name: gemm.predict(name, v, rows),
                lambda rows, measured=measured: rows[rows["dtype"].isin(measured)],
            ),
        )
    for name, measured in attention.CACHE.items():
        families["attention"][name] = (
            lambda hardware, name=name: attention.fit_prefill(prefill, name, hardware),
            error_of(
                prefill[attention.common(prefill)],
                lambda v, rows, name=name: attention.predict_prefill(name, v, rows),
                lambda rows, measured=measured: rows[rows["dtype"] == measured],
            ),
        )
        families["decode"][name] = (
            lambda hardware, name=name: attention.fit_decode(decode, name, hardware),
            error_of(
                decode[attention.common(decode)],
                lambda v, rows, name=name: attention.predict_decode(name, v, rows),
                lambda rows, measured=measured: rows[rows.kv_dtype == measured],
            ),
        )
    families["decode"]["latent"] = (
        lambda hardware: attention.fit_latent(latent, hardware),
        error_of(latent, attention.predict_latent, lambda rows: rows),
    )
    for name, measured in moe.FAMILIES.items():
        families["grouped"][name] = (
            lambda hardware, name=name: moe.fit_family(experts, name, hardware),
            error_of(
                experts,
                lambda v, rows, name=name: moe.predict(name, v, rows),
                lambda rows, measured=measured: rows[rows["dtype"] == measured],
            ),
        )
    return families


def _transfer(
    label: str, fits: Mapping[str, Fit], fit_on: FitOn, error_on: ErrorOn
) -> list[tuple[str, str, str, float]]:
    """Return errors on devices of constants that never saw them: (kernel, device, how, error)."""
    found: list[tuple[str, str, str, float]] = []
    for name in fits:
        others = [fits[other].constants for other in fits if other != name]
        for device in CLASSES[name]:
            siblings = tuple(other for other in CLASSES[name] if other != device)
            sibling = fit_on(siblings) if siblings else None
            if sibling:
                error = error_on(sibling.constants, device)
                found.append((label, DEVICES[device], f"class without it ({siblings[0]})", error))
            if others:
                error = error_on(_medians(others), device)
                found.append((label, DEVICES[device], "sheet only (other classes)", error))
    return found


def _left_out_streams(rows: pd.DataFrame) -> dict[str, float]:
    left_out: dict[str, float] = {}
    for device in streaming.DEVICES:
        others = tuple(other for other in streaming.DEVICES if other != device)
        part = rows[rows.hardware == device]
        constants = streaming.fit_devices(rows, others).constants
        left_out[device] = errors(streaming.predict(constants, part), part)[0]
    return left_out


def _medians(constants: list[dict[str, float]]) -> dict[str, float]:
    return {key: float(f"{median(row[key] for row in constants):.4g}") for key in constants[0]}


def _flow(row: Mapping[str, float]) -> str:
    return "{" + ", ".join(f"{key}: {_number(value)}" for key, value in row.items()) + "}"


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    text = f"{value:.4g}"
    if "e" in text and "." not in text.split("e")[0]:
        text = text.replace("e", ".0e")
    return text


def _write_class(name: str, groups: Mapping[str, Mapping[str, Fit]]) -> None:
    devices = ", ".join(DEVICES[device] for device in CLASSES[name])
    lines = [
        "# Written by benchmarks/calibration/run.py; glossary.yaml says what the names mean.",
        f"class: {name}",
        "extends: generic",
        f"measured: [{devices}]",
        f'source: "{SOURCE}"',
    ]
    for group, families in groups.items():
        lines.append(f"{group}:")
        lines += [f"  {family}: {_flow(found.constants)}" for family, found in families.items()]
    lines.append("fit:  # |predicted/measured - 1|: medians, 90th percentile and bias of held out")
    for group, families in groups.items():
        lines += [f"  {group}.{family}: {_flow(f.record())}" for family, f in families.items()]
    (CALIBRATION / f"{name}.yaml").write_text("\n".join(lines) + "\n")


def _write_generic(groups: Mapping[str, Mapping[str, Mapping[str, Fit]]], stream: Fit) -> None:
    lines = [
        "# Written by benchmarks/calibration/run.py: medians of the classes that were timed, for",
        "# accelerators that none of them covers. Memory-bound kernels carry over between",
        "# generations, so that all classes share their constants.",
        "class: generic",
        f'source: "{SOURCE}; {STREAMING_SOURCE}"',
        "compute_units: 128  # tiles in flight, where a sheet prints no units",
        "clock_hz: 1.8e+09  # where a sheet prints none",
    ]
    merged: dict[str, dict[str, list[dict[str, float]]]] = {}
    for families_of in groups.values():
        for group, families in families_of.items():
            for family, found in families.items():
                merged.setdefault(group, {}).setdefault(family, []).append(found.constants)
    for group, families in merged.items():
        lines.append(f"{group}:")
        lines += [f"  {family}: {_flow(_medians(rows))}" for family, rows in families.items()]
    lines.append(f"streaming: {_flow(stream.constants)}")
    lines.append("fit:")
    lines.append(f"  streaming: {_flow(stream.record())}")
    (CALIBRATION / "generic.yaml").write_text("\n".join(lines) + "\n")


def _write_links() -> dict[str, dict[str, float]]:
    """Fit the links that were timed into the rows of links.yaml that carry a `fitted` name."""
    rows = collectives.load()
    path = CALIBRATION / "links.yaml"
    lines = path.read_text().splitlines()
    report: dict[str, dict[str, float]] = {}
    for link in collectives.LINKS:
        library = collectives.fit_library(rows, link)
        constants = {**collectives.ABSENT, **library.constants}
        if link in collectives.DIRECT_LINKS:
            direct = collectives.fit_direct(rows, link, library.constants)
            constants |= direct.constants
            report[f"{link}, one-shot"] = direct.record()
        report[link] = library.record() | collectives.left_out(rows, link)
        at = next(i for i, line in enumerate(lines) if line.strip() == f"- fitted: {link}")
        for i in range(at, len(lines)):
            if lines[i].strip().startswith("constants:"):
                lines[i] = f"    constants: {_flow(constants)}"
                lines[i + 1] = f"    fit: {_flow(library.record())}"
                break
    path.write_text("\n".join(lines) + "\n")
    return report


def _write_exchange(exchanged: Fit) -> None:
    lines = [
        "# Written by benchmarks/calibration/run.py: one set for all devices.",
        'source: "aiconfigurator-core 0.12.0: DeepEP, normal kernels, 4-24 SMs, 8-64 ranks"',
        f"constants: {_flow(exchanged.constants)}",
        f"fit: {_flow(exchanged.record())}",
    ]
    (CALIBRATION / "exchange.yaml").write_text("\n".join(lines) + "\n")


UNITS = {
    "_bytes_per_s": "bytes/s",
    "_s": "s",
    "_ratio": "1",
    "_share": "1",
    "_passes": "1",
    "_exponent": "1",
    "_k": "elements",
    "_half": "elements",
    "_tile": "elements",
    "_dim": "elements",
    "_tokens": "tokens",
    "_per_clock": "bytes per clock and compute unit",
    "splits": "1",
}
RECORDS = {
    "gemm": calibration.GemmConstants,
    "attention": calibration.AttentionConstants,
    "decode": calibration.DecodeConstants,
    "streaming": calibration.StreamingConstants,
    "grouped": calibration.GroupedConstants,
    "links": calibration.LinkConstants,
    "exchange": calibration.ExchangeConstants,
}


def _meanings(record: type) -> dict[str, str]:
    text = inspect.cleandoc(record.__doc__ or "").split("Attributes:")[1]
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", meaning) for name, meaning in entries}


def _write_glossary() -> None:
    lines = ["# Written by benchmarks/calibration/run.py from calibration.py.", ""]
    for group, record in RECORDS.items():
        lines.append(f"{group}:")
        for name, meaning in _meanings(record).items():
            unit = next(unit for end, unit in UNITS.items() if name.endswith(end))
            lines.append(f'  {name}: {{unit: "{unit}", meaning: "{meaning}"}}')
    (CALIBRATION / "glossary.yaml").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
