"""Steps of a recipe as a person writes them, and what each makes of a model.

A step has a stage. Stages come in this order, because each works on what the one before left:
a student takes the model's place; shapes change; operators are replaced; weights are set to zero;
what is left is quantized; adapters stand beside it. What is cached, and training without a change
of shape, have no stage and may come anywhere.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from costsim.architectures import Architecture, load_model
from costsim.compression import shapes
from costsim.compression.adapters import Adapt
from costsim.compression.description import with_pass, with_shapes
from costsim.compression.formats import format_named, plain
from costsim.compression.replacing import Factorize, MergeTokens, Separate, ShareLayers, SkipLayers
from costsim.compression.selection import Kind, Selection
from costsim.compression.sparsity import Layout
from costsim.compression.storing import Mask, Quantize, QuantizeCache
from costsim.errors import SpecError
from costsim.quantities import Tokens

Count = Annotated[int, Field(ge=1, strict=True)]
Share = Annotated[float, Field(gt=0)]

STAGES = ("student", "shapes", "operators", "zeros", "formats", "adapters")


def _as_tuple(value: Any) -> Any:
    return tuple(part for part in value.split("+")) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


class Spec(BaseModel):
    """Base of what a person writes: frozen, and nothing unknown."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class Step(Spec):
    """What all steps can cost to make."""

    calibration_tokens: Tokens = 0.0
    """Tokens that pass through the model as it was, to measure activations."""
    calibration_passes: Annotated[float, Field(ge=0)] = 1.0
    """Times that they pass through each layer."""
    hours_per_billion: Annotated[float, Field(ge=0)] = 0.0
    """Device-hours of a billion parameters that the step was measured to take, all in all."""
    training_tokens: Tokens = 0.0
    """Tokens that the model is trained on afterwards."""

    stage: ClassVar[str | None] = None

    def apply(self, model: Architecture, dtype: str) -> Architecture:
        """Return `model` after the step; what is not quantized is stored in `dtype`."""
        raise NotImplementedError


class _Matrices(Step):
    matrices: Kind = "matrices"
    """Which: matrices, linear, layers, experts or convolutions."""
    names: Names = ()
    """Of these, those of operators or projections called so; `*` stands for anything."""
    untied: bool = False
    """Whether a head that shares the embedding's table gets a matrix of its own."""

    @property
    def selection(self) -> Selection:
        """What the fields mean."""
        return Selection(self.matrices, self.names, self.untied)


class QuantizeStep(_Matrices):
    """Store matrices in a format, and multiply in it where it has products."""

    kind: Literal["quantize"]
    format: str
    """Name of a storage format, such as awq-int4, int4-g64 or fp8."""
    stage: ClassVar[str | None] = "formats"

    def apply(self, model: Architecture, dtype: str) -> Architecture:
        """Return `model` with packed matrices."""
        wide_bits = plain(dtype).bits
        return with_pass(model, Quantize(format_named(self.format), self.selection, wide_bits))


class MaskStep(_Matrices):
    """Set weights to zero, anywhere or in a pattern."""

    kind: Literal["mask"]
    ratio: Share | None = None
    """Share of each matrix that becomes zero."""
    pattern: Annotated[str, Field(pattern=r"^[1-9]\d*:[1-9]\d*$")] | None = None
    """Values that stay of how many neighbours, such as 2:4."""
    layout: Layout = "bitmap"
    """How zeros without a pattern are filed: bitmap, csr, coo or dense."""
    stage: ClassVar[str | None] = "zeros"

    def apply(self, model: Architecture, dtype: str) -> Architecture:
        """Return `model` with masked matrices."""
        if (self.ratio is None) == (self.pattern is None):
            raise SpecError("a mask has either a ratio or a pattern")
        values = plain(dtype)
        if self.ratio is not None:
            if self.ratio >= 1:
                raise SpecError(
                    f"pruning {self.ratio:.0%} of all weights leaves none",
                    hint="use a ratio below 1",
                )
            return with_pass(model, Mask(values, self.ratio, self.layout, selection=self.selection))
        kept, of = (int(part) for part in str(self.pattern).split(":"))
        if kept >= of:
            raise SpecError(f"the pattern {self.pattern} sets nothing to zero")
        return with_pass(model, Mask(values, kept=kept, of=of, selection=self.selection))


class PruneStep(Step):
    """Take whole units away."""

    kind: Literal["prune"]
    unit: Literal["heads", "neurons", "channels", "width", "layers"]
    """What: heads, inner neurons, channels of convolutions, the stream's width, layers."""
    ratio: Share
    """Share that is taken away."""
    multiple: Count = 1
    """What the number of neurons or channels that stay is a multiple of."""
    stage: ClassVar[str | None] = "shapes"

    def apply(self, model: Architecture, dtype: str) -> Architecture:
        """Return the smaller model."""
        if self.ratio >= 1:
            raise SpecError(
                f"pruning {self.ratio:.0%} of the {self.unit} leaves none",
                hint="use a ratio below 1",
            )
        change = {
            "heads": lambda: shapes.fewer_heads(self.ratio),
            "neurons": lambda: shapes.fewer_neurons(self.ratio, self.multiple),
            "channels": lambda: shapes.fewer_channels(self.ratio),
            "width": lambda: shapes.narrower(self.ratio, self.multiple),
            "layers": lambda: shapes.fewer_layers(self.ratio),
        }[self.unit]()
        return with_shapes(model, change, self.unit)


class MergeExpertsStep(Step):
    """Keep, or merge into, fewer experts."""

    kind: Literal["merge-experts"]
    keep: Count
    """Experts that each mixture is left with."""
    stage: ClassVar[str | None] = "shapes"

    def apply(self, model: Architecture, dtype: str) -> Architecture:
        """Return the smaller model."""
        return with_shapes(model, shapes.fewer_experts(self.keep), "mixture of experts")


class UpcycleStep(Step):
    """Put mixtures of experts in the place of feed-forward networks."""

    kind: Literal["upcycle"]
    experts: Count = 8
    """Copies of each network."""
    top_k: Count = 2
    """Of which a token passes so many."""
    stage: ClassVar[str | None] = "shapes"

    def apply(self, model: Architecture, dtype: str) -> Architecture:
        """Return the model of experts."""
        return with_shapes(model, shapes.upcycled(self.experts, self.top_k), "feed-forward network")


class AttentionStep(Step):
    """Put another kind of attention in the place of the model's."""

    kind: Literal["attention"]
    kv_heads: Count | None = None
    """Heads of keys and values that query heads share (GQA, MQA)."""
    latent: Count | None = None
    """Width of the latent that keys and values are compressed to (MLA)."""
    rotary: Count = 64
    """Of a latent's keys, those that carry the position."""
    query_latent: Count | None = None
    """Width of the latent of queries."""
    window: Count | None = None
    """Positions that attention sees."""
    stage: ClassVar[str | None] = "shapes"

    def apply(self, model: Architecture, dtype: str) -> Architecture:
        """Return the model with other attention."""
        if self.kv_heads is not None and self.latent is not None:
            raise SpecError("keys and values are either shared by heads or compressed to a latent")
        if self.kv_heads is not None:
            model = with_shapes(model, shapes.grouped_queries(self.kv_heads), "attention")
        if self.latent is not None:
            change = shapes.latent_attention(self.latent, self.rotary, self.query_latent)
            model = with_shapes(model, change, "attention")
        if self.window is not None:
            model = with_shapes(model, shapes.windowed(self.window), "attention")
        return model


class FactorizeStep(_Matrices):
    """Write matrices as products of two thin ones."""

    kind: Literal["factorize"]
    rank: Count
    """Width between the two."""
    matrices: Kind = "layers"
    stage: ClassVar[str | None] = "operators"

    def apply(self, model: Architecture, dtype: str) -> Architecture:
        """Return the model with factors."""
        return with_pass(model, Factorize(self.rank, self.selection))


class SeparateStep(Step):
    """Put depthwise and 1×1 convolutions in the place of those with a window."""

    kind: Literal["separate"]
    stage: ClassVar[str | None] = "operators"

    def apply(self, model: Architecture, dtype: str) -> Architecture:
        """Return the net with separable convolutions."""
        return with_pass(model, Separate())


class ShareStep(Step):
    """Let layers share weights."""

    kind: Literal["share-layers"]
    times: Count
    """Layers in a row that have the weights of one."""
    stage: ClassVar[str | None] = "operators"

    def apply(self, model: Architecture, dtype: str) -> Architecture:
        """Return the model with shared layers."""
        return with_pass(model, ShareLayers(self.times))


class SkipStep(Step):
    """Leave before the last layer, or skip layers, on average."""

    kind: Literal["skip-layers"]
    ratio: Share
    """Mean share of layers that a token does not pass."""
    stage: ClassVar[str | None] = "operators"

    def apply(self, model: Architecture, dtype: str) -> Architecture:
        """Return the model with idle layers."""
        return with_pass(model, SkipLayers(self.ratio))


class MergeTokensStep(Step):
    """Merge tokens of an encoder layer by layer."""

    kind: Literal["merge-tokens"]
    ratio: Annotated[float, Field(gt=0, lt=0.5)]
    """Share of the tokens that are merged into others after each layer; at most half can."""
    stage: ClassVar[str | None] = "operators"

    def apply(self, model: Architecture, dtype: str) -> Architecture:
        """Return the model whose layers have fewer and fewer tokens."""
        return with_pass(model, MergeTokens(self.ratio))


class AdaptStep(Step):
    """Freeze the model and train low-rank adapters beside its projections."""

    kind: Literal["adapt"]
    rank: Count = 16
    """Width of the adapters."""
    targets: Names = ("q_proj", "v_proj")
    """Projections that get one, by the reference code's names or operators'."""
    magnitudes: bool = False
    """Whether a magnitude of each column is trained too (DoRA)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of an adapter's input that is dropped."""
    reads: Literal["float32", "compute"] | None = None
    """Format of the copy of its input that an adapter makes; left out, it reads what is there."""
    modules_to_save: Names = ()
    """Modules trained as a whole in a copy of their own: embed_tokens, lm_head, norm."""
    stage: ClassVar[str | None] = "adapters"

    def apply(self, model: Architecture, dtype: str) -> Architecture:
        """Return the model with adapters."""
        step = Adapt(
            self.rank,
            self.targets,
            self.magnitudes,
            self.reads,
            self.dropout > 0,
            self.modules_to_save,
        )
        return with_pass(model, step)


class CacheStep(Step):
    """Quantize keys and values that generation keeps."""

    kind: Literal["cache"]
    bits: Annotated[int, Field(ge=1, le=16, strict=True)]
    """Of an element."""
    scale_bits: Annotated[int, Field(ge=0, strict=True)] = 0
    """Of scales and zero points of a group."""
    group: Count = 1
    """Elements that share them."""

    def apply(self, model: Architecture, dtype: str) -> Architecture:
        """Return the model with a smaller cache."""
        return with_pass(model, QuantizeCache(self.bits, self.scale_bits, self.group))


class DistillStep(Step):
    """Train a student on what a teacher says."""

    kind: Literal["distill"]
    student: str | None = None
    """Model that takes the place of this one; left out, this one as the steps before made it."""
    teacher: str | None = None
    """Model that teaches; left out, the one that the recipe is applied to."""
    logits: Literal["online", "cached"] = "online"
    """Whether the teacher runs beside the student, or its logits are kept on disk."""
    top_logits: Count | None = None
    """Of cached logits, the largest so many of a token with their ids; left out, all."""
    epochs: Count = 1
    """Times that the student sees each token; a teacher whose logits are cached sees it once."""

    @property
    def replaces(self) -> bool:
        """Whether a student takes the model's place."""
        return self.student is not None

    def apply(self, model: Architecture, dtype: str) -> Architecture:
        """Return the student."""
        return model if self.student is None else load_model(self.student)


AnyStep: TypeAlias = Annotated[
    QuantizeStep
    | MaskStep
    | PruneStep
    | MergeExpertsStep
    | UpcycleStep
    | AttentionStep
    | FactorizeStep
    | SeparateStep
    | ShareStep
    | SkipStep
    | MergeTokensStep
    | AdaptStep
    | CacheStep
    | DistillStep,
    Field(discriminator="kind"),
]


def stage_of(step: Step) -> str | None:
    """Return the stage that a step belongs to; None where it may come anywhere."""
    if isinstance(step, DistillStep):
        return "student" if step.replaces else None
    return step.stage
