"""DeBERTa and its second and third version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from costsim.architectures.encoder import Encoder
from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.encoders import (
    LAYER_NORM,
    Kin,
    Shape,
    assemble,
    masked_head,
    shape,
    tied,
    with_network,
)
from costsim.architectures.layers import SelfAttention
from costsim.architectures.layers.branches import Branch, Branches
from costsim.architectures.layers.disentangled_attention import DisentangledAttention
from costsim.architectures.layers.tables import Table
from costsim.architectures.sound import Filter
from costsim.architectures.stacks import Stack, StackLayer, TextStem

_IDLE = "legacy max_relative_positions conv_act cls_dropout z_steps"


def _kinds(config: Config) -> tuple[bool, bool]:
    """Return whether contents are scored with distances, and distances with contents."""
    value: Any = config.value("pos_att_type")
    named = cast("list[object]", value) if isinstance(value, list) else str(value or "").split("|")
    kinds = [str(kind).strip() for kind in named if str(kind).strip() not in ("", "none")]
    if wrong := [kind for kind in kinds if kind not in ("c2p", "p2c", "p2p")]:
        config.problem("pos_att_type", f"is of `c2p`, `p2c`, `p2p`; has `{wrong[0][:40]}`")
    return "c2p" in kinds, "p2c" in kinds


def _deberta(config: Config) -> Encoder:
    """In the first version one matrix projects to queries, keys and values; keys have no bias."""
    return _read(config, first=True)


def _deberta_v2(config: Config) -> Encoder:
    return _read(config, first=False)


def _read(config: Config, *, first: bool) -> Encoder:
    found = shape(config)
    config.ignore(*_IDLE.split())
    width = config.size("embedding_size", default=found.hidden)
    positions = config.size("max_position_embeddings")
    relative = config.flag("relative_attention")
    span = positions
    longest = config.values.get("max_relative_positions", -1)
    if longest not in (-1, 0, None):
        span = config.size("max_relative_positions")
    buckets = config.values.get("position_buckets", -1)
    if not first and buckets not in (-1, None):
        span = config.size("position_buckets")
    config.ignore("position_buckets", "norm_rel_ebd")
    to_distance, from_distance = _kinds(config)
    if relative and config.value("pos_att_type") is None:
        config.note("no `pos_att_type` says what is scored with distances: nothing, then")
    tables: list[Table] = []
    if config.flag("position_biased_input"):
        tables.append(Table("positions", positions, shared=True))
    types = config.count("type_vocab_size")
    if types:
        tables.append(Table("types", types))
    if relative:
        normed = not first and "layer_norm" in str(config.values.get("norm_rel_ebd", "none"))
        norm = LAYER_NORM if normed else None
        tables.append(Table("distances", 2 * span, found.hidden, whole=True, norm=norm))
    content = SelfAttention(
        heads=found.heads,
        kv_heads=found.heads,
        head_dim=found.head_dim,
        bias=True,
        key_bias=not first,
        output_bias=True,
        fused_projection=first,
        causal=False,
        dropout=found.attention_dropout,
    )
    mixer = DisentangledAttention(
        content=content,
        span=span,
        to_distance=relative and to_distance,
        from_distance=relative and from_distance,
        shared=not first and config.flag("share_att_key", default=False),
        key_bias=not first,
        clipped=first,
        mixed_heads=first and config.flag("talking_head", default=False),
    )
    stem = TextStem(
        vocabulary=found.vocabulary,
        embedding_width=width,
        tables=tuple(tables),
        norm=LAYER_NORM,
        norm_last=True,
        projected=width != found.hidden,
        projection_bias=False,
        dropout=found.dropout,
    )
    layer = with_network(mixer, found)
    stack = Stack(hidden=found.hidden, stem=stem, layers=_runs(config, found, layer, first=first))
    head = masked_head(found, width=width, tied=tied(config))
    return assemble(config, Kin(pooler=False), stack, head)


def _runs(
    config: Config, found: Shape, layer: StackLayer, *, first: bool
) -> tuple[tuple[StackLayer, int], ...]:
    """Return the layers; a convolution may stand beside the first one."""
    taps = 0 if first else config.count("conv_kernel_size", default=0)
    if not taps or not isinstance(layer, Branches):
        return ((layer, found.layers),)
    groups = config.size("conv_groups", default=1)
    beside = Filter(outputs=found.hidden, kernel=taps, padded=(taps - 1) // 2 * 2, groups=groups)
    branch = Branch(name="convolution", sub_layer=beside, behind=LAYER_NORM)
    with_convolution = replace(layer, branches=(*layer.branches, branch))
    rest = found.layers - 1
    return ((with_convolution, 1), *(((layer, rest),) if rest else ()))


READERS: dict[str, Reader] = {"deberta": _deberta, "deberta-v2": _deberta_v2}
