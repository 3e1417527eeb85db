"""A small served model that several tests share."""

from __future__ import annotations

from costsim import load_hardware, load_model
from costsim.inference.deployment import Deployment
from costsim.inference.engines import load_engine
from costsim.inference.layout import Layout, Quantization


def deployment(
    tp: int = 1, *, model: str = "llama3-8b", engine: str = "vllm", device: str = "h100"
) -> Deployment:
    """Return one layout of a model in 16 bits."""
    return Deployment(
        load_model(model),
        load_hardware(device),
        Layout(tp=tp, moe_tp=tp),
        Quantization(),
        load_engine(engine),
    )
