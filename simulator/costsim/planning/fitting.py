"""Will it fit: one job on so many devices, as a framework runs it, and what would make it fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from math import floor
from typing import Any, Literal, TypeAlias, get_args

from costsim.architectures import load_model
from costsim.architectures.architecture import Architecture
from costsim.compression.adapters import Adapt
from costsim.compression.description import with_pass
from costsim.compression.formats import FORMATS
from costsim.compression.scalar_head import with_scalar_head
from costsim.compression.steps import AdaptStep, QuantizeStep
from costsim.errors import Problem, SpecError, UnknownNameError, suggestion
from costsim.hardware import System, load_hardware
from costsim.hardware.accelerators import Accelerator
from costsim.hardware.catalog import accelerator_ids, load_accelerator
from costsim.planning.intervals import CONFIDENCE, fit_probability, memory_interval
from costsim.stacks import Stack, beside_adapters, load_stack, recompute_of
from costsim.stacks.catalog import changed
from costsim.stacks.stack import adapter_reads
from costsim.training.companions import (
    PAIRED,
    TRAINING_METHODS,
    Companions,
    companions,
    usual_reference,
)
from costsim.training.companions import Method as TrainingMethod
from costsim.training.evaluate import evaluate
from costsim.training.job import Job
from costsim.training.memory import MEMORY_PARTS, MOMENTS
from costsim.training.offload import OFFLOADS, Offload, host_bytes_per_device, host_rate_bytes_per_s
from costsim.training.optimizers import OPTIMIZERS
from costsim.training.optimizers import optimizer as optimizer_of
from costsim.training.precision import precision
from costsim.training.recompute import RECOMPUTE, Recompute
from costsim.training.software import software
from costsim.training.strategy import Strategies, Strategy
from costsim.units import format_bytes

Method: TypeAlias = Literal["full", "frozen", "lora", "dora", "qlora"]
METHODS: tuple[Method, ...] = get_args(Method)
_UNKNOWN_WIDTH = 1.5  # of the interval of software that nobody knows
_LARGEST_MICRO_BATCH = 1024
_LONGEST = 2**22  # tokens, where a model has no limit
_MOST_DEVICES = 1024
_NO_LESS = 0.98  # of the bytes on half as many devices: more of them do not help


@dataclass(frozen=True, slots=True)
class Setup:
    """What is asked: a model, a device, how many, and how the software trains it."""

    model: str | dict[str, Any]
    hardware: str
    count: int = 1
    software: str = "hf-trainer"
    method: Method = "full"
    objective: TrainingMethod = "sft"
    sequence: int = 2048
    micro_batch: int = 1
    accumulation: int = 1
    precision: str = "bf16"
    optimizer: str = "adamw"
    recompute: Recompute | None = None
    zero: int | None = None
    tp: int = 1
    cp: int = 1
    offload: Offload = "none"
    nvme_bytes_per_s: float | None = None
    rank: int = 16
    targets: tuple[str, ...] = ("all-linear",)
    modules_to_save: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()
    dropout: float = 0.0
    storage: str | None = None
    reference: Literal["shared", "separate", "precomputed"] | None = None
    teacher: str | None = None
    engine: Literal["none", "colocated", "asleep"] | None = None
    engine_share: float = 0.3
    choices: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def adapts(self) -> bool:
        """Whether low-rank adapters are trained."""
        return self.method in ("lora", "dora", "qlora")

    @property
    def ranks(self) -> int:
        """Data-parallel ranks."""
        return self.count // (self.tp * self.cp)


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes of a device at the peak of one setup, with the probability that they fit."""

    setup: Setup
    job: Job
    strategy: Strategy
    allocated_bytes: float
    reserved_bytes: float
    total_bytes: float
    low_bytes: float
    high_bytes: float
    capacity_bytes: float
    probability: float
    moment: str
    parts_bytes: dict[str, float]
    moments_bytes: dict[str, float]
    host_bytes: float  # of a node
    host_capacity_bytes: float | None
    step_time_s: float

    def __repr__(self) -> str:
        setup, verdict = self.setup, "fits" if self.fits else "does not fit"
        return (
            f"<{setup.model} ({setup.method}) {verdict} on {setup.count:,} x {setup.hardware}: "
            f"{format_bytes(self.total_bytes)} of {format_bytes(self.capacity_bytes)}, "
            f"probability {self.probability:.0%}>"
        )

    @property
    def host_fits(self) -> bool:
        return self.host_capacity_bytes is None or self.host_bytes <= self.host_capacity_bytes

    @property
    def fits(self) -> bool:
        return self.probability >= CONFIDENCE and self.host_fits


@dataclass(frozen=True, slots=True)
class Change:
    """One change, or several together, that make it fit: what it is, and what a step then takes."""

    text: str
    changes: dict[str, Any]
    total_bytes: float
    probability: float
    time_ratio: float  # of a sample's time over that of what was asked

    def to_dict(self) -> dict[str, Any]:
        """Return the change as plain values."""
        return {
            "text": self.text,
            "changes": self.changes,
            "total_bytes_per_device": self.total_bytes,
            "probability": self.probability,
            "time_ratio": self.time_ratio,
        }


def check(setup: Setup) -> Answer:
    """Return what one setup holds, and whether it fits.

    Raises:
        SpecError: with everything that is wrong with it.
        UnknownNameError: for a model, device or stack that is not known.
    """
    stack, model, system = _stack(setup), load_model(setup.model), _system(setup)
    _check_words(setup, model, system)
    job, strategy = _job(setup, stack, model, system)
    evaluation = evaluate(job, Strategies.of([strategy]))
    memory = evaluation.memory
    total = float(memory.metered_bytes("total", job).max())
    capacity = system.accelerator.memory_usable_bytes
    engine, moment = _engine_bytes(setup, system), MOMENTS[int(memory.moment[0, 0])]
    moments = {name: float(size.max()) for name, size in memory.moments.items()}
    parts = {part: float(memory.parts[part].max()) for part in MEMORY_PARTS}
    if engine:  # between states that stay and the engine's share
        generating = parts["weights"] + parts["optimizer"] + parts["beside"] + engine
        moments["generate"] = generating
        if generating > total:
            total, moment = generating, "generate"
    host = float(memory.host_bytes.max()) * min(system.devices_per_node, setup.count)
    low, high = memory_interval(total, stacked=True)
    if not stack.known:
        low, high = (
            total * (low / total) ** _UNKNOWN_WIDTH,
            total * (high / total) ** _UNKNOWN_WIDTH,
        )
    return Answer(
        setup,
        job,
        strategy,
        float(memory.allocated_bytes.max()),
        float(memory.metered_bytes("reserved", job).max()),
        total,
        low,
        high,
        capacity,
        fit_probability(low, high, capacity),
        moment,
        parts,
        moments,
        host,
        _host_capacity(system, setup),
        float(evaluation.step_time_s[0]),
    )


def _host_capacity(system: System, setup: Setup) -> float | None:
    share = host_bytes_per_device(system)
    return None if share is None else share * min(system.devices_per_node, setup.count)


def _stack(setup: Setup) -> Stack:
    stack = load_stack(setup.software)
    if setup.adapts and not setup.choices.get("weights"):
        stack = beside_adapters(stack, "bf16", _storage(setup))
    return changed(stack, setup.choices)


def _storage(setup: Setup) -> str | None:
    return setup.storage or ("nf4" if setup.method == "qlora" else None)


def _system(setup: Setup) -> System:
    return load_hardware(setup.hardware, setup.count)


def _check_words(setup: Setup, model: Architecture, system: System) -> None:
    problems: list[Problem] = []
    for name, value, known in (
        ("method", setup.method, METHODS),
        ("objective", setup.objective, TRAINING_METHODS),
        ("optimizer", setup.optimizer, tuple(OPTIMIZERS)),
        ("recompute", setup.recompute or "none", RECOMPUTE),
        ("offload", setup.offload, OFFLOADS),
    ):
        if value not in known:
            near = (*known, *TRAINING_METHODS) if name == "method" else known
            problems.append(Problem(f"unknown {name} `{value}`", hint=suggestion(value, near)))
    if setup.offload == "nvme" and not setup.nvme_bytes_per_s:
        message = f"the bandwidth of the NVMe drives of a node of {system.name} is not known"
        hint = "state it, as --nvme 12GB/s, or offload `states` to the host's memory"
        problems.append(Problem(message, hint=hint))
    if setup.storage is not None and setup.storage not in FORMATS:
        hint = suggestion(setup.storage, FORMATS)
        problems.append(Problem(f"unknown storage format `{setup.storage}`", hint=hint))
    limit = model.context_limit
    if limit is not None and setup.sequence > limit:
        message = f"{model.name} has positions for {limit:,} tokens, not {setup.sequence:,}"
        problems.append(Problem(message, hint=f"use --sequence {limit} or fewer"))
    if setup.count % (setup.tp * setup.cp):
        message = f"{setup.count} devices do not divide into TP {setup.tp} x CP {setup.cp}"
        problems.append(Problem(message, hint="state degrees whose product divides the devices"))
    if problems:
        raise SpecError(problems)
    if setup.offload != "none":
        host_rate_bytes_per_s(system)  # a link that is not known is an error


def _job(setup: Setup, stack: Stack, model: Architecture, system: System) -> tuple[Job, Strategy]:
    parameters = float(model.parameters)
    trained: AdaptStep | tuple[str, ...] | None = None
    if setup.adapts:
        trained = AdaptStep(
            kind="adapt",
            rank=setup.rank,
            targets=setup.targets,
            magnitudes=setup.method == "dora",
            dropout=setup.dropout,
            modules_to_save=setup.modules_to_save,
            reads=adapter_reads(stack),
        )
    elif setup.method == "frozen":
        trained = setup.trained or ("last:2",)
    if setup.objective == "reward":
        model = with_scalar_head(model)
    # Steps are frozen, and so hashable, which their base class does not say.
    model = _prepared(model, _storage(setup), trained, setup.precision)  # pyright: ignore[reportArgumentType]
    zero = stack.zero if setup.zero is None else setup.zero
    zero = zero if setup.ranks * setup.cp > 1 else 0
    micro_batch = setup.micro_batch * (2 if setup.objective in PAIRED else 1)
    beside = _companions(setup, parameters)
    awake = setup.engine_share * system.accelerator.memory_bytes
    awake = awake if setup.engine == "colocated" else 0.0
    job = Job(
        model=model,
        system=system,
        global_batch=micro_batch * setup.ranks * setup.accumulation,
        sequence=setup.sequence,
        precision=precision(setup.precision),
        optimizer=optimizer_of(setup.optimizer).name,
        software=software(stack.profile),
        frozen=setup.method != "full",
        stack=stack,
        beside_bytes=awake,
        reference_bytes=beside.frozen_bytes,
        values=beside.values,
        nvme_bytes_per_s=setup.nvme_bytes_per_s,
        paired=setup.objective in PAIRED,
    )
    strategy = Strategy(
        tp=setup.tp,
        cp=setup.cp,
        sp=setup.tp > 1,
        dp=setup.ranks,
        micro_batch=micro_batch,
        zero=zero,
        recompute=setup.recompute or _recompute(recompute_of(stack, adapters=setup.adapts)),
        offload=setup.offload,
        cp_exchange="all_to_all" if setup.cp > 1 else "ring",
    )
    return job, strategy


@lru_cache(maxsize=64)
def _prepared(
    model: Architecture,
    storage: str | None,
    trained: AdaptStep | tuple[str, ...] | None,
    compute: str,
) -> Architecture:
    """Return `model` as it is stored, with adapters, or with the parts that are trained alone."""
    if storage is not None:
        step = QuantizeStep(kind="quantize", format=storage, matrices="layers")
        model = step.apply(model, compute)
    if isinstance(trained, AdaptStep):
        return trained.apply(model, compute)
    return model if trained is None else with_pass(model, Adapt(0, (), trained=trained))


def _recompute(name: str) -> Recompute:
    return next(mode for mode in RECOMPUTE if mode == name)


def _companions(setup: Setup, parameters: float) -> Companions:
    """Return the models beside the one that is trained."""
    teacher = load_model(setup.teacher) if setup.teacher else None
    return companions(
        "distill" if teacher is not None else setup.objective,
        setup.reference or usual_reference(setup.objective, adapts=setup.adapts),
        parameters,
        teacher_parameters=float(teacher.parameters) if teacher else None,
    )


def _engine_bytes(setup: Setup, system: System) -> float:
    """Return the share of an engine that sleeps while models are trained."""
    if setup.engine != "asleep":
        return 0.0
    return setup.engine_share * system.accelerator.memory_bytes


@dataclass(frozen=True)
class Fit:
    """The answer to `fit`: whether it fits, how far that goes, and what would make it fit."""

    answer: Answer

    def __repr__(self) -> str:
        return f"<Fit: {self.answer!r}>"

    @property
    def fits(self) -> bool:
        """Whether it fits with a probability of 90 %, and what is offloaded in the host."""
        return self.answer.fits

    @cached_property
    def largest_micro_batch(self) -> int:
        """Sequences of the largest micro-batch that fits; 0 where none does."""
        setup = self.answer.setup
        start = setup.micro_batch
        return _largest(_LARGEST_MICRO_BATCH, start, lambda n: replace(setup, micro_batch=n))

    @cached_property
    def longest_sequence(self) -> int:
        """Tokens of the longest sequence that fits, in steps of 1 of 16; 0 where none does."""
        setup, model = self.answer.setup, self.answer.job.model
        limit = model.context_limit
        most = _LONGEST if limit is None else int(limit)
        step = 64 * setup.cp
        start = setup.sequence // step
        found = _largest(most // step, start, lambda n: replace(setup, sequence=n * step))
        return found * step

    @cached_property
    def fewest_devices(self) -> int | None:
        """Devices of this kind that it fits on, sharded over them; None where no number does."""
        asked, held = self.answer.setup, 0.0
        count = asked.tp * asked.cp
        while count <= _MOST_DEVICES:
            found = check(replace(asked, count=count, zero=3 if count > 1 else 0))
            if found.fits:
                return count
            if held and found.total_bytes > _NO_LESS * held:
                return None  # what is not sharded does not fit
            held, count = found.total_bytes, 2 * count
        return None

    @cached_property
    def smallest_device(self) -> str | None:
        """Id of the device of the catalog with the least memory that it fits on."""
        table = [row for row in self.devices() if row["fits"]]
        return min(table, key=lambda row: row["memory_bytes"])["id"] if table else None

    def devices(self) -> list[dict[str, Any]]:
        """Return for every device that the software runs on whether it fits, and how likely."""
        answer = self.answer
        found: list[dict[str, Any]] = []
        stack = answer.job.stack
        for identity in accelerator_ids():
            accelerator = load_accelerator(identity)
            if stack is not None and not _runs(stack, accelerator):
                continue
            capacity = accelerator.memory_usable_bytes
            chance = fit_probability(answer.low_bytes, answer.high_bytes, capacity)
            found.append(
                {
                    "id": identity,
                    "memory_bytes": capacity,
                    "probability": chance,
                    "fits": chance >= CONFIDENCE,
                }
            )
        return found

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """The changes that make it fit, the cheapest in time first; none where it fits."""
        if self.fits:
            return ()
        asked = self.answer
        helping: list[Change] = []
        fitting: list[Change] = []
        for text, patch in _patches(asked):
            change = _changed(asked, text, patch)
            if change is None:
                continue
            if change.probability >= CONFIDENCE:
                fitting.append(change)
            elif change.total_bytes < asked.total_bytes:
                helping.append(change)
        fitting.sort(key=lambda change: change.time_ratio)
        if not fitting:
            fitting = _together(asked, helping)
        return tuple(fitting)

    def to_dict(self) -> dict[str, Any]:
        """Return the versioned JSON document."""
        answer = self.answer
        return {
            "schema_version": 1,
            "model": answer.job.model.name,
            "hardware": answer.job.system.accelerator.id,
            "count": answer.setup.count,
            "software": answer.job.stack.id if answer.job.stack else None,
            "method": answer.setup.method,
            "objective": answer.setup.objective,
            "sequence_tokens": answer.setup.sequence,
            "micro_batch": answer.setup.micro_batch,
            "strategy": answer.strategy.to_dict(),
            "fits": answer.fits,
            "probability": answer.probability,
            "capacity_bytes": answer.capacity_bytes,
            "allocated_bytes_per_device": answer.allocated_bytes,
            "reserved_bytes_per_device": answer.reserved_bytes,
            "total_bytes_per_device": answer.total_bytes,
            "total_low_bytes_per_device": answer.low_bytes,
            "total_high_bytes_per_device": answer.high_bytes,
            "peak_moment": answer.moment,
            "memory_by_part_bytes": answer.parts_bytes,
            "allocated_by_moment_bytes": answer.moments_bytes,
            "host_bytes_per_node": answer.host_bytes,
            "host_capacity_bytes_per_node": answer.host_capacity_bytes,
            "step_time_s": answer.step_time_s,
            "largest_micro_batch": self.largest_micro_batch,
            "longest_sequence_tokens": self.longest_sequence,
            "fewest_devices": self.fewest_devices,
            "smallest_device": self.smallest_device,
            "changes": [change.to_dict() for change in self.changes],
        }


def _runs(stack: Stack, accelerator: Accelerator) -> bool:
    """Return whether a framework runs there: TPUs and CPUs take XLA, all else PyTorch as well."""
    compiled = stack.profile == "xla"
    return compiled or (accelerator.vendor != "Google" and accelerator.form_factor != "CPU")


def _largest(most: int, start: int, setup_of: Callable[[int], Setup]) -> int:
    """Return the largest number from 1 to `most` whose setup fits, to one part in sixteen.

    Bytes grow nearly in proportion: each guess is where the line through the last two would leave
    no room, kept between what is known to fit and what is known not to.
    """
    if most < 1:
        return 0
    fits, fails, number = 0, most + 1, max(min(start, most), 1)
    last: tuple[int, float] | None = None
    while fails - fits > max(fits // 16, 1):
        found = check(setup_of(number))
        if found.fits:
            fits = number
        else:
            fails = number
        guess = 2 * number if found.fits else number // 2
        slope = 0.0
        if last is not None and last[0] != number:
            slope = (found.high_bytes - last[1]) / (number - last[0])
        if slope > 0:
            guess = number + floor((found.capacity_bytes - found.high_bytes) / slope)
            if guess == fits:  # as far as it goes: is a step more too much?
                guess = fits + max(fits // 16, 1)
        last = number, found.high_bytes
        if not fits < guess < fails:
            guess = (fits + min(fails, max(4 * fits, 2))) // 2 if guess >= fails else fits + 1
            guess = max(fits + 1, min(guess, fails - 1))
        number = guess
    return fits


def _patches(asked: Answer) -> list[tuple[str, dict[str, Any]]]:
    """Return changes worth trying, none of which undoes what was stated."""
    setup, strategy, stack = asked.setup, asked.strategy, asked.job.stack
    assert stack is not None
    found: list[tuple[str, dict[str, Any]]] = []
    if stack.loss not in ("fused_linear", "vocab_parallel"):
        found.append(("head and loss in one kernel", {"choices": {"loss": "fused_linear"}}))
    if strategy.recompute == "none" and setup.recompute is None:
        found.append(("recompute every layer", {"recompute": "full"}))
    if not setup.adapts and setup.method == "full":
        if setup.optimizer in ("adam", "adamw"):
            found.append(("moments in 8 bits", {"optimizer": "adam_8bit"}))
        if stack.gradient_life == "step" and setup.accumulation == 1 and setup.count == 1:
            tensor = {"choices": {"gradient_life": "tensor"}}
            found.append(("update each tensor in the backward pass", tensor))
        if stack.weights == "fp32" and stack.master == "none":
            states = dict.fromkeys(("weights", "gradients", "reduced", "moments"), "bf16")
            found.append(("all states in bf16", {"choices": {**states, "autocast": False}}))
    if setup.micro_batch > 1:
        smaller = {"micro_batch": 1, "accumulation": setup.accumulation * setup.micro_batch}
        found.append(("micro-batches of 1", smaller))
    if setup.ranks > 1 and strategy.zero < 3 and setup.zero is None:
        found.append(("shard all states over the devices (ZeRO-3, FSDP)", {"zero": 3}))
    if setup.offload == "none":
        found.append(("offload the optimizer's states to the host", {"offload": "optimizer"}))
        found.append(("offload activations to the host", {"offload": "activations"}))
        if setup.ranks > 1 or setup.adapts:
            found.append(("offload parameters and states to the host", {"offload": "states"}))
    if setup.method == "full":
        found.append(("train adapters instead (LoRA)", {"method": "lora"}))
    if setup.method in ("full", "lora", "dora") and setup.storage is None:
        found.append(("train adapters over 4-bit weights (QLoRA)", {"method": "qlora"}))
    for factor in (2, 4, 8):
        more = {"count": setup.count * factor, "zero": 3}
        found.append((f"{setup.count * factor} devices, sharded", more))
    return found


def _patched(setup: Setup, patch: Mapping[str, Any]) -> Setup:
    values = dict(patch)
    if "choices" in values:
        values["choices"] = {**setup.choices, **values["choices"]}
    return replace(setup, **values)


def _changed(asked: Answer, text: str, patch: Mapping[str, Any]) -> Change | None:
    try:
        found = check(_patched(asked.setup, patch))
    except (SpecError, UnknownNameError):
        return None
    if not found.host_fits:
        return None
    was, now = (
        a.step_time_s / (a.setup.micro_batch * a.setup.accumulation) for a in (asked, found)
    )
    return Change(text, dict(patch), found.total_bytes, found.probability, now / was)


def _together(asked: Answer, helping: list[Change]) -> list[Change]:
    """Return changes added up, the cheapest first, until it fits; none where all do not."""
    helping = sorted(helping, key=lambda change: change.time_ratio)
    patch: dict[str, Any] = {}
    texts: list[str] = []
    for change in helping:
        added = dict(change.changes)
        choices = {**patch.get("choices", {}), **added.pop("choices", {})}
        if any(key in patch and patch[key] != value for key, value in added.items()):
            continue
        patch = {**patch, **added, **({"choices": choices} if choices else {})}
        texts.append(change.text)
        found = _changed(asked, ", ".join(texts), patch)
        if found is not None and found.probability >= CONFIDENCE:
            return [found]
    return []


def fit(model: str | dict[str, Any], hardware: str, **options: Any) -> Fit:
    """Return whether training fits: probability, largest batch, longest sequence, what would help.

    Args:
        model: catalog name, path, or description.
        hardware: id of an accelerator or system.
        options: fields of `Setup`: count, software, method, objective, sequence, micro_batch, …

    Raises:
        SpecError: with everything that is wrong with what is asked.
        UnknownNameError: for a model, device, stack or option that is not known.
    """
    known = set(Setup.__dataclass_fields__)
    for name in options:
        if name not in known:
            raise UnknownNameError(f"unknown option `{name}`", hint=suggestion(name, known))
    return Fit(check(Setup(model, hardware, **_worded(options))))


def _worded(options: dict[str, Any]) -> dict[str, Any]:
    """Return options with methods of both kinds told apart, as `qlora,dpo`."""
    words = str(options.get("method", "")).replace("+", ",").split(",")
    told = [word.strip() for word in words]
    objectives = [word for word in told if word in TRAINING_METHODS]
    if not objectives:
        return options
    parts = [word for word in told if word not in TRAINING_METHODS] or ["full"]
    return {**options, "method": ",".join(parts), "objective": objectives[0]}
