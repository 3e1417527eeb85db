"""What notes and columns say of stack and network: each counts where the other is silent."""

from __future__ import annotations

from pathlib import Path

import pytest

from costsim.validation.configuration import Configuration, configuration_of
from costsim.validation.runs import read_runs
from validation.runs_sample import ROW, written

MIXTURE = {
    "family": "moe",
    "model": "qwen3-30b-a3b",
    "params_B": "30.53",
    "layers": "",
    "hidden": "",
    "ffn": "",
    "heads": "",
    "kv_heads": "",
    "vocab": "",
    "framework": "Megatron-Bridge/NeMo 26.04",
    "tp": "1",
    "pp": "1",
    "cp": "1",
    "ep": "8",
    "dp": "",
    "global_batch": "64",
}


def configured(tmp_path: Path, **changes: str) -> Configuration:
    row = ROW | MIXTURE | changes
    (run,) = read_runs(written(tmp_path, row, columns=tuple(row))).runs
    found = configuration_of(run)
    assert isinstance(found, Configuration), found
    return found


@pytest.mark.parametrize(
    ("notes", "trait", "value"),
    [
        ("no CUDA graph; DeepEP", "graphs", "none"),
        ("CUDA graph transformer_engine; HybridEP", "graphs", "layer"),
        ("full-iteration CUDA graph", "graphs", "step"),
        ("HybridEP", "dispatcher", "hybrid_ep"),
        ("token dispatcher all-to-all, padded", "dispatcher", "all_to_all"),
        ("DeepEP, natural (dropless) routing", "routing", "natural"),
        ("natural routing", "routing", "natural"),
        ("balanced routing forced", "routing", "balanced"),
        ("DeepEP, forced balance", "routing", "balanced"),
        ("verification (not tuned)", "routing", "natural"),
        ("deeper; subgraphs", "dispatcher", "deep_ep"),  # the stack's own
    ],
)
def test_notes_are_read(tmp_path: Path, notes: str, trait: str, value: str) -> None:
    assert getattr(configured(tmp_path, notes=notes).job.software, trait) == value


def test_a_column_counts_before_notes(tmp_path: Path) -> None:
    found = configured(tmp_path, notes="no CUDA graph; HybridEP", graphs="full_iteration")
    assert found.job.software.graphs == "step"


def test_packed_sequences_are_micro_batches_of_their_own(tmp_path: Path) -> None:
    assert configured(tmp_path, micro_batch="", notes="packed").axes.micro_batch == 1
    assert configured(tmp_path, micro_batch="", sequence_packing="yes").axes.micro_batch == 1
    assert configured(tmp_path, micro_batch="", sequence_packing="no").axes.micro_batch is None
    assert configured(tmp_path, micro_batch="2", notes="packed").axes.micro_batch == 2


def test_expert_parallelism_counts_for_models_of_the_catalogue(tmp_path: Path) -> None:
    assert configured(tmp_path).axes.ep == 8
    assert configured(tmp_path, overlap="fused_grouped_mlp").job.software.fuses_experts


@pytest.mark.parametrize(
    ("words", "column", "gbps", "contradicts"),
    [
        ("8x200Gb/s IB", "", 200, False),
        ("8x200Gb/s IB", "200", 200, False),
        ("4x100Gb/s Omni-Path per node", "12.5", 50, True),
        ("NVLink and Ethernet", "25", 25, False),
        ("", "25", 25, False),
    ],
)
def test_the_network_column_counts_where_words_name_no_ports(
    tmp_path: Path, words: str, column: str, gbps: float, contradicts: bool
) -> None:
    row = ROW | {"interconnect": words, "network_gbps_per_device": column}
    row |= {"n_devices": "16", "global_batch": "8", "dp": "2"}
    (run,) = read_runs(written(tmp_path, row, columns=tuple(row))).runs
    found = configuration_of(run)
    assert isinstance(found, Configuration), found
    assert found.job.system.tiers[-1].bandwidth_bytes_per_s == pytest.approx(gbps * 1e9 / 8)
    said = [d for d in run.account.doubts.values() if d.column == "network_gbps_per_device"]
    assert bool(said) == contradicts


@pytest.mark.parametrize(
    ("framework", "dispatcher"),
    [
        ("NeMo 24.12", "all_to_all"),
        ("NVIDIA NeMo Framework Release 24.04", "all_to_all"),
        ("NeMo 25.04.rc2", "all_to_all"),
        ("Megatron-Bridge/NeMo 25.09", "deep_ep"),
        ("Megatron-Bridge/NeMo (Aug 2026)", "deep_ep"),
    ],
)
def test_a_release_has_what_there_was(tmp_path: Path, framework: str, dispatcher: str) -> None:
    assert configured(tmp_path, framework=framework).job.software.dispatcher == dispatcher
    noted = configured(tmp_path, framework=framework, notes="HybridEP").job.software
    assert noted.dispatcher == "hybrid_ep"


@pytest.mark.parametrize(
    ("notes", "framework", "meter"),
    [
        ("memory: peak allocated by torch; nvidia-smi peak 15 GB", "torchtitan", "allocated"),
        ("memory is peak reserved", "torchtune", "reserved"),
        ("memory: peak observed (nvidia-smi)", "Megatron-Core", "total"),
        ("", "torchtitan", "reserved"),  # components/metrics.py logs max_reserved_gib
        ("", "Megatron-Core", "allocated"),
    ],
)
def test_the_meter_is_the_one_that_was_noted_or_is_logged(
    tmp_path: Path, notes: str, framework: str, meter: str
) -> None:
    assert configured(tmp_path, notes=notes, framework=framework).meter == meter


def test_states_in_fewer_bits_are_read_from_notes(tmp_path: Path) -> None:
    found = configured(tmp_path, notes="4-bit AdamW (torchao)", framework="torchtune")
    assert found.job.optimizer == "adam_4bit"


def test_software_that_nobody_knows_holds_what_plain_pytorch_does(tmp_path: Path) -> None:
    mine = configured(tmp_path, framework="my own trainer", ep="1", zero_or_fsdp="none")
    assert mine.held is not None
    assert mine.held.job.stack is not None
    assert (mine.held.job.stack.id, mine.held.job.stack.known) == ("pytorch", False)
    assert configured(tmp_path, framework="my own trainer", ep="8").held is None
