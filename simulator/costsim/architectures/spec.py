"""A model as a person writes it in YAML: short form, an extended catalog entry, or a config.json.

Only what a user wrote passes through here; what a field means is said in `decoder`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from costsim.documents import Document
from costsim.errors import Problem, SpecError

Size = Annotated[int, Field(ge=1, le=10**9, strict=True)]
Switch = Annotated[bool, Field(strict=True)]


class ModelSpec(BaseModel):
    """A model: the numbers and switches of a decoder, or what it is taken from."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str | None = None
    """What the model is called; left out, the name of the file."""
    source: str | None = None
    """Where the numbers were read."""
    published_parameters: Annotated[int, Field(ge=1)] | None = None
    """The parameter count that the model's authors state."""
    extends: str | None = None
    """A catalog model or another file whose fields hold where this one says nothing."""
    huggingface: dict[str, Any] | None = None
    """The content of a Hugging Face config.json, instead of the fields below."""
    vision: dict[str, Any] | None = None
    """A net of images instead: `family`, and the fields of that family (see docs/architectures)."""

    layers: Size | None = None
    """Number of layers."""
    hidden: Size | None = None
    """Width of the residual stream."""
    heads: Size | None = None
    """Query heads."""
    vocabulary: Size | None = None
    """Rows of the token embedding, padding included."""
    feed_forward: Size | None = None
    """Inner width of the feed-forward network; left out, 4 × hidden."""
    kv_heads: Size | None = None
    """Key and value heads; left out, as many as `heads`."""
    head_dim: Size | None = None
    """Width of a head; left out, hidden / heads."""
    gated: Switch | None = None
    """Whether the network multiplies two projections up, as SwiGLU does; left out, no."""
    activation: str | None = None
    """Activation function of the network; left out, gelu."""
    bias: Switch | None = None
    """Whether linear layers and layer norms have biases; left out, yes."""
    query_key_value_bias: Switch | None = None
    """Whether the projections to queries, keys and values have; left out, as `bias`."""
    attention_output_bias: Switch | None = None
    """Whether the projection back from attention has; left out, as `bias`."""
    norm: Literal["layer", "rms"] | None = None
    """Layer or RMS normalization; left out, layer."""
    norm_weight: Switch | None = None
    """Whether norms have weights; left out, yes."""
    norm_bias: Switch | None = None
    """Whether layer norms have biases; left out, as `bias`."""
    query_key_norm: Switch | None = None
    """Whether each head's queries and keys are normalized; left out, no."""
    fused_projection: Switch | None = None
    """Whether one matrix projects to queries, keys and values; left out, no."""
    fused_gate: Switch | None = None
    """Whether one matrix holds a gated network's two projections up; left out, no."""
    float32_softmax: Switch | None = None
    """Whether attention's softmax is in fp32 whatever the compute format; left out, yes."""
    positions: Literal["learned", "rotary", "alibi", "relative", "none"] | None = None
    """How positions enter; left out, learned. Relative ones are Transformer-XL's."""
    max_positions: Size | None = None
    """Longest sequence that the model is made for."""
    position_rows: Size | None = None
    """Rows of a learned position table where they are not `max_positions`."""
    tied: Switch | None = None
    """Whether the head shares the token embedding's weight; left out, yes."""
    head_bias: Switch | None = None
    """Whether the head has a bias; left out, no."""
    parallel: Switch | None = None
    """Whether attention and network read the same stream side by side; left out, no."""
    shared_norm: Switch | None = None
    """Whether they then read the same norm of it; left out, no."""
    post_norm: Switch | None = None
    """Whether norms follow the additions; left out, no."""
    window: Size | None = None
    """How many positions back attention sees, in every layer; left out, all."""
    window_runs: list[tuple[Size | None, Size]] | None = None
    """The same where layers differ: runs of [window or null, layers] from bottom to top."""
    memory: Size | None = None
    """How many positions of the segment before attention sees too, with relative positions."""
    clusters: list[tuple[Size, Size]] | None = None
    """Of an adaptive softmax, [words, width of their embedding], the frequent words first."""
    embedding_width: Size | None = None
    """Width of a narrower token embedding that is projected to `hidden`."""
    embedding_norm: Switch | None = None
    """Whether a norm follows the embedding; left out, no."""
    final_norm: Switch | None = None
    """Whether a norm precedes the head; left out, yes."""
    dropout: Switch | None = None
    """Whether it is trained with dropout; left out, no."""
    attention_dropout: Switch | None = None
    """Whether attention is trained with dropout; left out, as `dropout`."""

    def given(self) -> dict[str, Any]:
        """Return the fields that were written."""
        return self.model_dump(exclude_unset=True)


def check_shape(shape: Mapping[str, Any], document: Document) -> None:
    """Check that the fields of a short form agree with each other.

    Raises:
        SpecError: with every contradiction, at the field that shows it.
    """
    problems: list[Problem] = []

    def require(holds: bool, field: str, message: str, hint: str | None = None) -> None:
        if not holds:
            problems.append(Problem(message, document.locate((field,)), hint))

    for field in ("layers", "hidden", "heads", "vocabulary"):
        require(field in shape, field, f"missing `{field}`")
    if problems:
        raise SpecError(problems)
    hidden, heads, layers = shape["hidden"], shape["heads"], shape["layers"]
    groups = shape.get("kv_heads", heads)
    require(
        "head_dim" in shape or hidden % heads == 0,
        "heads",
        f"`hidden` {hidden} does not divide into {heads} `heads`",
        "give `head_dim` if heads are not hidden / heads wide",
    )
    require(
        heads % groups == 0,
        "kv_heads",
        f"{heads} `heads` do not divide into {groups} `kv_heads`",
    )
    learned = shape.get("positions", "learned") == "learned"
    require(
        not learned or "max_positions" in shape,
        "positions",
        "learned `positions` need `max_positions`",
        "or say `positions: rotary`, `alibi` or `none`",
    )
    require(
        learned or "position_rows" not in shape,
        "position_rows",
        "only learned `positions` have `position_rows`",
    )
    require(
        shape.get("norm") != "rms" or not shape.get("norm_bias"),
        "norm_bias",
        "an RMS norm has no bias",
    )
    require(
        bool(shape.get("parallel")) or not shape.get("shared_norm"),
        "shared_norm",
        "`shared_norm` holds for `parallel` layers only",
    )
    require(
        not (shape.get("parallel") and shape.get("post_norm")),
        "post_norm",
        "`parallel` layers normalize before, not after",
    )
    require(
        bool(shape.get("gated")) or not shape.get("fused_gate"),
        "fused_gate",
        "`fused_gate` holds for `gated` networks only",
    )
    runs = shape.get("window_runs")
    require(
        runs is None or sum(count for _, count in runs) == layers,
        "window_runs",
        f"`window_runs` do not add up to {layers} `layers`",
    )
    require(
        runs is None or "window" not in shape,
        "window",
        "give `window` or `window_runs`, not both",
    )
    clusters = shape.get("clusters")
    require(
        clusters is None or sum(words for words, _ in clusters) == shape["vocabulary"],
        "clusters",
        f"`clusters` do not add up to the {shape['vocabulary']} words of the `vocabulary`",
    )
    require(
        clusters is None or bool(shape.get("tied", True)),
        "clusters",
        "embedding and head in `clusters` share their weights: leave `tied` true",
    )
    require(
        "memory" not in shape or shape.get("positions") == "relative",
        "memory",
        "only relative `positions` reach into a `memory`",
    )
    if problems:
        raise SpecError(problems)
