"""`quantization_config` of a Hugging Face config.json, by whichever tool wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from costsim.architectures.quantization import Quantization

_KEPT = ("modules_to_not_convert", "ignore", "ignored_layers", "exclude_modules")
_FP4 = 16  # elements that share a scale of 8 bits in NVFP4
_MX = 32  # elements that share an exponent of 8 bits in the OCP microscaling formats


def read_quantization(values: Mapping[str, Any]) -> Quantization | None:
    """Return how the published weights are stored; None where the config does not speak of it.

    Models of several inputs may say it of their text model. What a tool leaves out is left out
    here: a method that is not known has a name and nothing else.
    """
    given: Any = values.get("quantization_config")
    if given is None and isinstance(values.get("text_config"), dict):
        given = cast("dict[str, Any]", values["text_config"]).get("quantization_config")
    if given is None:
        return None
    if not isinstance(given, dict):
        return Quantization(method="an unnamed method")
    config = cast("dict[str, Any]", given)
    method = str(config.get("quant_method", config.get("quant_algo", "an unnamed method")))
    kept = _names(next((config[key] for key in _KEPT if config.get(key)), ()))
    readers = {
        "fp8": _fp8,
        "fbgemm_fp8": _rows_of_fp8,
        "gptq": _integers,
        "awq": _integers,
        "mxfp4": _mxfp4,
        "bitsandbytes": _bitsandbytes,
        "compressed-tensors": _compressed,
        "modelopt": _modelopt,
    }
    read = readers.get(method.lower())
    return Quantization(method=method, kept=kept, **({} if read is None else read(config)))


def _fp8(config: Mapping[str, Any]) -> dict[str, Any]:
    """Floats of 8 bits, a 32-bit scale for each tile or for the tensor."""
    tile: Any = config.get("weight_block_size")
    found: dict[str, Any] = {"bits": 8, "kind": "float", "activation_bits": 8}
    sides = cast("list[Any]", tile) if isinstance(tile, list) else []
    if len(sides) == 2 and all(_whole(side) for side in sides):
        found |= {"rows": sides[0], "group": sides[1], "scale_bits": 32}
    return found


def _rows_of_fp8(config: Mapping[str, Any]) -> dict[str, Any]:
    del config
    return {"bits": 8, "kind": "float", "activation_bits": 8}


def _integers(config: Mapping[str, Any]) -> dict[str, Any]:
    """GPTQ and AWQ: integers, a 16-bit scale and a zero point of as many bits for each group."""
    bits, group = config.get("bits", config.get("w_bit")), config.get("group_size")
    if not _whole(bits):
        return {"kind": "integer"}
    found: dict[str, Any] = {"bits": bits, "kind": "integer"}
    if _whole(group):
        found |= {"group": group, "scale_bits": 16, "zero_bits": bits}
    return found


def _mxfp4(config: Mapping[str, Any]) -> dict[str, Any]:
    del config
    return {"bits": 4, "kind": "float", "group": _MX, "scale_bits": 8}


def _bitsandbytes(config: Mapping[str, Any]) -> dict[str, Any]:
    if config.get("load_in_8bit"):
        return {"bits": 8, "kind": "integer", "activation_bits": 8}
    if not config.get("load_in_4bit"):
        return {}
    floats = config.get("bnb_4bit_quant_type", "fp4") in ("nf4", "fp4")
    # A 32-bit scale for 64 elements; "double" quantization keeps it in 8 bits, with 32 for 256.
    double = bool(config.get("bnb_4bit_use_double_quant"))
    kind: Literal["float", "integer"] = "float" if floats else "integer"
    return {"bits": 4, "kind": kind, "group": 64, "scale_bits": 8 if double else 32}


def _compressed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first group of layers' scheme, which all layers of most models have."""
    groups: Any = config.get("config_groups")
    first: Any = None
    if isinstance(groups, dict):
        first = next(iter(cast("dict[str, Any]", groups).values()), None)
    if not isinstance(first, dict):
        return {}
    scheme = cast("dict[str, Any]", first)
    weights: Any = scheme.get("weights")
    if not isinstance(weights, dict):
        return {}
    stored = cast("dict[str, Any]", weights)
    bits, group, kind = stored.get("num_bits"), stored.get("group_size"), stored.get("type")
    tile: Any = stored.get("block_structure")
    if not _whole(bits):
        return {}
    found: dict[str, Any] = {"bits": bits, "kind": "float" if kind == "float" else "integer"}
    sides = cast("list[Any]", tile) if isinstance(tile, list) else []
    if len(sides) == 2 and all(_whole(side) for side in sides):
        found |= {"rows": sides[0], "group": sides[1], "scale_bits": 32}
    elif _whole(group):
        narrow = bits == 4 and kind == "float"  # NVFP4: scales in fp8
        found |= {"group": group, "scale_bits": 8 if narrow else 16}
        if stored.get("symmetric") is False:
            found["zero_bits"] = bits
    inputs: Any = scheme.get("input_activations")
    if isinstance(inputs, dict):
        width = cast("dict[str, Any]", inputs).get("num_bits")
        found["activation_bits"] = width if _whole(width) else None
    return found


def _modelopt(config: Mapping[str, Any]) -> dict[str, Any]:
    algorithm = str(config.get("quant_algo", "")).upper()
    if "NVFP4" in algorithm:
        group = config.get("group_size", _FP4)
        size = group if _whole(group) else _FP4
        return {
            "bits": 4,
            "kind": "float",
            "group": size,
            "scale_bits": 8,
            "activation_bits": 4,
        }
    if "FP8" in algorithm:
        return {"bits": 8, "kind": "float", "activation_bits": 8}
    return _compressed(config)


def _names(found: Any) -> tuple[str, ...]:
    items = cast("list[Any]", found) if isinstance(found, list) else []
    return tuple(str(item) for item in items)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**6
