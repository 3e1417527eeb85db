"""Words that a report used and a reader may not know, spelt out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from costsim.reporting.model import Report

TERMS = {
    "TP": "tensor parallelism: each matrix is divided among devices",
    "PP": "pipeline parallelism: layers are divided among devices",
    "VPP": "virtual stages: pipeline stages that a device holds, interleaved",
    "DP": "data parallelism: devices hold copies and share the batch",
    "CP": "context parallelism: a sequence is divided among devices",
    "EP": "expert parallelism: experts are divided among devices",
    "ETP": "tensor parallelism inside experts",
    "SP": "sequence parallelism: what tensor parallelism leaves whole is divided by tokens",
    "ZeRO": "optimizer state (1), gradients (2) and weights (3) divided among the copies",
    "FSDP": "fully sharded data parallelism: ZeRO stage 3 of PyTorch",
    "MFU": "model FLOPs utilization: the model's own operations over the peak rate",
    "HFU": "hardware FLOPs utilization: as MFU, recomputed operations included",
    "TTFT": "time to first token, from a request's arrival",
    "TPOT": "time per output token after the first",
    "ITL": "inter-token latency: the wait between two tokens",
    "p50": "half of the requests are at or below it",
    "p99": "99 of 100 requests are at or below it",
    "PUE": "power usage effectiveness: energy of the site over that of its machines",
    "CO2e": "greenhouse gases as the CO2 of the same effect",
    "KV": "keys and values of attention, kept for tokens already read",
    "LoRA": "low-rank adapters trained beside frozen weights",
    "AWQ": "activation-aware weight quantization: 4-bit weights",
    "GPTQ": "weights quantized layer by layer by second-order error",
    "Mtok": "a million tokens",
    "FLOP": "a floating-point operation; a multiply-add counts two",
    "roofline": "the rate that peak and memory bandwidth together allow",
    "ridge": "operations a byte from which a device's peak, not its memory, is the limit",
}
"""Terms with their meaning, in the order in which they are printed."""

_WORD = re.compile(r"[A-Za-z][A-Za-z]*(?:99|50|2e)?")


def glossary_of(report: Report) -> dict[str, str]:
    """Return the terms that the report uses, with what they mean."""
    used = {word for text in _texts(report) for word in _WORD.findall(text)}
    return {term: meaning for term, meaning in TERMS.items() if term in used}


def _texts(part: object) -> Iterator[str]:
    """Yield every text inside a report, whatever record holds it."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, tuple):
        for one in part:  # pyright: ignore[reportUnknownVariableType]
            yield from _texts(one)  # pyright: ignore[reportUnknownArgumentType]
    elif is_dataclass(part):
        for one in fields(part):
            yield from _texts(getattr(part, one.name))
