"""From what a decoder was seen doing to the layers that costsim composes decoders of.

Widths say which projection is which, and which tensor enters where says how norms stand. What fits
no layer is said, with where it stands: nothing is guessed, and totals are compared afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from costsim.architectures.layers import (
    FeedForward,
    HeadNorm,
    LatentSelfAttention,
    Layer,
    Mixer,
    MixtureOfExperts,
    NormStyle,
    SelfAttention,
    SubLayer,
)
from costsim.architectures.layers.recording import in_runs
from costsim.architectures.tracing.watching import (
    Attended,
    Event,
    NotUnderstoodError,
    Ran,
    Watched,
    multiplies_in_float32,
    rate,
    widths,
)
from costsim.architectures.transformer import Transformer


@dataclass(frozen=True)
class Facts:
    """What the library's config says that no tensor shows."""

    activation: str
    rotary: bool
    capped: bool
    tied: bool
    context_limit: int | None
    routed: dict[int, tuple[int, int]]  # experts a token passes and there are, by module


def understood(watched: Watched, facts: Facts) -> Transformer:
    """Return the decoder that was seen.

    Raises:
        NotUnderstoodError: where something that ran has no place in it.
    """
    modules = dict(watched.module.named_modules())
    attended = [event for event in watched.events if isinstance(event, Attended)]
    if not attended:
        raise NotUnderstoodError("it does not attend through the library's interface")
    prefixes = [_layer_of(event.path, modules) for event in attended]
    if len(set(prefixes)) != len(prefixes):
        raise NotUnderstoodError("a layer attends more than once")
    parents = {prefix.rpartition(".")[0] for prefix in prefixes}
    if len(parents) != 1:
        raise NotUnderstoodError("it has more than one stack of layers")
    if len(modules[parents.pop()]) != len(prefixes):
        raise NotUnderstoodError("layers without attention")
    outside = [
        event
        for event in watched.events
        if isinstance(event, Ran) and not any(_in(event.path, prefix) for prefix in prefixes)
    ]
    hidden = _hidden(outside)
    layers = [
        _layer(prefix, [one for one in watched.events if _in(one.path, prefix)], hidden, facts)
        for prefix in prefixes
    ]
    return _decoder(outside, hidden, layers, facts)


def _in(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}.")


def _layer_of(path: str, modules: dict[str, nn.Module]) -> str:
    """Return the path of the layer that an attention module stands in."""
    while path:
        above = path.rpartition(".")[0]
        if isinstance(modules.get(above), nn.ModuleList):
            return path
        path = above
    raise NotUnderstoodError("attention stands in no list of layers")


def _hidden(outside: Sequence[Ran]) -> int:
    tables: list[Any] = [one.module for one in outside if one.kind == "embedding"]
    if not tables:
        raise NotUnderstoodError("it has no table of tokens")
    return int(tables[0].weight.shape[1])


def _decoder(outside: Sequence[Ran], hidden: int, layers: list[Layer], facts: Facts) -> Transformer:
    """Return the decoder of `layers` with what ran before and after them."""
    tables: list[Any] = [one.module for one in outside if one.kind == "embedding"]
    norms = [one for one in outside if one.kind == "norm"]
    heads = [one for one in outside if one.kind == "linear"]
    strange = [one.path for one in outside if one.kind == "other"]
    if strange or len(tables) > 2 or len(heads) != 1 or len(norms) > 2:
        raise NotUnderstoodError(
            f"beside its layers stands {(strange or ['more than a decoder'])[0]}"
        )
    inputs, vocabulary, bias = widths(heads[0].module)
    if inputs != hidden:
        raise NotUnderstoodError("its embedding is narrower than its stream")
    styles = [_style(one, hidden) for one in norms]
    return Transformer(
        vocabulary=vocabulary,
        hidden=hidden,
        layers=in_runs(layers),
        positions=int(tables[1].weight.shape[0]) if len(tables) == 2 else 0,
        embedding_norm=styles[0] if len(styles) == 2 else None,
        final_norm=styles[-1] if styles else None,
        tied=facts.tied,
        head_bias=bias,
        spare=int(tables[0].weight.shape[0]) - vocabulary,
        capped=facts.capped,
        dropout=any(_drops(one) for one in outside),
        context_limit=facts.context_limit,
    )


def _style(ran: Ran, width: int) -> NormStyle:
    norm: Any = ran.module
    weight = getattr(norm, "weight", None)
    bias = getattr(norm, "bias", None) is not None
    if isinstance(norm, nn.LayerNorm) or "LayerNorm" in type(norm).__name__:
        return NormStyle(kind="layer", weight=weight is not None, bias=bias)
    wide = weight is not None and multiplies_in_float32(norm, width)
    return NormStyle(kind="rms", weight=weight is not None, bias=False, wide=wide)


def _drops(one: Ran) -> bool:
    return one.kind == "dropout" or rate(getattr(one.module, "dropout", None)) > 0


def _width(ran: Ran) -> int:
    if ran.reads is None:
        raise NotUnderstoodError(f"{ran.path} reads no tensor")
    return int(ran.reads.shape[-1])


def _layer(prefix: str, events: Sequence[Event], hidden: int, facts: Facts) -> Layer:
    """Return a layer of the events inside it."""
    called = next(event for event in events if isinstance(event, Attended))
    ran = [event for event in events if isinstance(event, Ran)]
    if called.path == prefix:
        raise NotUnderstoodError(f"{prefix} attends in the layer itself")
    mixing = [event for event in events if _in(event.path, called.path)]
    rest = [one for one in ran if not _in(one.path, called.path) and one.path != prefix]
    depth = prefix.count(".") + 1
    around = [one for one in rest if one.kind == "norm" and one.path.count(".") == depth]
    feeding = [one for one in rest if one not in around and one.kind not in ("inner", "dropout")]
    if not feeding:
        raise NotUnderstoodError(f"{prefix} has no network")
    network = _network(prefix, feeding, hidden, facts)
    whole = {one.path: one for one in ran}
    child = ".".join(feeding[0].path.split(".")[: depth + 1])
    fed = whole.get(child, feeding[0])
    made = feeding[-1].makes if fed is feeding[0] else fed.makes
    placed = _placed(whole[prefix], whole[called.path], fed.reads, made, around)
    styles = {_style(one, hidden) for one in around}
    if len(styles) > 1:
        raise NotUnderstoodError(f"{prefix} normalizes in more than one way")
    norm = styles.pop() if styles else NormStyle(kind="rms", bias=False)
    dropout = any(_drops(one) for one in (whole[prefix], *rest))
    mixer = _mixer(called, mixing, hidden, facts)
    return Layer(mixer=mixer, feed_forward=network, norm=norm, dropout=dropout, **placed)


def _placed(
    layer: Ran, mixer: Ran, fed: Tensor | None, made: Tensor | None, norms: Sequence[Ran]
) -> dict[str, Any]:
    """Return the switches of a layer that say where its norms stand."""
    before = [one for one in norms if one.makes is mixer.reads]
    ahead = [one for one in norms if one.makes is fed]
    last = bool(norms) and norms[-1].makes is layer.makes
    if last and not before and ahead and len(norms) == 2 and mixer.makes is not ahead[0].reads:
        return {"post_norm": True}
    shared = fed is mixer.reads and bool(before)
    first = bool(ahead) and ahead[0].reads is layer.reads
    behind = [one for one in norms if one.reads is mixer.makes]
    after = [one for one in norms if one.reads is made and one not in behind]
    if len({id(one) for one in (*before, *ahead, *behind, *after)}) != len(norms):
        raise NotUnderstoodError(f"norms of {layer.path} stand elsewhere than around sub-layers")
    return {
        "parallel": shared or first,
        "shared_norm": shared,
        "bare_mixer": not before,
        "bare_feed_forward": not ahead,
        "mixer_output_norm": bool(behind),
        "feed_forward_output_norm": bool(after),
    }


def _mixer(called: Attended, events: Sequence[Event], hidden: int, facts: Facts) -> Mixer:
    """Return the attention of a layer, from what ran inside its module."""
    at = events.index(called)
    ran = [event for event in events if isinstance(event, Ran)]
    if any(one.kind == "other" and one.path != called.path for one in ran):
        raise NotUnderstoodError(f"{called.path} holds weights of its own kind")
    linears = [one for one in ran if one.kind == "linear"]
    output = [one for one in events[at:] if isinstance(one, Ran) and one.kind == "linear"][-1:]
    context = called.heads * called.value_dim
    if not output or widths(output[0].module)[:2] != (context, hidden):
        raise NotUnderstoodError(f"{called.path} does not project its context back")
    made = [one for one in linears if one is not output[0]]
    gates = [one for one in made if _gates(one, called, hidden)]
    made = [one for one in made if one not in gates]
    norms = [one for one in ran if one.kind == "norm"]
    if any(widths(one.module)[0] != hidden for one in made):
        if gates:
            raise NotUnderstoodError(f"{called.path} gates a latent")
        return _latent(called, made, widths(output[0].module)[2], hidden)
    return _plain(called, made, gates, norms, widths(output[0].module)[2], facts)


def _gates(one: Ran, called: Attended, hidden: int) -> bool:
    inputs, outputs, _ = widths(one.module)
    sizes = (called.heads, called.heads * called.value_dim)
    name = one.path.rpartition(".")[2]
    return inputs == hidden and outputs in sizes and ("gate" in name or name.startswith("g_"))


def _plain(
    called: Attended,
    made: Sequence[Ran],
    gates: Sequence[Ran],
    norms: Sequence[Ran],
    output_bias: bool,
    facts: Facts,
) -> SelfAttention:
    """Return attention whose projections all read the stream."""
    queries = called.heads * called.head_dim
    keys, values = called.kv_heads * called.head_dim, called.kv_heads * called.value_dim
    outputs = [widths(one.module)[1] for one in made]
    biases = [widths(one.module)[2] for one in made]
    fused = outputs == [queries + keys + values]
    gated = not fused and outputs[:1] == [2 * queries]
    known = ([queries, keys, values], [2 * queries, keys, values], [queries, keys], [queries])
    if not fused and outputs not in known:
        raise NotUnderstoodError(f"{called.path} projects to {outputs}")
    if len(outputs) == 3 and biases[0] != biases[2]:
        raise NotUnderstoodError(f"{called.path} has biases of some projections")
    gate = "values" if gated else None
    if gates:
        gate = "heads" if widths(gates[0].module)[1] == called.heads else "values"
    head_norm, context_norm = _head_norms(called, norms, queries)
    return SelfAttention(
        heads=called.heads,
        kv_heads=called.kv_heads,
        head_dim=called.head_dim,
        value_dim=None if called.value_dim == called.head_dim else called.value_dim,
        bias=biases[0],
        key_bias=biases[1] or not biases[0] if len(biases) > 1 else True,
        output_bias=output_bias,
        fused_projection=fused,
        capped=called.capped,
        rotary=facts.rotary,
        query_key_norm=head_norm,
        context_norm=context_norm,
        sinks=called.sinks,
        gate=gate,
        gate_of_queries=gated,
        keys_as_values=len(outputs) == 2,
        borrowed=len(outputs) == 1 and not fused,
        causal=called.causal,
        window=called.window,
        dropout=called.dropout,
    )


def _head_norms(
    called: Attended, norms: Sequence[Ran], queries: int
) -> tuple[HeadNorm | None, NormStyle | None]:
    context = [one for one in norms if _width(one) == called.heads * called.value_dim]
    if len(norms) == 1 and context:
        return None, _style(norms[0], _width(norms[0]))
    if not norms:
        return None, None
    if len(norms) not in (1, 2):
        raise NotUnderstoodError(f"{called.path} has {len(norms)} norms")
    first: Any = norms[0].module
    width = _width(norms[0])
    weight = getattr(first, "weight", None)
    whole = width == queries != called.head_dim
    style = _style(norms[0], width)
    unshared = weight is not None and weight.numel() == queries and not whole
    return HeadNorm(style=style, whole=whole, unshared=unshared), None


def _latent(
    called: Attended, made: Sequence[Ran], output_bias: bool, hidden: int
) -> LatentSelfAttention:
    """Return attention to keys and values that are made of a latent."""
    sizes = [widths(one.module) for one in made]
    query = called.heads * called.head_dim
    up = [one for one in sizes if one[0] != hidden and one[1] != query]
    to_query = [one for one in sizes if one[1] == query]
    into = [one for one in sizes if one[0] == hidden and one not in to_query]
    if len(up) != 1 or len(to_query) != 1 or len(sizes) not in (3, 4):
        raise NotUnderstoodError(f"{called.path} compresses in a way of its own")
    latent = up[0][0]
    compressed = to_query[0][0] if to_query[0][0] != hidden else None
    down = [one for one in into if one[1] > latent and one[1] != compressed][:1]
    if not down or len(into) != (1 if compressed is None else 2):
        raise NotUnderstoodError(f"{called.path} compresses in a way of its own")
    rotary = down[0][1] - latent
    return LatentSelfAttention(
        heads=called.heads,
        latent_dim=latent,
        query_latent_dim=compressed,
        key_dim=called.head_dim - rotary,
        rotary_dim=rotary,
        value_dim=called.value_dim,
        bias=output_bias,
        sinks=called.sinks,
        window=called.window,
        dropout=called.dropout,
    )


def _network(prefix: str, ran: Sequence[Ran], hidden: int, facts: Facts) -> SubLayer:
    """Return the network of a layer, dense or of experts, from what ran in it."""
    routed = [one for one in ran if id(one.module) in facts.routed]
    if not routed:
        return _dense(prefix, ran, hidden, facts)
    module: Any = routed[0].module
    top_k, experts = facts.routed[id(module)]
    rest = [one for one in ran if one is not routed[0]]
    routers = [one for one in rest if _routes(one.module, experts)]
    if len(routed) != 1 or len(routers) != 1:
        raise NotUnderstoodError(f"{prefix} routes in a way of its own")
    router: Any = routers[0].module
    rest = [one for one in rest if one is not routers[0] and not _in(one.path, routers[0].path)]
    gates = [one for one in rest if one.kind == "linear" and widths(one.module)[1] == 1]
    others = [one for one in rest if one not in gates and (one.kind != "other" or _own(one))]
    down = module.down_proj
    name = "feed_forward.shared"
    shared = _dense(prefix, others, hidden, facts, name=name) if others else None
    correction = any(
        weight.numel() == experts and key.endswith("correction_bias")
        for key, weight in router.named_parameters()
    )
    return MixtureOfExperts(
        width=int(down.shape[1] if module.is_transposed else down.shape[2]),
        experts=experts,
        top_k=top_k,
        gated=bool(module.has_gate),
        bias=bool(module.has_bias),
        router_bias=getattr(router, "bias", None) is not None,
        correction=correction,
        shared=shared,
        shared_gate=bool(gates),
    )


def _own(one: Ran) -> bool:
    # A block that holds a term of its router alone, beside modules that ran on their own.
    return any(weight.dim() > 1 for weight in one.module.parameters(recurse=False))


def _routes(module: Any, experts: int) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.dim() == 2 and weight.shape[0] == experts


def _dense(
    prefix: str, ran: Sequence[Ran], hidden: int, facts: Facts, *, name: str = "feed_forward"
) -> FeedForward:
    linears = [widths(one.module) for one in ran if one.kind == "linear"]
    norms = [one for one in ran if one.kind == "norm"]
    learned = [weight for one in ran if one.kind == "other" for weight in one.module.parameters()]
    scalars = sum(weight.numel() for weight in learned)
    if scalars != len(learned) or len(linears) not in (2, 3):
        raise NotUnderstoodError(f"{prefix} has a network of its own kind")
    *ups, (width, back, down_bias) = linears
    fused = len(ups) == 1 and ups[0][1] == 2 * width
    fits = back == hidden and all(one[0] == hidden for one in ups)
    if not fits or not (fused or all(one[1] == width for one in ups)) or len(norms) > 1:
        raise NotUnderstoodError(f"{prefix} has a network of its own kind")
    return FeedForward(
        width=width,
        gated=fused or len(ups) == 2,
        bias=ups[0][2],
        down_bias=None if down_bias == ups[0][2] else down_bias,
        activation=facts.activation,
        fused_gate=fused,
        inner_norm=_style(norms[0], width) if norms else None,
        activation_weights=scalars,
        name=name,
    )
