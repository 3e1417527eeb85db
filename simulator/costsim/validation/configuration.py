"""From a row to what the evaluator takes: a job, and what is stated of its strategy.

Only configuration columns are read here. What a row leaves open is left open, for the search to
fill with what would be chosen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import gcd

import numpy as np

from costsim.architectures.architecture import Architecture
from costsim.errors import CostsimError
from costsim.hardware.kernels import FORMATS
from costsim.hardware.systems import System
from costsim.training.job import Job
from costsim.training.precision import precision
from costsim.training.recompute import Recompute
from costsim.training.samples import profiles
from costsim.training.software import Software, software
from costsim.validation.frameworks import (
    is_plain,
    lacks_fused_attention,
    profile_of,
    usual_recompute,
)
from costsim.validation.interconnect import joined, laid_over, node_of, slices
from costsim.validation.runs import Run
from costsim.validation.shapes import architecture_of
from costsim.validation.stack_facts import stated_software

# Precision as runs files write it -> a recipe; the first match counts.
_RECIPES = (
    ("nvfp4", "nvfp4"),
    ("mxfp8", "mxfp8"),
    ("fp8-block", "fp8_block"),
    ("fp8_block", "fp8_block"),
    ("nf4", "bf16"),
    ("gptq 4-bit base + fp16", "fp16"),
    ("fp8", "fp8"),
    ("int8", "int8"),
    ("bf16", "bf16"),
    ("tf32", "tf32"),
    ("fp16", "fp16"),
    ("fp32", "fp32"),
)
# Recomputation as runs files write it -> a mode; the first match counts. Policies of MaxText are
# read by what they save (`get_remat_policy`), modules of Megatron-Core by what is made again.
_RECOMPUTE: tuple[tuple[str, Recompute], ...] = (
    ("save_products", "save_products"),
    ("save_weight_products", "save_weight_products"),
    ("save_qkv", "save_qkv"),
    ("elementwise", "elementwise"),
    ("feed_forward", "feed_forward"),
    ("minimal_flash", "save_products"),
    ("minimal_with_context", "save_products"),
    ("minimal", "save_weight_products"),
    ("dots_with_no_batch_dims", "save_weight_products"),
    ("save_dot_with_context_except_mlp", "feed_forward"),
    ("save_dot_except_mlp", "save_qkv"),
    ("mlp", "feed_forward"),
    ("moe_act", "elementwise"),
    ("moe", "feed_forward"),
    ("layernorm", "elementwise"),
    ("core_attn", "selective"),
    ("selective", "selective"),
)
TYPICAL_BATCH_TOKENS = 4 * 2**20
"""Tokens of a step where a row of a whole project states no batch: Llama 2's and 3's."""
TYPICAL_DEVICES = 1024
"""Devices of a whole project whose row states none."""
USUAL_SEQUENCE = 2048
"""Tokens of a sequence where neither a row nor its model says how long: GPT-3's and Llama 1's."""
_LONGEST_TRAINED = 8192  # longer contexts are reached at the end of training only
_MODEL_PARALLEL = 64  # devices that hold a copy, at most, where a batch is assumed


_COMPETITIONS = ("time-to-quality", "finetune-from-ckpt")  # tasks of whole MLPerf runs
_EXTENT = ("seq_len", "global_batch", "n_devices")


@dataclass(frozen=True, slots=True)
class Axes:
    """What a row states of its strategy; None is unknown."""

    tp: int | None
    pp: int | None
    vp: int | None
    dp: int | None
    cp: int | None
    ep: int | None
    etp: int | None
    micro_batch: int | None
    zero: int | None
    replicas: int
    recompute: Recompute | None
    usual: tuple[Recompute, ...] = ()  # what its software recomputes by itself


@dataclass(frozen=True, slots=True)
class Configuration:
    """A row as the evaluator takes it; `assumed` says what was put where it says nothing.

    `given` are the columns of batch, sequence and devices that are the row's own. `guessed` is
    whether its shape, its sequence or its network is no more than usual; `plain` whether its
    software is the plain PyTorch of examples.
    """

    job: Job
    axes: Axes
    assumed: tuple[str, ...]
    given: frozenset[str]
    guessed: bool = False
    plain: bool = False

    @property
    def complete(self) -> bool:
        """Whether a step is defined: by its own devices, if of an assumed batch."""
        return "n_devices" in self.given

    @property
    def own_step(self) -> bool:
        """Whether its step is the one that the row measured."""
        return len(self.given) == len(_EXTENT)

    @property
    def tells_constants(self) -> bool:
        """Whether constants can be fitted on it: what is trained, on what, is all its own."""
        return self.own_step and not self.guessed


def configuration_of(run: Run) -> Configuration | str:
    """Return the configuration of a row, or why it cannot be predicted."""
    number, text = run.number, run.text
    shaped = architecture_of(run)
    if isinstance(shaped, str):
        return shaped
    model = shaped.model
    if "accelerator_id" not in text:
        return "`accelerator_id` is empty"
    assumed = [shaped.assumed] if shaped.assumed else []
    if "n_devices" not in number and "total_tokens" not in number:
        return "`n_devices` is empty"
    devices = int(number.get("n_devices", TYPICAL_DEVICES))
    sequence = int(number.get("seq_len", _sequence(model)))
    framework = text.get("framework", "")
    plain = is_plain(framework)
    kind = profiles()["eager"] if plain else software(profile_of(framework))
    batch = int(number.get("global_batch", _batch(run, sequence, devices, kind)))
    for column, value in zip(_EXTENT, (sequence, batch, devices), strict=True):
        if column not in number:
            assumed.append(f"{column} {value:,}")
    try:
        held = node_of(text["accelerator_id"], devices / number.get("nodes", np.inf))
        system, network = joined(held, devices)
        system = laid_over(system, text.get("interconnect", ""))
    except CostsimError as error:
        return error.problems[0].message
    if network:
        assumed.append(network)
    recipe = _recipe(text.get("precision", ""))
    if recipe is None:
        return f"precision `{text.get('precision', '')}` is not known"
    if not recipe:
        # Who states none trains in the fewest bits that the device multiplies in floating point.
        recipe = "fp8" if "fp8" in system.accelerator.peaks_flops_per_s else "bf16"
    if not recipe_runs(recipe, system):
        recipe = "bf16"
    if recipe == "bf16" and "bf16" not in system.accelerator.peaks_flops_per_s:
        recipe = "fp16" if "fp16" in system.accelerator.peaks_flops_per_s else "fp32"
    if "precision" not in text:
        assumed.append(f"precision {recipe}")
    words = run.text.get("precision", "").lower()
    if lacks_fused_attention(framework, words, system.accelerator.vendor):
        kind = replace(kind, attention="unfused")
    kind = stated_software(run, kind, system)
    job = Job(
        model=model,
        system=system,
        global_batch=batch,
        sequence=sequence,
        precision=precision(recipe),
        optimizer="adam",
        software=kind,
        frozen="lora" in text.get("task", "").lower(),
    )
    axes = _axes(run, devices, system.devices_per_node, batch, kind)
    if isinstance(axes, str):
        return axes
    given = {column for column in _EXTENT if column in number}
    if axes.dp is not None and batch % axes.dp and axes.micro_batch is None:
        # Ranks share a batch evenly: the next that they can is trained, at the same speed.
        shared = max(1, round(batch / axes.dp)) * axes.dp
        job = replace(job, global_batch=shared)
        assumed.append(f"of {batch:,} sequences {shared:,}, which {axes.dp:,} ranks share evenly")
        given.discard("global_batch")
    return Configuration(
        job,
        axes,
        tuple(assumed),
        frozenset(given),
        guessed=bool(shaped.assumed or network or "seq_len" not in number),
        plain=plain,
    )


def recipe_runs(name: str, system: System) -> bool:
    """Return whether a recipe's products run on the device, 16-bit ones always."""
    narrow = FORMATS[precision(name).matrix_dtype]
    return narrow.weight_bytes >= 2 or any(
        peak in system.accelerator.peaks_flops_per_s for peak in narrow.peaks
    )


def _sequence(model: Architecture) -> int:
    """Return the tokens that a model is usually trained on at a time."""
    limit = model.context_limit
    return limit if limit is not None and limit <= _LONGEST_TRAINED else USUAL_SEQUENCE


def _batch(run: Run, sequence: int, devices: int, kind: Software) -> int:
    """Return a usual batch in sequences that `devices` can share evenly.

    All of them where states are sharded over all; else the copies of the model that they hold.
    """
    usual = max(1, TYPICAL_BATCH_TOKENS // sequence)
    zero, _ = _sharding(run, devices, devices, kind)
    whole = zero == 3 and ("zero_or_fsdp" in run.text or usual >= devices / 2)
    copies = devices if whole else devices // gcd(devices, _MODEL_PARALLEL)
    return max(1, round(usual / copies)) * copies


def _recipe(words: str) -> str | None:
    if not words:
        return ""
    return next((name for part, name in _RECIPES if part in words.lower()), None)


def _axes(run: Run, devices: int, per_node: int, batch: int, kind: Software) -> Axes | str:
    """Return the stated axes; what follows from them and the number of devices is filled in."""

    def stated(column: str) -> int | None:
        return int(run.number[column]) if column in run.number else None

    tp, pp, cp = stated("tp"), stated("pp"), stated("cp")
    zero, replicas = _sharding(run, devices, per_node, kind)
    if zero == 3 and ("zero_or_fsdp" in run.text or batch >= devices):
        # A run that shards everything, and names no other axis, has none if its batch allows.
        tp, pp, cp = tp or 1, pp or 1, cp or 1
    if cp is None and (tp is not None or pp is not None):
        cp = 1
    dp = stated("dp")
    if tp is not None and pp is not None and cp is not None:
        if devices % (tp * pp * cp):
            return f"{devices} devices do not divide into TP {tp} x PP {pp} x CP {cp}"
        dp = devices // (tp * pp * cp)
        if batch < dp and dp % batch == 0:
            # Each sequence must then be divided: context parallelism that the row leaves out.
            cp, dp = cp * dp // batch, batch
    elif dp is not None and devices % dp:
        return f"{devices} devices do not divide into DP {dp}"
    vp = stated("vp")
    if vp is None and (pp == 1 or not kind.interleaves):
        vp = 1
    micro_batch = stated("micro_batch")
    ep = stated("ep") if "experts" in run.number else 1
    recompute, usual = _recompute(run), _usual(run)
    if recompute is None and len(usual) == 1:
        (recompute,) = usual
    # Megatron-Core divides an expert as the rest of a layer where nothing is said; recipes of many
    # small experts do not divide them.
    etp = stated("etp") if "experts" in run.number and tp != 1 else 1
    return Axes(tp, pp, vp, dp, cp, ep, etp, micro_batch, zero, replicas, recompute, usual)


def _sharding(
    run: Run, devices: int, devices_per_node: int, kind: Software
) -> tuple[int | None, int]:
    """Return the ZeRO stage and over how many replicas it is repeated (HSDP)."""
    words = run.text.get("zero_or_fsdp", "").lower()
    number = slices(run.text.get("interconnect", ""))
    if not words:
        return kind.zero, number if kind.zero == 3 else 1
    if found := re.search(r"zero[- ]?(\d)", words):
        return min(int(found[1]), 3), 1
    if "grad_op" in words:
        return 2, 1
    if "within slice" in words:
        return 3, number
    if "hybrid" in words or "hsdp" in words:
        return 3, max(1, devices // devices_per_node)
    if found := re.search(r"fsdp-(\d+)", words):
        return 3, max(1, devices // int(found[1]))
    if "fsdp" in words or "full_shard" in words:
        return 3, 1
    if "distributed" in words:
        return 1, 1
    return 0, 1


def _usual(run: Run) -> tuple[Recompute, ...]:
    """Return what its software recomputes by itself; entries of a competition are tuned."""
    if run.text.get("task") in _COMPETITIONS:
        return ()
    return usual_recompute(run.text.get("framework", ""), run.text.get("precision", "").lower())


def _recompute(run: Run) -> Recompute | None:
    words = run.text.get("recompute", "").lower()
    if not words:
        return None
    if "none" in words:
        return "none"
    # Policies that move some activations to the host compute the rest again: whole layers.
    for part, mode in _RECOMPUTE:
        if part in words:
            return mode
    return "full"
