"""From a row to what the evaluator takes: a job, and what is stated of its strategy.

Only configuration columns are read here. What a row leaves open is left open, for the search to
fill with what would be chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd, inf
from pathlib import Path

from costsim.architectures.architecture import Architecture
from costsim.hardware.accelerators import Accelerator
from costsim.stacks import Meter
from costsim.training.job import Job
from costsim.training.precision import PRECISIONS, precision
from costsim.training.recompute import Recompute
from costsim.training.samples import profiles
from costsim.training.schedule import Schedule
from costsim.training.software import Software, software
from costsim.validation.devices import device_of
from costsim.validation.frameworks import Framework, framework_of
from costsim.validation.interconnect import joined, laid_over, node_of, slices
from costsim.validation.runs import Run
from costsim.validation.shapes import architecture_of
from costsim.validation.stack_facts import fine_tunes, stated_software
from costsim.validation.stacked import Held, held_of, printed_meter, usual_recompute
from costsim.validation.stated import (
    accumulates_as_stated,
    network_as_stated,
    nodes_as_stated,
    optimizer_of,
    packs_of,
    parameters_differ,
    recompute_of,
    schedule_of,
    sharding_of,
)
from costsim.validation.words import meaning, noted

TYPICAL_BATCH_TOKENS = 4 * 2**20
"""Tokens of a step where a row of a whole project states no batch: Llama 2's and 3's."""
TYPICAL_DEVICES = 1024
"""Devices of a whole project whose row states none."""
USUAL_SEQUENCE = 2048
"""Tokens of a sequence where neither a row nor its model says how long: GPT-3's and Llama 1's."""
USUAL_DOCUMENT = 180
"""Tokens of a packed document where a row tells none: SQuAD's, which recipes default to."""
_LONGEST_TRAINED = 8192  # longer contexts are reached at the end of training only
_MODEL_PARALLEL = 64  # devices that hold a copy, at most, where a batch is assumed


# Recipes that are run in another where the device does not multiply in theirs, the nearest first.
_NEAREST = {
    "nvfp4": ("mxfp8", "bf16", "fp16"),
    "mxfp8": ("bf16", "fp16"),
    "fp8": ("bf16", "fp16"),
    "fp8_block": ("bf16", "fp16"),
    "int8": ("bf16", "fp16"),
    "bf16": ("fp16",),
}
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
    schedule: Schedule = "1f1b"


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
    meter: Meter = "total"
    held: Held | None = None  # by its software's stack, where that is known to differ

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


def configuration_of(run: Run, folder: Path | None = None) -> Configuration | str:
    """Return the configuration of a row, or why it cannot be predicted.

    Args:
        run: the row.
        folder: where a path in its column `config` starts.

    Raises:
        CostsimError: if its model or device is not known, or its links join fewer devices.
    """
    number, text = run.number, run.text
    shaped = architecture_of(run, folder)
    if isinstance(shaped, str):
        return shaped
    model = shaped.model
    if different := parameters_differ(run, model):
        return different
    device = device_of(run)
    if isinstance(device, str):
        return device
    assumed = [shaped.assumed] if shaped.assumed else []
    if "n_devices" not in number and "total_tokens" not in number:
        return "`n_devices` is empty"
    devices = int(number.get("n_devices", TYPICAL_DEVICES))
    sequence = int(number.get("seq_len", _sequence(model)))
    framework = framework_of(run, "language")
    kind = profiles()["eager"] if framework.plain else software(framework.profile)
    batch = int(number.get("global_batch", _batch(run, sequence, devices, kind)))
    for column, value in zip(_EXTENT, (sequence, batch, devices), strict=True):
        if column not in number:
            assumed.append(f"{column} {value:,}")
    held = node_of(text.get("accelerator_id") or device.id, devices / number.get("nodes", inf))
    system, network = joined(held, devices)
    system = laid_over(system, text.get("interconnect", ""), network_as_stated(run, system))
    if network:
        assumed.append(network)
    nodes_as_stated(run, system)
    recipe = _recipe(run, system.accelerator)
    if recipe is None:
        return f"precision `{text.get('precision', '')[:60]}` is not known"
    if "precision" not in text:
        assumed.append(f"precision {recipe}")
    unfused = framework.lacks_fused_attention(text.get("precision", ""), system.accelerator.vendor)
    if unfused or meaning(run, "attention") == "unfused":
        kind = replace(kind, attention="unfused")
    kind = stated_software(run, replace(kind, **framework.traits), system)
    job = Job(
        model=model,
        system=system,
        global_batch=batch,
        sequence=sequence,
        precision=precision(recipe),
        optimizer=optimizer_of(run) or "adam",
        software=kind,
        frozen="lora" in text.get("task", "").lower(),
    )
    if kind.packs_alone and fine_tunes(run) and packs_of(run):
        tokens = int(noted(run, "document") or USUAL_DOCUMENT)
        job = replace(job, documents=max(1.0, sequence / tokens))
        assumed.append(f"documents of {tokens:,} tokens")
    axes = _axes(
        run,
        devices,
        system.devices_per_node,
        batch,
        kind,
        _usual(run, framework, recipe),
        routed=job.routes,
    )
    if isinstance(axes, str):
        return axes
    given = {column for column in _EXTENT if column in number}
    if axes.dp is not None and batch % axes.dp and axes.micro_batch is None:
        # Ranks share a batch evenly: the next that they can is trained, at the same speed.
        shared = max(1, round(batch / axes.dp)) * axes.dp
        job = replace(job, global_batch=shared)
        assumed.append(f"of {batch:,} sequences {shared:,}, which {axes.dp:,} ranks share evenly")
        given.discard("global_batch")
    if axes.dp is not None and axes.micro_batch is not None:
        accumulates_as_stated(run, axes.dp, axes.micro_batch, job.global_batch)
    return Configuration(
        job,
        axes,
        tuple(assumed),
        frozenset(given),
        guessed=bool(shaped.assumed or network or "seq_len" not in number),
        plain=framework.plain,
        meter=printed_meter(run),
        held=held_of(run, job),
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


def _recipe(run: Run, accelerator: Accelerator) -> str | None:
    """Return the precision recipe of a row that its device runs; None where it is not known."""
    known, words = accelerator.peaks_flops_per_s, run.text.get("precision", "")
    recipe = meaning(run, "precision", PRECISIONS) if words else None
    if words and recipe is None:
        return None
    if recipe is None:
        # Who states none trains in the fewest bits that the device multiplies in floating point.
        recipe = "fp8" if "fp8" in known else "bf16"
    last = recipe if recipe in ("fp32", "tf32", "fp16") else "fp32"
    nearest = (recipe, *_NEAREST.get(recipe, ()))
    found = next((name for name in nearest if PRECISIONS[name].peak_dtype in known), last)
    if words and found != recipe:
        run.account.note(
            "unused", f"precision `{recipe}`, taken as {found} on this device", column="precision"
        )
    return found


def _axes(
    run: Run,
    devices: int,
    per_node: int,
    batch: int,
    kind: Software,
    usual: tuple[Recompute, ...],
    *,
    routed: bool,
) -> Axes | str:
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
        follows = devices // (tp * pp * cp)
        if dp is not None and dp != follows:
            text = f"dp {dp}, where {devices} devices leave {follows}"
            run.account.note("contradiction", text, column="dp")
        dp = follows
        if batch < dp and dp % batch == 0:
            # Each sequence must then be divided: context parallelism that the row leaves out.
            cp, dp = cp * dp // batch, batch
    elif dp is not None and devices % dp:
        return f"{devices} devices do not divide into DP {dp}"
    vp = stated("vp")
    if vp is None and (pp == 1 or not kind.interleaves):
        vp = 1
    micro_batch = stated("micro_batch")
    ep = stated("ep")
    experts = int(run.number.get("experts", 0))
    if routed and ep and experts and experts % ep:
        return f"{experts} experts do not divide into EP {ep}"
    if not routed:
        if ep is not None and ep > 1:
            run.account.note("contradiction", f"ep {ep} of a model without experts", column="ep")
        ep = 1
    if micro_batch is None and dp is not None and "grad_accum" in run.number:
        follows = batch / (dp * run.number["grad_accum"])
        micro_batch = int(follows) if follows >= 1 and follows == int(follows) else None
    if micro_batch is None and kind.packs_alone and packs_of(run):
        micro_batch = 1
    recompute = recompute_of(run)
    if recompute is None and len(usual) == 1:
        (recompute,) = usual
    # Megatron-Core divides an expert as the rest of a layer where nothing is said; recipes of many
    # small experts do not divide them.
    etp = stated("etp") if routed and tp != 1 else 1
    schedule = schedule_of(run) or "1f1b"
    if schedule != "1f1b":
        vp = 1
    return Axes(
        *(tp, pp, vp, dp, cp, ep, etp, micro_batch, zero, replicas, recompute, usual, schedule)
    )


def _sharding(
    run: Run, devices: int, devices_per_node: int, kind: Software
) -> tuple[int | None, int]:
    """Return the ZeRO stage and over how many replicas it is repeated (HSDP)."""
    zero, copies = sharding_of(run, devices, devices_per_node)
    if zero is None:
        zero = kind.zero
        copies = slices(run.text.get("interconnect", "")) if zero == 3 else 1
    return zero, copies


def _usual(run: Run, framework: Framework, recipe: str) -> tuple[Recompute, ...]:
    """Return what its software recomputes by itself; entries of a competition are tuned."""
    if run.text.get("task") in _COMPETITIONS:
        return ()
    of_stack = usual_recompute(run, adapters="lora" in run.text.get("task", "").lower())
    return framework.usual_recompute(recipe) or of_stack
