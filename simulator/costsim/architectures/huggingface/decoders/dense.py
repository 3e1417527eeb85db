"""Dense decoders in Llama's way that differ from it by a switch or two."""

from __future__ import annotations

from dataclasses import replace

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.decoders.stack import (
    AFFINE,
    FULL,
    HIDDEN,
    LAYERS,
    SLIDING,
    attention,
    compose,
    dropped,
    every,
    kinds,
    network,
    pattern,
    switch,
    windowed,
    windows,
)
from costsim.architectures.layers import (
    RMS,
    HeadNorm,
    Layer,
    NormStyle,
    Run,
    Start,
    Transform,
)
from costsim.architectures.transformer import Transformer


def _plain(config: Config) -> Transformer:
    """Read CWM, Granite, Helium, InternLM 3, IQuest-Coder, Ministral, SmolLM 3: Llama's layers."""
    if config.knows("sliding_window"):
        return compose(config, windowed(attention(config), _windows(config)), network(config))
    return compose(config, attention(config), network(config))


def _windows(config: Config) -> tuple[int | None, ...]:
    model_type = config.text("model_type", default="")
    if model_type == "smollm3":
        used = config.flag("use_sliding_window")
        spared = config.size("no_rope_layer_interval")
        return windows(config, every(spared, SLIDING if used else FULL, FULL))
    if model_type == "cwm":  # every fourth layer, the first among them, sees all
        return windows(config, lambda index: SLIDING if index % 4 else FULL)
    return windows(config)


def _helium(config: Config) -> Transformer:
    return compose(config, attention(config, output_bias=False), network(config))


def _internlm3(config: Config) -> Transformer:
    mixer = attention(
        config,
        bias=config.flag("qkv_bias", "attention_bias"),
        output_bias=config.flag("bias", "mlp_bias"),
    )
    return compose(config, mixer, network(config, bias=config.flag("bias", "mlp_bias")))


def _arcee(config: Config) -> Transformer:
    return compose(config, attention(config), network(config, gated=False))


def _apertus(config: Config) -> Transformer:
    mixer = attention(config, query_key_norm=HeadNorm())
    scalars = 2 if config.text("hidden_act") == "xielu" else 0
    return compose(config, mixer, network(config, gated=False, activation_weights=scalars))


def _bitnet(config: Config) -> Transformer:
    """Read BitNet: a norm more before each projection back to the residual stream."""
    mixer = attention(config, context_norm=RMS)
    return compose(config, mixer, network(config, inner_norm=RMS))


def _ernie(config: Config) -> Transformer:
    bias = config.flag("use_bias")
    return compose(config, attention(config, bias=bias), network(config, bias=bias))


def _exaone4(config: Config) -> Transformer:
    """Read EXAONE 4: norms of the sub-layers' outputs alone."""
    mixer = attention(config, query_key_norm=HeadNorm())
    seen = windows(config, pattern(config, "sliding_window_pattern"))
    return compose(
        config,
        windowed(mixer, seen),
        network(config),
        bare_mixer=True,
        bare_feed_forward=True,
        mixer_output_norm=True,
        feed_forward_output_norm=True,
    )


def _granite_swa(config: Config) -> Transformer:
    """Read Granite with sinks: every fourth layer, the first among them, sees all."""
    seen = windows(config, lambda index: SLIDING if index % 4 else FULL)
    return compose(config, windowed(attention(config, sinks=True), seen), network(config))


def _hunyuan(config: Config) -> Transformer:
    return compose(config, attention(config, query_key_norm=HeadNorm()), network(config))


def _hyperclovax(config: Config) -> Transformer:
    after = config.flag("use_post_norm")
    return compose(
        config,
        attention(config),
        network(config),
        mixer_output_norm=after,
        feed_forward_output_norm=after,
    )


def _jais2(config: Config) -> Transformer:
    return compose(config, attention(config), network(config, gated=False), norm=AFFINE)


def _nanochat(config: Config) -> Transformer:
    """Read nanochat: norms without weights, of each head's queries and keys too."""
    bare = NormStyle(kind="rms", weight=False, bias=False)
    mixer = attention(config, query_key_norm=HeadNorm(style=bare))
    fed = network(config, gated=False)
    return compose(config, mixer, fed, norm=bare, embedding_norm=bare)


def _nemotron(config: Config) -> Transformer:
    return compose(config, attention(config), network(config, gated=False), norm=AFFINE)


def _seed_oss(config: Config) -> Transformer:
    mixer = attention(config, output_bias=config.flag("attention_out_bias"))
    return compose(config, mixer, network(config))


def _stablelm(config: Config) -> Transformer:
    """Read StableLM: layer norms, and one norm a layer where both sub-layers read it."""
    parallel = config.flag("use_parallel_residual")
    heads = HeadNorm(style=NormStyle(bias=False), unshared=True)
    mixer = attention(
        config,
        bias=config.flag("use_qkv_bias"),
        output_bias=False,
        query_key_norm=heads if config.flag("qk_layernorm") else None,
    )
    return compose(
        config, mixer, network(config), norm=AFFINE, parallel=parallel, shared_norm=parallel
    )


def _starcoder2(config: Config) -> Transformer:
    bias = config.flag("use_bias")
    mixers = windowed(attention(config, bias=bias), windows(config))
    return compose(config, mixers, network(config, gated=False, bias=bias), norm=AFFINE)


def _olmo(config: Config) -> Transformer:
    """Read OLMo: layer norms without weights."""
    bare = NormStyle(weight=False, bias=False)
    return compose(config, attention(config), network(config), norm=bare)


def _olmo2(config: Config) -> Transformer:
    """Read OLMo 2 and 3: norms of outputs, and of queries and keys as a whole."""
    mixer = attention(config, query_key_norm=HeadNorm(whole=True))
    seen = windows(config, every(4)) if config.knows("sliding_window") else None
    return compose(
        config,
        mixer if seen is None else windowed(mixer, seen),
        network(config),
        bare_mixer=True,
        bare_feed_forward=True,
        mixer_output_norm=True,
        feed_forward_output_norm=True,
    )


def _cohere(config: Config) -> Transformer:
    """Read Command R: both sub-layers read one layer norm without bias."""
    plain = NormStyle(bias=False)
    heads = HeadNorm(style=plain, unshared=True) if switch(config, "use_qk_norm") else None
    mixer = attention(config, query_key_norm=heads)
    pattern = every(config.size("sliding_window_pattern", default=4))
    windows_ = windows(config, pattern) if config.knows("sliding_window") else None
    return compose(
        config,
        mixer if windows_ is None else windowed(mixer, windows_),
        network(config),
        norm=plain,
        parallel=True,
        shared_norm=True,
    )


def _diffllama(config: Config) -> Transformer:
    """Read DiffLlama: differential attention."""
    return compose(config, attention(config, differential=True), network(config))


def _modernbert(config: Config) -> Transformer:
    """Read ModernBERT's decoder: windows in two layers of three, no norm before the first."""
    norm = NormStyle(bias=config.flag("norm_bias"))
    config.ignore("initializer_cutoff_factor", "classifier_bias", "classifier_activation")
    config.ignore("global_attn_every_n_layers", "deterministic_flash_attn", "sliding_window")
    period = config.size("global_attn_every_n_layers", default=3)
    local = config.optional_size("local_attention")
    window = local // 2 if local else None
    kind = kinds(
        config, "layer_types", (FULL, SLIDING), lambda index: SLIDING if index % period else FULL
    )
    mixer = attention(config)
    described = compose(
        config,
        windowed(mixer, [window if name == SLIDING else None for name in kind]),
        network(config, fused_gate=True),
        norm=norm,
        embedding_norm=norm,
        head_bias=config.flag("decoder_bias"),
        before_head=Transform(
            norm=norm,
            bias=config.flag("classifier_bias"),
            activation=config.text("classifier_activation"),
        ),
        dropout=dropped(config, "embedding_dropout", "mlp_dropout"),
    )
    # The norm of the embedding is what the first layer reads.
    (first, count), *others = described.layers
    assert isinstance(first, Layer)
    bare = replace(first, bare_mixer=True)
    rest = ((first, count - 1),) if count > 1 else ()
    return replace(described, layers=((bare, 1), *rest, *others))


def _gpt_neox_japanese(config: Config) -> Transformer:
    """Read the Japanese GPT-NeoX, whose last layer alone has a bias in attention."""
    layers = config.layers(*LAYERS)
    mixer = attention(config, bias=False, fused_projection=True)
    last = replace(mixer, output_bias=True)
    width = config.size("intermediate_multiple_size") * config.size(*HIDDEN)
    return compose(
        config,
        [mixer] * (layers - 1) + [last],
        network(config, gated=False, bias=False, width=width),
        norm=AFFINE,
        dropout=dropped(config, "hidden_dropout"),
    )


def _hrm(config: Config) -> Transformer:
    """Read HRM-Text: a low and a high stack that run in cycles, the first ones untrained.

    `num_hidden_layers` counts runs of layers where `num_layers_per_stack` is written.
    """
    listed = config.layers(*LAYERS)
    high, low = config.size("H_cycles"), config.size("L_cycles")
    stack = config.optional_size("num_layers_per_stack") or listed
    trained = config.sizes("L_bp_cycles", (2,))
    trained = (1,) * max(0, high - len(trained)) + trained
    config.ignore("prefix_lm")
    bare = NormStyle(kind="rms", weight=False)
    one = compose(config, attention(config, gate="values"), network(config), norm=bare)
    ((layer, _),) = one.layers
    assert isinstance(layer, Layer)
    runs: list[tuple[Run, int]] = []
    for cycle in range(high):
        start = low - (trained[cycle] if cycle < len(trained) else 1)
        for step in range(low):
            again = bool(cycle or step)
            runs.append((Run(layer=layer, again=again, detached=step < start), stack))
        runs.append((Run(layer=layer, again=bool(cycle)), stack))
    return replace(one, layers=tuple(runs), beside=Start(), final_norm=bare)


def _glm(config: Config) -> Transformer:
    mixer = attention(config, output_bias=False)
    sandwich = config.text("model_type", default="") == "glm4"
    return compose(
        config,
        mixer,
        network(config, fused_gate=True),
        mixer_output_norm=sandwich,
        feed_forward_output_norm=sandwich,
    )


def _phi3(config: Config) -> Transformer:
    mixer = attention(config, fused_projection=True)
    return compose(config, windowed(mixer, windows(config)), network(config, fused_gate=True))


READERS: dict[str, Reader] = {
    "apertus": _apertus,
    "arcee": _arcee,
    "bitnet": _bitnet,
    "cohere": _cohere,
    "cohere2": _cohere,
    "cwm": _plain,
    "ernie4_5": _ernie,
    "exaone": _plain,
    "diffllama": _diffllama,
    "exaone4": _exaone4,
    "glm": _glm,
    "glm4": _glm,
    "gpt_neox_japanese": _gpt_neox_japanese,
    "granite": _plain,
    "granite_swa": _granite_swa,
    "helium": _helium,
    "hrm_text": _hrm,
    "hunyuan_v1_dense": _hunyuan,
    "hyperclovax": _hyperclovax,
    "internlm3": _internlm3,
    "iquestcoder": _plain,
    "jais2": _jais2,
    "ministral": _plain,
    "ministral3": _plain,
    "modernbert-decoder": _modernbert,
    "nanochat": _nanochat,
    "nemotron": _nemotron,
    "olmo": _olmo,
    "olmo2": _olmo2,
    "olmo3": _olmo2,
    "phi3": _phi3,
    "seed_oss": _seed_oss,
    "smollm3": _plain,
    "stablelm": _stablelm,
    "starcoder2": _starcoder2,
}
