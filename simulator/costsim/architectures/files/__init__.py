"""Files of releases other than a config.json, one small reader a kind.

`describe` finds out by its content what a file is. None of it runs code, follows links out of a
release's folder, or reads more than headers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from costsim.architectures.files.described import Described, fail
from costsim.documents import Document, load_document

_IN_FOLDERS = (
    *("model_index.json", "modules.json", "config.json", "params.json", "adapter_config.json"),
    "model.safetensors.index.json",
)
_QUANTIZATION = {  # a file beside the config.json → the tool that wrote it
    "hf_quant_config.json": "modelopt",
    "quantize_config.json": "gptq",
    "quant_config.json": "awq",
}
_GENERATION = ("temperature", "top_p", "top_k", "do_sample", "max_new_tokens", "_from_model_config")


def file_in(folder: Path) -> Path:
    """Return the file of a release's folder that describes its model.

    Raises:
        SpecError: if there is none.
    """
    for name in _IN_FOLDERS:
        if (folder / name).is_file():
            return folder / name
    for pattern in ("*.gguf", "*.safetensors"):
        found = sorted(folder.glob(pattern))
        if found:
            return found[0]
    raise fail(folder, "holds no config.json nor another file that describes a model")


def describe(path: Path) -> tuple[Document, Described | None]:
    """Return a file as a document, and what it describes if that is no config.json or YAML.

    Raises:
        SpecError: if it is malformed, or describes no model.
    """
    suffix = path.suffix.lower()
    if suffix == ".gguf":
        from costsim.architectures.files.gguf import read_gguf

        return Document({}, str(path)), read_gguf(path)
    if suffix == ".safetensors":
        from costsim.architectures.files import tensors

        raise _no_config(path, tensors.summary(tensors.read_header(path)))
    document = load_document(path)
    if suffix != ".json":
        return document, None
    return _json(document, path)


def _json(document: Document, path: Path) -> tuple[Document, Described | None]:
    value = document.value
    if isinstance(value, list):
        from costsim.architectures.files.sentence import encoder_of

        config, notes = encoder_of(cast("list[Any]", value), path)
        return load_document(config), Described(
            fields={"huggingface": _with_companions(load_document(config).value, config)},
            notes=notes,
        )
    if not isinstance(value, dict):
        return document, None
    values = cast("dict[str, Any]", value)
    if "model_type" in values and "_class_name" not in values:
        whole = _with_companions(values, path)
        if whole is values:
            return document, None
        return document, Described(fields={"huggingface": whole})
    return _by_content(document, values, path)


def _by_content(
    document: Document, values: Mapping[str, Any], path: Path
) -> tuple[Document, Described | None]:
    from costsim.architectures.files import adapter, diffusion, native, timm

    if path.name == "model_index.json" or str(values.get("_class_name", "")).endswith("Pipeline"):
        config, notes = diffusion.denoiser_of(values, path)
        inner, part = describe(config)
        fields: Mapping[str, Any] = {} if part is None else part.fields
        return inner, Described(fields=fields, notes=notes)
    if "_class_name" in values:
        return document, diffusion.read_part(values, str(path))
    if "peft_type" in values or "base_model_name_or_path" in values:
        return document, adapter.read_adapter(values, path)
    if native.is_native(values):
        return document, native.read_native(values, str(path))
    if timm.is_timm(values):
        name = timm.catalogue_name(str(values["architecture"]))
        if name is None:
            said = str(values["architecture"])[:60]
            raise fail(path, f"timm's `{said}` is not in the catalogue", "see `costsim models`")
        return document, Described(fields={"extends": name})
    if "weight_map" in values:
        from costsim.architectures.files.tensors import index_summary

        raise _no_config(path, index_summary(values))
    if "quant_algo" in values or "quant_algo" in _mapping(values.get("quantization")):
        raise fail(
            path,
            "says how the weights of a model are stored, not what the model is",
            "give its folder, or the config.json beside it",
        )
    if any(key in values for key in _GENERATION) and "hidden_size" not in values:
        raise fail(
            path,
            "holds settings of generation, not a model",
            "give its folder, or the config.json beside it",
        )
    return document, None


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _no_config(path: Path, said: str):
    return fail(
        path,
        f"holds weights ({said}) but not what is computed with them",
        "give the folder of the release, or its config.json",
    )


def _with_companions(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a config with what a file beside it says of how the weights are stored."""
    if path.name != "config.json" or values.get("quantization_config") is not None:
        return values
    for name, method in _QUANTIZATION.items():
        companion = path.parent / name
        if not companion.is_file():
            continue
        said: Any = load_document(companion).value
        if isinstance(said, dict):
            inner = cast("dict[str, Any]", said).get("quantization", said)
            if isinstance(inner, dict):
                stated = {"quant_method": method, **cast("dict[str, Any]", inner)}
                return {**values, "quantization_config": stated}
    return values
