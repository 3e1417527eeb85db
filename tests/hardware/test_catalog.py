"""Names: ids, aliases, ambiguity, folders of one's own, and no more files opened than needed."""

from __future__ import annotations

import contextlib
import csv
import os
import string
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from costsim.errors import CatalogError, SpecError, UnknownNameError
from costsim.hardware import (
    accelerator_ids,
    aliases_of,
    catalog,
    load_accelerator,
    load_hardware,
    system_ids,
)
from costsim.resources import data_folder

ALIASES = yaml.safe_load((data_folder("hardware_specs") / "aliases.yaml").read_text("utf-8"))


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("h100", "nvidia-h100-sxm5-80gb"),
        ("H100", "nvidia-h100-sxm5-80gb"),
        ("NVIDIA H100 80GB HBM3", "nvidia-h100-sxm5-80gb"),  # as the driver names it
        ("a100-80gb", "nvidia-a100-sxm4-80gb"),
        ("A100-SXM4-80GB", "nvidia-a100-sxm4-80gb"),
        ("NVIDIA A100-SXM4-80GB", "nvidia-a100-sxm4-80gb"),
        ("Tesla V100-SXM2-32GB", "nvidia-v100-sxm2-32gb"),
        ("mi300x", "amd-mi300x"),
        ("tpu-v5p", "google-tpu-v5p"),
        ("b200", "nvidia-b200-sxm-180gb"),
        ("gb200", "nvidia-gb200"),
        ("RTX_4090", "nvidia-rtx-4090"),
        ("trn2", "aws-trainium2"),
    ],
)
def test_an_alias_means_one_accelerator(name: str, identity: str) -> None:
    assert load_accelerator(name).id == identity
    assert load_hardware(name).accelerator.id == identity


def test_a_system_has_aliases_too() -> None:
    assert load_hardware("p5.48xlarge").id == "aws-p5.48xlarge"
    with pytest.raises(UnknownNameError, match="unknown accelerator `dgx-h100`"):
        load_accelerator("dgx-h100")


def test_the_index_of_aliases_is_complete_and_true() -> None:
    known = {*accelerator_ids(), *system_ids()}
    for alias, target in ALIASES.items():
        targets = target if isinstance(target, list) else [target]
        assert set(targets) <= known, alias
        assert alias not in known, f"{alias} is a file and would never be looked up here"
        assert alias == catalog._normalised(alias)
        assert not isinstance(target, list) or len(target) > 1, alias
    for identity in accelerator_ids():
        assert aliases_of(identity), f"{identity} has no short name"


def test_names_of_measured_runs_are_known(shared: Path) -> None:
    with (shared / "validation" / "training_runs.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    for name in {row["accelerator_id"] for row in rows} - {""}:
        assert load_accelerator(name).id == name
    unknown = []
    for name in {row["hardware"] for row in rows}:
        try:
            load_hardware(name)
        except UnknownNameError:
            unknown.append(name)
    # Parts that no sheet describes, and a machine written with its chip.
    assert set(unknown) <= {"h100-sxm-96gb", "a800-sxm-80gb", "trn1-32xlarge(trainium1)"}


@pytest.mark.parametrize("name", ["a100", "V100", "gh200", "rtx-pro-6000"])
def test_an_ambiguous_name_raises_with_the_choices(name: str) -> None:
    for load in (load_hardware, load_accelerator):
        with pytest.raises(UnknownNameError, match="means several") as caught:
            load(name)
        hint = caught.value.problems[0].hint or ""
        assert hint.count("`nvidia-") >= 2


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("h1000", "`h100`"),
        ("mi300", "`mi300x`"),
        ("tpu-v5", "`tpu-v5"),
        ("dgx-h10", "`dgx-h100`"),
        ("zzzzzzzz", "`costsim hardware` lists what is known"),
    ],
)
def test_an_unknown_name_raises_with_a_suggestion(name: str, hint: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown hardware `{name}`") as caught:
        load_hardware(name)
    assert hint in (caught.value.problems[0].hint or "")


@given(st.text(alphabet=string.printable, max_size=30))
def test_any_text_is_a_name_or_an_unknown_name(name: str) -> None:
    with contextlib.suppress(UnknownNameError):
        assert load_hardware(name).tiers is not None


@pytest.mark.parametrize("name", ["../systems/dgx-h100", "/etc/passwd", "..", ".", "a/b", "con\0"])
def test_a_name_is_no_path(name: str) -> None:
    with pytest.raises(UnknownNameError):
        load_hardware(name)


def test_loading_one_device_opens_its_files_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for cached in (catalog._read_accelerator, catalog._read_system, catalog._read_aliases):
        cached.cache_clear()
    opened: list[str] = []
    read = Path.read_bytes

    def recorded(path: Path) -> bytes:
        opened.append(path.name)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", recorded)
    load_hardware("nvidia-h100-sxm5-80gb")
    assert opened == ["nvidia-h100-sxm5-80gb.yaml", "dgx-h100.yaml"]
    load_hardware("b200")
    assert opened[2:] == ["aliases.yaml", "nvidia-b200-sxm-180gb.yaml", "dgx-b200.yaml"]
    load_hardware("b200")
    assert len(opened) == 5


CHIP = "id: {id}\nname: {name}\nmemory: {{capacity: 80 GB, bandwidth: 3 TB/s}}\n"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_ones_own_folders_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write(one, "accelerators/chip.yaml", CHIP.format(id="chip", name="of one"))
    write(two, "accelerators/chip.yaml", CHIP.format(id="chip", name="of two"))
    write(two, "accelerators/other.yaml", CHIP.format(id="other", name="Other"))
    write(two, "aliases.yaml", "ours: other\n3: other\nboth: [chip, other]\n")
    monkeypatch.setenv(catalog.FOLDERS_VARIABLE, str(two))
    assert load_accelerator("chip").name == "of two"
    assert load_accelerator("chip", extra_folder=one).name == "of one"
    assert load_accelerator("OURS").id == load_accelerator("3").id == "other"
    assert {"chip", "other", "nvidia-l4"} <= set(accelerator_ids())
    with pytest.raises(UnknownNameError, match="means several"):
        load_hardware("both")
    monkeypatch.setenv(catalog.FOLDERS_VARIABLE, os.pathsep.join((str(one), str(two))))
    assert load_accelerator("chip").name == "of one"
    system = load_hardware("chip")
    assert (system.count, system.tiers, system.max_devices) == (1, (), 1)


def test_a_file_changed_on_disk_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, "accelerators/chip.yaml", CHIP.format(id="chip", name="first"))
    write(
        tmp_path,
        "systems/box.yaml",
        "id: box\nname: Box\naccelerator: chip\ndevices: 1\ndevices_per_node: 1\ntiers: []\n",
    )
    assert load_hardware("box", extra_folder=tmp_path).accelerator.name == "first"
    path.write_text(CHIP.format(id="chip", name="second"), encoding="utf-8")
    os.utime(path, ns=(1, 1))
    assert load_hardware("box", extra_folder=tmp_path).accelerator.name == "second"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such folder of hardware"):
        load_hardware("h100", extra_folder=tmp_path / "absent")


def test_a_default_system_without_a_file_is_the_catalogs_fault(tmp_path: Path) -> None:
    text = CHIP.format(id="chip", name="Chip") + "default_system: dgx-h1000\n"
    write(tmp_path, "accelerators/chip.yaml", text)
    with pytest.raises(CatalogError, match="`dgx-h1000` of `chip` has no file"):
        load_hardware("chip", extra_folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("id: chip\nid: chip\n", "duplicate key"),
        ("- a list\n", "the file must be a mapping"),
        ("id: [unclosed\n", ":"),
    ],
)
def test_a_file_that_is_no_sheet_is_an_error_with_its_name(
    tmp_path: Path, text: str, message: str
) -> None:
    path = write(tmp_path, "accelerators/chip.yaml", text)
    with pytest.raises(SpecError, match=message) as caught:
        load_accelerator("chip", extra_folder=tmp_path)
    assert str(path) in str(caught.value)
