"""xLSTM: matrix memories and gated networks."""

from __future__ import annotations

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.hybrids.stacking import stacked, whole
from costsim.architectures.layers import RMS, FeedForward, Layer
from costsim.architectures.layers.matrix_memory import MatrixMemory
from costsim.architectures.transformer import Transformer


def _xlstm(config: Config) -> Transformer:
    config.ignore("embedding_dim", "num_blocks", "norm_reduction_force_float32", "add_out_norm")
    config.ignore("chunkwise_kernel", "sequence_kernel", "step_kernel", "mode")
    config.ignore("return_last_states", "autocast_kernel_dtype", "eps", "inference_state_dtype")
    config.ignore("gate_soft_cap", "output_logit_soft_cap", "max_inference_chunksize")
    hidden = config.size("hidden_size", "embedding_dim")
    heads, bias = config.size("num_heads"), config.flag("use_bias")
    config.require(not bias, "use_bias", "is true: norms with biases of such models are unknown")
    fused = config.text("weight_mode") == "fused"
    mixer = MatrixMemory(
        heads=heads,
        key_dim=whole(config, "num_heads", _scaled(config, "qk_dim_factor", hidden), heads),
        value_dim=whole(config, "num_heads", _scaled(config, "v_dim_factor", hidden), heads),
        chunk=config.size("chunk_size"),
        bias=bias,
        fused_projection=fused,
    )
    multiple = config.size("ffn_round_up_to_multiple_of")
    width = -(-_scaled(config, "ffn_proj_factor", hidden) // multiple) * multiple
    fed = FeedForward(width=width, gated=True, bias=bias, activation="silu", fused_gate=fused)
    layers = config.layers("num_hidden_layers", "num_blocks")
    return stacked(config, [Layer(mixer=mixer, feed_forward=fed, norm=RMS)] * layers)


def _scaled(config: Config, key: str, size: int) -> int:
    """Return `size` times the factor under `key`, as a whole number."""
    factor = config.value(key)
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor < 1000:
        config.problem(key, "must be a positive number below 1000")
        return size
    return max(1, int(size * factor))


READERS: dict[str, Reader] = {"xlstm": _xlstm}
