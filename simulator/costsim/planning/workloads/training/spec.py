"""Training as written in YAML: how much, on what, and how parallelism may be divided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias, cast

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    StrictBool,
    Tag,
    WithJsonSchema,
    create_model,
)

from costsim.hardware.experts import Dispatcher
from costsim.planning.axis_choices import axis_choices
from costsim.planning.scenario import (
    Axis,
    Machines,
    Names,
    PositiveInt,
    Scenario,
    Spec,
    as_tuple,
)
from costsim.quantities import BytesPerSecond, Ratio, Samples, Seconds, Tokens, Usd
from costsim.training.companions import Method
from costsim.training.software import Effort, Graphs, Routing

ImageSize = Annotated[
    tuple[PositiveInt, ...],
    BeforeValidator(as_tuple),
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


class Adapter(Spec):
    """Low-rank adapters, which are trained beside frozen weights (LoRA)."""

    rank: PositiveInt = 16
    """Width of the adapters."""
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("q_proj", "v_proj")
    """Projections that get one, by the reference code's names: q_proj, o_proj, gate_proj, …"""
    weights: str | None = None
    """Storage format of the frozen weights, such as nf4 (QLoRA); left out, the recipe's."""


class Rollouts(Spec):
    """Answers that a step generates and then trains on, on the devices that train."""

    generations: Annotated[int, Field(ge=2, strict=True)]
    """Answers to each prompt."""
    input_tokens: PositiveInt
    """Mean tokens of a prompt."""
    output_tokens: PositiveInt
    """Mean tokens of an answer."""
    spread: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Lengths are uniform within this share of the mean on both sides."""
    cached: Ratio = 0.0
    """Share of each prompt that a prefix cache has, such as `80 %`."""
    engine: str = "vllm"
    """Engine of hardware_specs/engines, with its release behind a slash: `vllm/0.11`."""
    replica_devices: PositiveInt = 1
    """Devices of a replica of the engine, which divide each layer (TP)."""
    engine_memory: Annotated[Ratio, Field(gt=0, le=1)]
    """Share of a device's memory that the engine has, weights included, such as `40 %`."""
    asleep: StrictBool = True
    """Whether the engine frees its memory while models are trained (vLLM's sleep, level 2)."""
    reference: Literal["none", "shared", "separate"] | None = None
    """Whether a reference scores answers, and has weights of its own; left out, of ppo separate."""


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
    precision: Names = ("bf16",)
    """Recipes to compare: fp32, tf32, bf16, fp16, fp8, mxfp8, nvfp4, int8."""
    optimizer: str = "adam"
    """Optimizer: adam, adamw, adam_8bit, adam_4bit, sgd, sgd_momentum, adafactor, muon."""
    software: Names = ("megatron-core",)
    """Profiles of frameworks to compare, from hardware_specs/calibration/software.yaml."""
    stack: str | None = None
    """What the software keeps of states, layers and loss, from hardware_specs/stacks; left out,
    what Megatron-LM keeps, with the states of the profile."""
    stack_choices: dict[str, StrictBool | float | str] = Field(default_factory=dict)
    """Other choices than the stack's, such as `{weights: bf16, loss: fused_linear}`."""
    effort: Effort = "stack"
    """How far the software is tuned: stack (its profile's own habits), tuned (as vendors' benchmark
    recipes: captured steps, the fastest dispatcher of experts and its exchanges overlapped), plain
    (none of these, experts chosen as it comes) or out_of_the_box (nor tensor exchanges hidden)."""
    mfu: Literal["full", "causal"] | None = None
    """Attention that MFU and HFU count: full (every pair within a layer's window; left out) or
    causal (only pairs that the mask leaves)."""
    graphs: Graphs | None = None
    """What CUDA graphs capture: none, layer (all but experts) or step; left out, as the effort."""
    dispatcher: Dispatcher | None = None
    """What takes tokens to their experts: all_to_all, all_gather, deep_ep or hybrid_ep."""
    routing: Routing | None = None
    """Whether experts are chosen evenly (balanced) or as it comes (natural)."""
    adapter: Adapter | None = None
    """Train low-rank adapters instead of the weights."""
    trained: Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)] | None = (
        None
    )
    """Train these parts alone: last:K (layers), norms, embed_tokens, lm_head."""
    method: Method | None = None
    """What a step does: sft trains on given tokens, dpo, orpo and reward on pairs, kto on judged
    answers, distill on a teacher's; ppo, grpo and rloo generate them. Left out, sft."""
    reference: Literal["shared", "separate", "precomputed"] | None = None
    """What dpo and kto compare with: the base under adapters, weights of its own, or its answers
    from before; left out, shared under an adapter, else separate."""
    teacher: str | None = None
    """Model that distill learns from; left out, one as large as the model."""
    teacher_answers: Literal["online", "cached"] | None = None
    """Whether the teacher answers in every step or its answers were kept; left out, online."""
    rollouts: Rollouts | None = None
    """What a step generates and scores before it trains, of ppo, grpo and rloo."""
    padded_document: PositiveInt | None = None
    """Mean tokens of a document where each is padded to a sequence; left out, documents are packed
    end to end and fill it."""
    masked_document: PositiveInt | None = None
    """Mean tokens of packed documents where attention stops at their ends; left out, it crosses
    them."""
    expert_imbalance: Annotated[float, Field(ge=1, le=10_000)] = 1.0
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
    precision: Names = ("bf16",)
    """Recipes to compare: fp32, tf32, bf16, fp16, fp8, mxfp8, nvfp4, int8."""
    optimizer: str = "adam"
    """Optimizer: adam, adamw, adam_8bit, adam_4bit, sgd, sgd_momentum, adafactor, muon."""
    software: Names = ("eager",)
    """Profiles to compare, of hardware_specs/calibration/vision.yaml: eager (plain PyTorch), tuned
    (code made for a competition)."""
    input: InputSpec = InputSpec()
    """How samples are read and decoded."""

    @property
    def total_samples(self) -> float:
        """Samples of the whole run; `counting` sees that they are stated."""
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


class TrainedOn(Machines):
    """What it runs on."""

    devices: Axis | Literal["fewest"]
    """How many accelerators: a number, a list to compare, or `fewest` that meet the deadline."""
    at_most: PositiveInt = 16_384
    """Where `devices` is `fewest`: how many there are."""
    memory_reserve: Ratio | None = None
    """Share of the memory kept free besides what the framework takes, such as `5 %`; left out, what
    the interval of memory asks for: a plan then fits with a probability of 90 %, if any does."""
    nvme: BytesPerSecond | None = None
    """Bandwidth of the drives of a node, such as `25 GB/s`, for `strategy: {offload: nvme}`."""
    oversubscription: Annotated[float, Field(ge=1)] = 1.0
    """What devices can send into the outermost links together, over what their switches carry."""


if TYPE_CHECKING:

    class StrategyChoices(Spec):
        """Values that the axes of parallelism may take; an axis left out is searched."""

        def __getattr__(self, axis: str) -> Any: ...

else:
    StrategyChoices = create_model(
        "StrategyChoices",
        __base__=Spec,
        __module__=__name__,
        __doc__="Values that the axes of parallelism may take; an axis left out is searched.",
        **axis_choices(),
    )


class Comparison(StrategyChoices):
    """A strategy to show beside the best: the fastest of those that match."""

    name: str
    """What the report calls it."""
    software: str | None = None
    """Profile of the framework, where it is another than the workload's."""


class Failures(Spec):
    """How often devices fail and what a restart costs; left out, published rates are used."""

    device_mtbf: Annotated[Seconds, Field(ge=1)] | None = None
    """Mean time between interruptions of one device, such as `50000 h`."""
    preemption: Annotated[Seconds, Field(ge=1)] | None = None
    """Mean time until the provider takes back a spot instance, such as `100 h`; left out, a
    published rate where the price is of spot devices."""
    replacement: Seconds | None = None
    """Wait for an instance in the place of one taken back, beyond a restart, such as `30 min`; left
    out, none."""
    elastic: StrictBool | None = None
    """Whether the run goes on with the instances that are left until then; left out, it waits."""
    restart: Seconds | None = None
    """From an interruption to the first new step, such as `10 min`."""
    checkpoint: Seconds | None = None
    """How long training stalls for one checkpoint, such as `30 s`."""


class ProjectSpec(Spec):
    """What the project pays for around the run; what is left out is shown as not budgeted."""

    failed_runs: Ratio | None = None
    """Device-hours of runs that are thrown away and repeated, over those of the run."""
    evaluation: Ratio | None = None
    """Device-hours of evaluation over those of the run."""
    data: Usd | None = None
    """Preparation and licences of the data, such as `200000 $`."""
    staff: Usd | None = None
    """People, for the whole project."""
    contingency: Ratio | None = None
    """Share of everything else that is kept for the unexpected, such as `10 %`."""
    checkpoints_kept: Annotated[int, Field(ge=0, strict=True)] = 3
    """Checkpoints with all states that are kept at a time."""


class TrainingScenario(Scenario):
    """Training to plan."""

    workload: AnyTraining
    """What is done with the model: trained on tokens, or on samples."""
    hardware: TrainedOn  # pyright: ignore[reportIncompatibleVariableOverride]
    """What it may run on."""
    strategy: StrategyChoices = StrategyChoices()
    """Restrictions on parallelism."""
    compare: tuple[Comparison, ...] = ()
    """Strategies to show beside the best one."""
    failures: Failures = Failures()
    """Interruptions."""
    experiments: Ratio | None = None
    """Device-hours of smaller runs before the final one, over those of the final one."""
    project: ProjectSpec = ProjectSpec()
    """What is paid for around the run."""

    @property
    def most_devices(self) -> int:
        """The largest number of devices to be tried."""
        devices = self.hardware.devices
        return max(devices) if isinstance(devices, tuple) else self.hardware.at_most
