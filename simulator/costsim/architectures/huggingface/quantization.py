"""`quantization_config` of a Hugging Face config.json, by whichever tool wrote it.

Also `hf_quant_config.json` (NVIDIA's modelopt) and MLX's `quantization`. What a tool leaves out is
left out here: a method that is not known has a name and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from costsim.architectures.quantization import Quantization

_KEPT = (
    *("modules_to_not_convert", "ignore", "ignored_layers", "exclude_modules", "exclude"),
    *("llm_int8_skip_modules", "skip_modules"),
)
_FP4 = 16  # elements that share a scale of 8 bits in NVFP4
_MX = 32  # elements that share an exponent of 8 bits in the OCP microscaling formats
_PARTS = ("text_config", "llm_config", "language_config")
_HALF = {"float16": "fp16", "half": "fp16", "fp16": "fp16"}
_Found = dict[str, Any]


def read_quantization(values: Mapping[str, Any]) -> Quantization | None:
    """Return how the published weights are stored; None where the config does not speak of it.

    Models of several inputs may say it of their text model.
    """
    found = _config_of(values)
    for part in _PARTS:
        if found is None and isinstance(values.get(part), dict):
            found = _config_of(cast("dict[str, Any]", values[part]))
    if found is None:
        return None
    if not isinstance(found, dict):
        return Quantization(method="an unnamed method")
    config = cast("dict[str, Any]", found)
    dtype = str(values.get("dtype", values.get("torch_dtype", ""))).removeprefix("torch.")
    read = replace(quantization_of(config), wide=_HALF.get(dtype, "bf16"))
    if str(values.get("expert_dtype", "")).lower() == "fp4":  # DeepSeek-V4: beside fp8 elsewhere
        experts = Quantization(method="mxfp4", **_mxfp4({}))
        read = replace(read, rules=(*read.rules, ("mlp.experts", experts)))
    return read


def quantization_of(config: Mapping[str, Any]) -> Quantization:
    """Return what a tool's own mapping says."""
    mlx = "quant_method" not in config and {"group_size", "bits"} <= config.keys()
    named = config.get("quant_method", config.get("quant_algo", "an unnamed method"))
    method = "mlx" if mlx else str(named)
    kept = tuple(name for key in _KEPT for name in _names(config.get(key)))
    read = _READERS.get(method.lower())
    if method.lower().startswith(("nvfp4", "fp8_", "mixed_precision", "w4a8", "mxfp8")):
        read = _modelopt  # the file of its own has no `quant_method`
    found: _Found = {} if read is None else read(config)
    kept += found.pop("kept", ())
    return Quantization(method=method, kept=kept, **found)


def _config_of(values: Mapping[str, Any]) -> object:
    for key in ("quantization_config", "quantization", "compression_config"):
        own: object = values.get(key)
        if key == "quantization_config" and own is not None:
            return own
        if isinstance(own, dict):
            named = {"quant_method": "compressed-tensors"} if key == "compression_config" else {}
            return {**named, **cast("dict[str, Any]", own)}
    return None


def _fp8(config: Mapping[str, Any]) -> _Found:
    """Floats of 8 bits, a 32-bit scale for each tile or for the tensor."""
    found: _Found = {"bits": 8, "kind": "float", "activation_bits": 8}
    tile = _tile(config.get("weight_block_size"))
    if tile is not None:
        found |= {"rows": tile[0], "group": tile[1], "scale_bits": 32}
    return found


def _rows_of_fp8(config: Mapping[str, Any]) -> _Found:
    del config
    return {
        "bits": 8,
        "kind": "float",
        "activation_bits": 8,
        "channel": True,
        "scale_bits": 32,
        "reach": "text",
    }


def _integers(config: Mapping[str, Any]) -> _Found:
    """GPTQ, AWQ, AutoRound: integers, a 16-bit scale and a zero point for each group or row."""
    bits = config.get("bits", config.get("w_bit"))
    if not _whole(bits):
        return {"kind": "integer"}
    group = config.get("group_size", config.get("q_group_size"))
    found: _Found = {"bits": bits, "kind": "integer", "reach": "text"}
    found["head"] = config.get("lm_head") is True or config.get("quant_lm_head") is True
    if _whole(group):
        found |= {"group": group, "scale_bits": 16, "zero_bits": bits}
    else:
        found |= {"channel": True, "scale_bits": 16, "zero_bits": bits}
    kept: list[str] = []
    rules: list[tuple[str, Quantization | None]] = []
    # GPTQModel's `dynamic`: "-:pattern" leaves out, "+:pattern" or a bare one changes.
    for name, change in _mapping(config.get("dynamic")).items():
        if name.startswith("-:"):
            kept.append(f"re:{name[2:]}")
        else:
            rules.append((f"re:{name.removeprefix('+:')}", _changed(config, change)))
    for name, change in _mapping(config.get("extra_config")).items():  # AutoRound
        rules.append((name, _changed(config, change)))
    return {**found, "kept": tuple(kept), "rules": tuple(rules)}


def _changed(config: Mapping[str, Any], change: Any) -> Quantization | None:
    own = {key: value for key, value in _mapping(change).items() if value is not None}
    if not _whole(own.get("bits", 4)) or own.get("bits", 4) > 8:
        return None
    plain = {key: config[key] for key in ("bits", "w_bit", "group_size") if key in config}
    return Quantization(method="integers", **_without_names(_integers({**plain, **own})))


def _without_names(found: _Found) -> _Found:
    return {key: value for key, value in found.items() if key not in ("kept", "rules")}


def _mxfp4(config: Mapping[str, Any]) -> _Found:
    del config
    return {"bits": 4, "kind": "float", "group": _MX, "scale_bits": 8, "reach": "experts"}


def _bitsandbytes(config: Mapping[str, Any]) -> _Found:
    eight = config.get("load_in_8bit", config.get("_load_in_8bit"))
    if eight:
        return {
            "bits": 8,
            "kind": "integer",
            "activation_bits": 8,
            "channel": True,
            "scale_bits": 32,
        }
    if not config.get("load_in_4bit", config.get("_load_in_4bit")):
        return {}
    # A 32-bit scale for 64 elements; "double" quantization keeps it in 8 bits, with 32 for 256.
    floats = config.get("bnb_4bit_quant_type", "fp4") in ("nf4", "fp4")
    double = bool(config.get("bnb_4bit_use_double_quant"))
    found: _Found = {"bits": 4, "kind": "float" if floats else "integer", "group": 64, "flat": True}
    if double:
        return {**found, "scale_bits": 8, "scales_per_constant": 256}
    return {**found, "scale_bits": 32}


def _compressed(config: Mapping[str, Any]) -> _Found:
    """Return the scheme of the group whose targets are all linear layers; others are rules."""
    whole: _Found | None = None
    rules: list[tuple[str, Quantization | None]] = []
    for group in _mapping(config.get("config_groups")).values():
        scheme = _scheme(_mapping(group))
        if not scheme:
            continue
        targets = _names(_mapping(group).get("targets")) or ("Linear",)
        if any(target in ("Linear", "re:.*") for target in targets):
            whole = whole or {**scheme, "head": True}
        else:
            one = Quantization(method="compressed-tensors", **scheme)
            rules += [(target, one) for target in targets]
    if whole is None:
        first = next((one for _, one in rules if one is not None), None)
        if first is None:
            return {}
        fields = ("bits", "kind", "group", "rows", "channel", "scale_bits", "zero_bits")
        whole = {name: getattr(first, name) for name in (*fields, "activation_bits")}
        whole["reach"] = "named"
    found: _Found = {**whole, "rules": tuple(rules)}
    if _mapping(config.get("kv_cache_scheme")).get("num_bits") == 8:
        found["cache"] = "fp8"
    return found


def _scheme(group: Mapping[str, Any]) -> _Found:
    """Return one group's scheme, of compressed-tensors or of modelopt in its form."""
    stored = _mapping(group.get("weights"))
    bits, size, kind = stored.get("num_bits"), stored.get("group_size"), stored.get("type")
    if not _whole(bits):
        return {}
    found: _Found = {"bits": bits, "kind": "float" if kind == "float" else "integer"}
    tile = _tile(stored.get("block_structure"))
    if tile is not None:
        found |= {"rows": tile[0], "group": tile[1], "scale_bits": 32}
    elif _whole(size):
        narrow = kind == "float" and (bits == 4 or size == _MX)  # NVFP4, MX: scales of 8 bits
        found |= {"group": size, "scale_bits": 8 if narrow else 16}
        if stored.get("symmetric") is False:
            found["zero_bits"] = bits
    elif stored.get("strategy") == "channel":
        found |= {"channel": True, "scale_bits": 16}
    inputs = _mapping(group.get("input_activations"))
    if inputs:
        width = inputs.get("num_bits")
        found["activation_bits"] = width if _whole(width) else None
    return found


def _modelopt(config: Mapping[str, Any]) -> _Found:
    algorithm = str(config.get("quant_algo", "")).upper()
    found = _algorithm(algorithm, config)
    layers = _mapping(config.get("quantized_layers"))
    if layers:
        rules: list[tuple[str, Quantization | None]] = []
        for name, layer in layers.items():
            one = _mapping(layer)
            said = _algorithm(str(one.get("quant_algo", "")).upper(), one)
            if said:
                rules.append((name, Quantization(method="modelopt", **said)))
                found = found or {**said, "reach": "named"}
        found = {**found, "rules": tuple(rules)}
        if algorithm == "MIXED_PRECISION":
            found["reach"] = "named"
    if not found:
        found = {**_compressed(config), "head": False}
    if str(config.get("kv_cache_quant_algo", "")).upper() == "FP8" or (
        _mapping(config.get("kv_cache_scheme")).get("num_bits") == 8
    ):
        found["cache"] = "fp8"
    return found


def _algorithm(name: str, config: Mapping[str, Any]) -> _Found:
    """Return what an algorithm of modelopt is, such as NVFP4, FP8_PB_WO or W4A16_AWQ."""
    size = config.get("group_size")
    if name.startswith(("NVFP4", "W4A8_NVFP4")):
        group = size if _whole(size) else _FP4
        found: _Found = {"bits": 4, "kind": "float", "group": group, "scale_bits": 8}
        if "WO" not in name and "W4A16" not in name:
            found["activation_bits"] = 4
        return found
    if name.startswith("MXFP8"):
        return {"bits": 8, "kind": "float", "group": _MX, "scale_bits": 8, "activation_bits": 8}
    if name.startswith(("W4A8_MXFP4", "MXFP4")):
        return {"bits": 4, "kind": "float", "group": _MX, "scale_bits": 8}
    if name.startswith("FP8"):
        found = {"bits": 8, "kind": "float", "activation_bits": 8}
        if "PB" in name:
            return {**found, "rows": 128, "group": 128, "scale_bits": 32}
        return {**found, "channel": True, "scale_bits": 32} if "CHANNEL" in name else found
    if name.startswith(("W4A16", "W4A8", "INT4")):
        group = size if _whole(size) else 128
        return {"bits": 4, "kind": "integer", "group": group, "scale_bits": 16}
    if name.startswith(("W8A8", "INT8")):
        found = {"bits": 8, "kind": "integer", "channel": True, "scale_bits": 32}
        return {**found, "activation_bits": 8}
    return {}


_TORCHAO: tuple[tuple[str, _Found], ...] = (
    (
        r"int4|uint4",
        {"bits": 4, "kind": "integer", "group": 128, "scale_bits": 16, "zero_bits": 16},
    ),
    (r"int8.*weight_?only", {"bits": 8, "kind": "integer", "channel": True, "scale_bits": 16}),
    (r"int8", {"bits": 8, "kind": "integer", "channel": True, "scale_bits": 32}),
    (r"float8.*weight_?only", {"bits": 8, "kind": "float", "channel": True, "scale_bits": 32}),
    (r"nvfp4", {"bits": 4, "kind": "float", "group": _FP4, "scale_bits": 8, "activation_bits": 4}),
    (r"mxfp8|mxfp4|mx", {"bits": 4, "kind": "float", "group": _MX, "scale_bits": 8}),
    (r"float8", {"bits": 8, "kind": "float", "activation_bits": 8}),
)


def _torchao(config: Mapping[str, Any]) -> _Found:
    """Return torchao's scheme: a name, or a serialized config of a class."""
    said: Any = config.get("quant_type")
    data: Mapping[str, Any] = _mapping(config.get("quant_type_kwargs"))
    if isinstance(said, dict):
        inner = _mapping(cast("dict[str, Any]", said).get("default", said))
        data, said = _mapping(inner.get("_data")), inner.get("_type", "")
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", str(said)).lower().replace("__", "_")
    fitting = [form for word, form in _TORCHAO if re.search(word, name)]
    found: _Found = dict(fitting[0]) if fitting else {}
    if "weight" not in name and found.get("kind") == "integer" and found.get("bits") == 8:
        found["activation_bits"] = 8
    size = data.get("group_size")
    if _whole(size) and "group" in found:
        found["group"] = size
    return found


def _quark(config: Mapping[str, Any]) -> _Found:
    """Return AMD Quark's scheme of all layers, and of those that it names."""
    whole = _quark_scheme(_mapping(config.get("global_quant_config")))
    rules: list[tuple[str, Quantization | None]] = []
    for name, layer in _mapping(config.get("layer_quant_config")).items():
        said = _quark_scheme(_mapping(layer))
        rules.append((name, Quantization(method="quark", **said) if said else None))
    return {**whole, "rules": tuple(rules)} if whole else {}


def _quark_scheme(config: Mapping[str, Any]) -> _Found:
    weight, inputs = _mapping(config.get("weight")), _mapping(config.get("input_tensors"))
    name = str(weight.get("dtype", ""))
    digits = re.search(r"(?:u?int|fp|mx_?fp)(\d)", name)
    if digits is None:
        return {}
    bits, size = int(digits[1]), weight.get("group_size")
    kind = "integer" if "int" in name else "float"
    found: _Found = {"bits": bits, "kind": kind}
    if _whole(size) and weight.get("qscheme") == "per_group":
        found |= {"group": size, "scale_bits": 8 if kind == "float" else 16}
    elif weight.get("qscheme") == "per_channel":
        found |= {"channel": True, "scale_bits": 32}
    narrow = re.search(r"(\d)", str(inputs.get("dtype", "")))
    if narrow is not None:
        found["activation_bits"] = int(narrow[1])
    return found


def _hqq(config: Mapping[str, Any]) -> _Found:
    inner = _mapping(config.get("quant_config"))
    weights = _mapping(inner.get("weight_quant_params", inner))
    bits, group = weights.get("nbits"), weights.get("group_size")
    if not _whole(bits):
        return {"kind": "integer"}
    found: _Found = {"bits": bits, "kind": "integer", "flat": True}
    # Scales and zero points are floats of 16 bits.
    return {**found, "group": group if _whole(group) else 64, "scale_bits": 16, "zero_bits": 16}


def _mlx(config: Mapping[str, Any]) -> _Found:
    """MLX: embedding and head too; affine groups have a scale and an offset of 16 bits."""
    whole = _mlx_scheme(config)
    rules = tuple(
        (name, Quantization(method="mlx", **_mlx_scheme({**config, **said})) if said else None)
        for name, said in config.items()
        if isinstance(said, dict | bool) and said is not True and name != "quantization_config"
    )
    return {**whole, "rules": rules, "head": True, "tables": True} if whole else {}


def _mlx_scheme(config: Mapping[str, Any]) -> _Found:
    bits, group = config.get("bits"), config.get("group_size")
    if not _whole(bits) or not _whole(group):
        return {}
    if str(config.get("mode", "affine")).startswith(("mx", "nv")):
        return {"bits": bits, "kind": "float", "group": group, "scale_bits": 8}
    integers: _Found = {"bits": bits, "kind": "integer"}
    return {**integers, "group": group, "scale_bits": 16, "zero_bits": 16}


def _eight_in_rows(config: Mapping[str, Any]) -> _Found:
    """EETQ and Quanto's int8: integers, a 16-bit scale a row."""
    word = re.search(r"(\d)", str(config.get("weights", "int8")))
    bits = int(word[1]) if word else 8
    return {"bits": bits, "kind": "integer", "channel": True, "scale_bits": 16}


def _bitnet(config: Mapping[str, Any]) -> _Found:
    del config
    return {"bits": 2, "kind": "integer", "activation_bits": 8}


_READERS = {
    "fp8": _fp8,
    "fbgemm_fp8": _rows_of_fp8,
    "gptq": _integers,
    "gptqmodel": _integers,
    "awq": _integers,
    "auto-round": _integers,
    "intel/auto-round": _integers,
    "mxfp4": _mxfp4,
    "bitsandbytes": _bitsandbytes,
    "compressed-tensors": _compressed,
    "modelopt": _modelopt,
    "modelopt_fp4": _modelopt,
    "modelopt_mixed": _modelopt,
    "torchao": _torchao,
    "quark": _quark,
    "hqq": _hqq,
    "mlx": _mlx,
    "eetq": _eight_in_rows,
    "quanto": _eight_in_rows,
    "bitnet": _bitnet,
}


def _names(found: Any) -> tuple[str, ...]:
    items = cast("list[Any]", found) if isinstance(found, list) else []
    return tuple(str(item) for item in items)


def _mapping(value: object) -> dict[str, Any]:
    found = cast("dict[object, Any]", value) if isinstance(value, dict) else {}
    return {str(key): held for key, held in found.items()}


def _tile(value: Any) -> tuple[int, int] | None:
    sides = cast("list[Any]", value) if isinstance(value, list) else []
    if len(sides) == 2 and all(_whole(side) for side in sides):
        return sides[0], sides[1]
    return None


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**6
