"""Nothing that a row gives is dropped in silence: what is not used or not known is named."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from costsim.validation.account import Doubt, widened, width_of
from costsim.validation.entries import Entry
from costsim.validation.formats import FORMATS
from costsim.validation.frameworks import framework_named
from costsim.validation.kinds import KINDS
from costsim.validation.score import validate
from validation.runs_sample import COLUMNS, ROW, written

ROOT = Path(__file__).resolve().parents[2]
NEW = (
    *("config", "network_gbps_per_device", "img_size", "routing", "graphs", "attention_kernel"),
    *("overlap", "offload", "release", "dispatcher", "recompute_modules", "sequence_packing"),
    *("optimizer", "states", "loss", "adapter_rank", "adapter_targets", "storage_format"),
    "memory_kind",
)
UNSTATED = ROW | {"model": "mine", "params_B": "22.1"}


def step_of(folder: Path, **cells: str) -> Entry:
    columns = tuple(dict.fromkeys((*COLUMNS, *cells)))
    entries = validate(written(folder, UNSTATED | cells, columns=columns)).entries
    return next(entry for entry in entries if entry.quantity == "step_time_s")


def width(entry: Entry) -> float:
    assert entry.low is not None
    assert entry.high is not None
    return entry.high / entry.low


def test_a_plain_row_has_no_doubts(tmp_path: Path) -> None:
    assert step_of(tmp_path).reason == ""


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ({"overlap": "tp_comm_overlap"}, "not used: overlap `tp_comm_overlap`"),
        ({"recompute": "custom"}, "not known: recompute `custom`"),
        ({"recompute": "mlp, core_attn"}, "not used: recompute `core_attn`"),
        ({"framework": "Foo-LM dev2025v2"}, "not known: framework `Foo-LM dev2025v2`"),
        ({"zero_or_fsdp": "zorro"}, "not known: zero_or_fsdp `zorro`"),
        ({"precision": "fp16 sparkling"}, "not known: precision `sparkling`"),
        ({"dp": "4"}, "contradictory: dp 4, where 8 devices leave 1"),
        ({"tpp": "4"}, "not known: column tpp `4`"),
        ({"params_B": "23.2"}, "parameters differ: params_B 23.2, of mine 22.39"),
    ],
)
def test_what_is_in_doubt_is_named_and_widens_the_interval(
    tmp_path: Path, cells: dict[str, str], says: str
) -> None:
    plain, entry = step_of(tmp_path), step_of(tmp_path, **cells)
    assert entry.status == "scored"
    assert says in entry.reason
    assert width(entry) > width(plain)


def test_a_column_of_ones_own_is_named_and_changes_no_interval(tmp_path: Path) -> None:
    entry = step_of(tmp_path, rack="B7")
    assert "column rack `B7`" in entry.reason
    assert width(entry) == width(step_of(tmp_path))


def test_a_model_of_quite_other_parameters_is_not_predicted(tmp_path: Path) -> None:
    entry = step_of(tmp_path, params_B="80")
    assert entry.status == "unsupported"
    assert "params_B 80" in entry.reason


@pytest.mark.parametrize("column", NEW)
def test_new_columns_are_known_and_used_or_named(tmp_path: Path, column: str) -> None:
    whole = FORMATS["training"].columns[column].type != "text"
    cell = "16" if whole else "nonesuch"
    path = written(tmp_path, UNSTATED | {column: cell}, columns=(*COLUMNS, column))
    found = validate(path)
    assert not found.warnings
    entry = next(entry for entry in found.entries if entry.quantity == "step_time_s")
    memory = next((e for e in found.entries if e.quantity == "memory_gb_per_gpu"), entry)
    assert cell in entry.reason + memory.reason


def test_a_published_config_beside_the_file_is_the_model(tmp_path: Path) -> None:
    config = {"model_type": "gpt2", "n_layer": 12, "n_embd": 768, "n_head": 12, "vocab_size": 50257}
    (tmp_path / "mine.json").write_text(json.dumps(config | {"n_positions": 2048}))
    small = step_of(tmp_path, config="mine.json", params_B="0.125")
    assert small.predicted is not None
    assert small.predicted < (step_of(tmp_path).predicted or 0) / 20
    missing = step_of(tmp_path, config="none.json")
    assert missing.status == "unsupported"
    assert "none.json" in missing.reason


@given(st.floats(0.1, 10), st.floats(1, 3), st.floats(0, 2), st.floats(0, 2))
def test_doubts_add_in_quadrature(value: float, ratio: float, one: float, two: float) -> None:
    both = width_of([Doubt("unused", "a", "", one), Doubt("unknown", "b", "", two)])
    assert both == pytest.approx((one**2 + two**2) ** 0.5)
    low, high = widened(value / ratio, value, value * ratio, both)
    assert low <= value / ratio * (1 + 1e-12)
    assert high >= value * ratio * (1 - 1e-12)
    assert low * high == pytest.approx(value**2)
    again = widened(*widened(value / ratio, value, value * ratio, one)[:1], value, 1e9, 0)
    assert again[0] <= value / ratio * (1 + 1e-12)


def test_names_of_frameworks_are_whole_words() -> None:
    assert not framework_named("own-stack dev2025v2 ngcx").known
    assert framework_named("Megatron-LM v2").profile == "megatron-2022"
    assert framework_named("Megatron-Core dev2025").profile == "megatron-core"


def test_every_kind_reads_a_known_format() -> None:
    assert {kind.format for kind in KINDS} == set(FORMATS)


def _strings(value: Any) -> list[str]:
    """Return all names and texts of constants; on what a fit was scored is none."""
    if isinstance(value, dict):
        constants = [(k, v) for k, v in value.items() if "in_sample" not in _strings_of_keys(v)]
        return [text for key, item in constants for text in (str(key), *_strings(item))]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return [str(value)]


def _strings_of_keys(value: Any) -> list[str]:
    return [str(key) for key in value] if isinstance(value, dict) else []


def test_no_constant_is_named_after_a_source_or_a_row(shared: Path) -> None:
    """Neither code nor data of calibrations knows a source or a row of the measured runs."""
    names: set[str] = set()
    for path in sorted((shared / "validation").glob("*_runs.csv")):
        with path.open(encoding="utf-8", newline="") as handle:
            for row in csv.DictReader(handle):
                names |= {row["id"], row.get("source_id") or "-", row.get("group") or "-"}
    # Software whose own name a source has.
    names -= {"-", "autoawq", "gpt-fast", "internevo", "primus", "easycontext", "neuron-sdk"}
    names -= {"megatron-bridge", "nemo-automodel", "optimum-habana", "fms-acceleration"}
    names = {name.lower() for name in names if len(name) > 4}
    for path in sorted((ROOT / "simulator").rglob("*.py")):
        text = path.read_text(encoding="utf-8").lower()
        words = set(text.replace('"', " ").replace("'", " ").replace(",", " ").split())
        assert not words & names, path
    for folder in ("calibration", "runs"):
        for path in sorted((ROOT / "hardware_specs" / folder).glob("*.yaml")):
            content = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
            assert not {text.lower() for text in _strings(content)} & names, path
