"""A scenario: what a person plans, as written in YAML. Frozen; unknown keys are errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    Tag,
    WithJsonSchema,
)

from costsim.quantities import Ratio, Samples, Seconds, Tokens, Usd, UsdPerHour, Watts
from costsim.training.cp_exchange import CP_EXCHANGES, CpExchange
from costsim.training.offload import OFFLOADS, Offload
from costsim.training.recompute import RECOMPUTE, Recompute
from costsim.training.schedule import SCHEDULES, Schedule

PositiveInt = Annotated[int, Field(ge=1, strict=True)]


def _as_tuple(value: object) -> object:
    """Let a single value stand for a list of one."""
    if isinstance(value, (list, tuple)):
        return cast("list[object]", value)
    return (value,)


def _one_or_more(item: dict[str, Any]) -> tuple[Any, ...]:
    """Return the annotations of an axis: one value, or the list to search."""
    listed = {"type": "array", "items": item, "minItems": 1}
    return (
        BeforeValidator(_as_tuple),
        Field(min_length=1),
        WithJsonSchema({"anyOf": [item, listed]}),
    )


_ZeroStage = Annotated[int, Field(ge=0, le=3, strict=True)]
Axis = Annotated[tuple[PositiveInt, ...], *_one_or_more({"type": "integer", "minimum": 1})]
Switch = Annotated[tuple[StrictBool, ...], *_one_or_more({"type": "boolean"})]
ZeroStages = Annotated[tuple[_ZeroStage, ...], *_one_or_more({"enum": [0, 1, 2, 3]})]
Schedules = Annotated[tuple[Schedule, ...], *_one_or_more({"enum": list(SCHEDULES)})]
Offloads = Annotated[tuple[Offload, ...], *_one_or_more({"enum": list(OFFLOADS)})]
CpExchanges = Annotated[tuple[CpExchange, ...], *_one_or_more({"enum": list(CP_EXCHANGES)})]
Recomputes = Annotated[tuple[Recompute, ...], *_one_or_more({"enum": list(RECOMPUTE)})]


ImageSize = Annotated[
    tuple[PositiveInt, ...],
    BeforeValidator(_as_tuple),
    Field(min_length=1, max_length=3),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 1},
                    "minItems": 2,
                    "maxItems": 3,
                },
            ]
        }
    ),
]


class Spec(BaseModel):
    """Base of everything a user writes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Adapter(Spec):
    """Low-rank adapters, which are trained beside frozen weights (LoRA)."""

    rank: PositiveInt = 16
    """Width of the adapters."""
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("q_proj", "v_proj")
    """Projections that get one, by the reference code's names: q_proj, o_proj, gate_proj, …"""
    weights: str | None = None
    """Storage format of the frozen weights, such as nf4 (QLoRA); left out, the recipe's."""


class Training(Spec):
    """Train a model on so many tokens."""

    counts: ClassVar[Literal["tokens", "samples"]] = "tokens"

    kind: Literal["training"]
    tokens: Annotated[Tokens, Field(gt=0)]
    """Tokens of the whole run, such as `300 B tokens`."""
    sequence: PositiveInt
    """Tokens in a sequence."""
    global_batch: PositiveInt
    """Sequences in one optimizer step."""
    precision: str = "bf16"
    """Recipe: fp32, tf32, bf16, fp16, fp8, mxfp8, nvfp4, int8."""
    optimizer: str = "adam"
    """Optimizer: adam, adamw, adam_8bit, sgd, sgd_momentum, adafactor, muon."""
    software: str = "megatron-core"
    """Profile of the framework, from hardware_specs/calibration/software.yaml."""
    adapter: Adapter | None = None
    """Train low-rank adapters instead of the weights."""
    padded_document: PositiveInt | None = None
    """Mean tokens of a document where each is padded to a sequence; left out, documents are packed
    end to end and fill it."""
    masked_document: PositiveInt | None = None
    """Mean tokens of packed documents where attention stops at their ends; left out, it crosses
    them."""
    expert_imbalance: Annotated[float, Field(ge=1)] = 1.0
    """Tokens of the busiest rank of experts over the mean; 1 where the router shares them out."""

    @property
    def tokens_per_step(self) -> float:
        """Tokens of documents in a step, padding left out."""
        filled = min(self.padded_document or self.sequence, self.sequence)
        return float(self.global_batch * filled)

    @property
    def steps(self) -> float:
        """Optimizer steps of the run; the last one may be part full."""
        return self.tokens / self.tokens_per_step

    @property
    def counted_per_step(self) -> float:
        """What a step takes of what the workload counts."""
        return self.tokens_per_step


class InputSpec(Spec):
    """How samples are read and decoded; left out, as measured for pictures, and no wait for others.

    A step waits for the slower of the two.
    """

    sample: Seconds | None = None
    """Time in which the loader of one device brings a sample, such as `400 us`."""
    node_sample: Seconds | None = None
    """Time in which all loaders of a node together bring one, such as `100 us`."""


class SampleTraining(Spec):
    """Train a model on so many samples: images, latents, or texts of one length."""

    counts: ClassVar[Literal["tokens", "samples"]] = "samples"

    kind: Literal["training"]
    samples: Annotated[Samples, Field(gt=0)] | None = None
    """Samples of the whole run, such as `115 M samples`; or `epochs` of `dataset_samples`."""
    epochs: Annotated[float, Field(gt=0)] | None = None
    """How often the data set is gone through."""
    dataset_samples: Annotated[Samples, Field(gt=0)] | None = None
    """Samples of the data set, such as `1281167`."""
    image: ImageSize | None = None
    """Side of an image in pixels, or [height, width], or of a video [frames, height, width]; left
    out, what the model is made for."""
    sequence: PositiveInt | None = None
    """Tokens of a sample, of models that read text."""
    real_tokens: Annotated[Ratio, Field(gt=0, le=1)] = 1.0
    """Share of them that is computed, where the software leaves padding out, such as `50 %`."""
    global_batch: PositiveInt
    """Samples in one optimizer step."""
    precision: str = "bf16"
    """Recipe: fp32, tf32, bf16, fp16, fp8, mxfp8, nvfp4, int8."""
    optimizer: str = "adam"
    """Optimizer: adam, adamw, adam_8bit, sgd, sgd_momentum, adafactor, muon."""
    software: str = "eager"
    """Profile of hardware_specs/calibration/vision.yaml: eager (plain PyTorch), tuned (code made
    for a competition)."""
    input: InputSpec = InputSpec()
    """How samples are read and decoded."""

    @property
    def total_samples(self) -> float:
        """Samples of the whole run; `costsim.planning.counting` sees that they are stated."""
        return self.samples or (self.epochs or 0.0) * (self.dataset_samples or 0.0)

    @property
    def steps(self) -> float:
        """Optimizer steps of the run; the last one may be part full."""
        return self.total_samples / self.global_batch

    @property
    def counted_per_step(self) -> float:
        """What a step takes of what the workload counts."""
        return float(self.global_batch)


COUNTED_IN_SAMPLES = frozenset(SampleTraining.model_fields) - frozenset(Training.model_fields)
"""Keys that only training counted in samples has."""


def _counted(workload: object) -> str:
    """Return which of the two ways of counting a workload uses, by the keys that it has."""
    if isinstance(workload, Mapping):
        keys = [str(key) for key in cast("Mapping[object, object]", workload)]
        meant = any(k in COUNTED_IN_SAMPLES or k.startswith(("sample", "epoch")) for k in keys)
        return "SampleTraining" if meant and "tokens" not in keys else "Training"
    return type(workload).__name__


AnyTraining: TypeAlias = Annotated[
    Annotated[Training, Tag("Training")] | Annotated[SampleTraining, Tag("SampleTraining")],
    Discriminator(_counted),
]


class Hardware(Spec):
    """What it runs on."""

    system: str
    """Id or alias of a system or accelerator (`costsim hardware` lists them)."""
    devices: Axis | Literal["fewest"]
    """How many accelerators: a number, a list to compare, or `fewest` that meet the deadline."""
    at_most: PositiveInt = 16_384
    """Where `devices` is `fewest`: how many there are."""
    memory_reserve: Ratio = 0.0
    """Share of the memory kept free besides what the framework takes, such as `5 %`."""
    oversubscription: Annotated[float, Field(ge=1)] = 1.0
    """What devices can send into the outermost links together, over what their switches carry."""


class StrategyChoices(Spec):
    """Values that the axes of parallelism may take; an axis left out is searched."""

    tp: Axis | None = None
    """Tensor parallelism."""
    pp: Axis | None = None
    """Pipeline parallelism."""
    vp: Axis | None = None
    """Model chunks a pipeline stage holds; above 1 the schedule is interleaved."""
    dp: Axis | None = None
    """Data parallelism."""
    cp: Axis | None = None
    """Context parallelism."""
    ep: Axis | None = None
    """Expert parallelism."""
    micro_batch: Axis | None = None
    """Sequences in a micro-batch."""
    sp: Switch | None = None
    """Sequence parallelism within the tensor-parallel group."""
    zero: ZeroStages | None = None
    """ZeRO stage: 0, 1, 2, or 3 (= FSDP)."""
    recompute: Recomputes | None = None
    """Activation recomputation: none, elementwise, selective, save_products, save_weight_products,
    feed_forward, save_qkv, full; left out, none and full (and selective where scores are kept)."""
    schedule: Schedules = ("1f1b",)
    """Pipeline schedule: 1f1b (interleaved where vp is above 1), gpipe, zb_h1, dualpipe."""
    offload: Offloads = ("none",)
    """What the host's memory keeps: none, optimizer, activations, all."""
    cp_exchange: CpExchanges | None = None
    """How context-parallel ranks exchange: ring (keys and values go round), all_to_all (positions
    for heads, and back); left out, ring."""


class Comparison(StrategyChoices):
    """A strategy to show beside the best: the fastest of those that match."""

    name: str
    """What the report calls it."""
    software: str | None = None
    """Profile of the framework, where it is another than the workload's."""


class ListPrice(Spec):
    """A price from the catalog (`costsim prices`)."""

    provider: str | None = None
    """Provider; left out, the median of those that sell whole servers."""
    region: str | None = None
    """A region code of the provider."""
    term: Literal["on_demand", "spot", "reserved_1y", "reserved_3y"] = "on_demand"
    """How the devices are rented."""


class Site(Spec):
    """Where the machine stands: what a kilowatt-hour emits and what the building adds."""

    grid: str = "USA"
    """A code or name of hardware_specs/grids, or a cloud region."""
    pue: Annotated[float, Field(ge=1, le=3)] | None = None
    """Power usage effectiveness; left out, the median of hyperscale fleets."""
    device_power: Watts | None = None
    """Power of one device in training with its share of the node, such as `900 W`; left out, from
    its node's rating or its TDP."""


class Failures(Spec):
    """How often devices fail and what a restart costs; left out, published rates are used."""

    device_mtbf: Seconds | None = None
    """Mean time between interruptions of one device, such as `50000 h`."""
    restart: Seconds | None = None
    """From an interruption to the first new step, such as `10 min`."""
    checkpoint: Seconds | None = None
    """How long training stalls for one checkpoint, such as `30 s`."""


class Limits(Spec):
    """What may not be exceeded: a plan beyond them is reported and ends with exit code 4."""

    cost: Usd | None = None
    """Budget of the run, such as `5 M$`."""
    deadline: Seconds | None = None
    """Wall time of the run, failures included, such as `40 days`."""


class Scenario(Spec):
    """A plan to make: a model, a workload, hardware, prices and limits."""

    name: str
    """Title of the report."""
    model: str | dict[str, Any]
    """Catalog name, path to a config.json or YAML from the scenario's folder, or a description."""
    workload: AnyTraining
    """What is done with the model: trained on tokens, or on samples."""
    hardware: Hardware
    """What it runs on."""
    strategy: StrategyChoices = StrategyChoices()
    """Restrictions on parallelism."""
    compare: tuple[Comparison, ...] = ()
    """Strategies to show beside the best one."""
    price: UsdPerHour | ListPrice = ListPrice()
    """Dollars per device-hour, such as `2.5 $/h`, or a catalog price."""
    site: Site = Site()
    """Where the machine stands."""
    failures: Failures = Failures()
    """Interruptions."""
    limits: Limits = Limits()
    """Budget and deadline."""
    calibration: str | None = None
    """Overlay file of `costsim calibrate`, from the scenario's folder."""
    experiments: Ratio | None = None
    """Device-hours of smaller runs before the final one, over those of the final one."""
