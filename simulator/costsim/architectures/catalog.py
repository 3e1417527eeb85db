"""Models by name, file or mapping: scenarios/models/, YAML, Hugging Face `config.json`.

A catalog file is named by its model, so that loading one opens one small file; packaged files are
checked by the tests and not again while running, which spares importing pydantic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from costsim.architectures.architecture import Architecture
from costsim.architectures.decoder import decoder
from costsim.cells import clean
from costsim.documents import Document, load_document, parse_as, placed
from costsim.errors import SpecError, UnknownNameError, suggestion
from costsim.paths import exists, is_file, is_folder
from costsim.resources import data_folder

if TYPE_CHECKING:
    from costsim.architectures.files.described import Described

_ALIASES = "aliases"
_DETAILS = ("name", "source", "published_parameters", "extends")
_WHOLE = ("huggingface", "vision")  # fields that describe the whole model by themselves
_MAX_CHAIN = 16  # files that extend one another
_SUFFIXES = (".json", ".yaml", ".yml", ".gguf", ".safetensors")
_GENERIC = ("config.json", "params.json", "modules.json", "model_index.json", "adapter_config.json")
_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]*")


def load_model(model: str | Path | Mapping[str, Any] | Document | Architecture) -> Architecture:
    """Return a model's architecture.

    Args:
        model: a catalog name or alias ("gpt3-175b"; case does not matter), the name of a release
            (`owner/name`: as the local Hub cache has it, else as it ships here), the path of a YAML
            description, of a release's folder or of a file in it (config.json, params.json, GGUF,
            …), or the content of a description as a mapping or a document. An architecture is
            returned as it is.

    Raises:
        UnknownNameError: if no catalog model and no file has the name.
        SpecError: if a description is malformed or of a kind that is not supported, with the place.
    """
    if isinstance(model, Architecture):
        return model
    if isinstance(model, Mapping):
        model = Document(dict(model), "<mapping>")
    if isinstance(model, Document):
        value: Mapping[str, Any] = model.value
        name = str(value.get("_name_or_path") or value.get("model_type") or "model")
        return _printable(_from_document(model, name, "", trusted=False))
    if isinstance(model, str):
        named = None if _is_path(model) else _named(model)
        if named is not None:
            return named
        if not _is_path(model) and not exists(model):
            raise UnknownNameError(f"unknown model `{model}`", hint=_near(model))
    return _printable(_from_path(Path(model)))


def _printable(model: Architecture) -> Architecture:
    """Return a model that others described, whose name runs nothing where it is printed."""
    notes = tuple(map(clean, model.notes))
    return replace(model, name=clean(model.name), source=clean(model.source), notes=notes)


def decoder_fields(model: str | Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the fields of `DecoderSpec` that a catalog model or a description has.

    None where it is described otherwise, such as by a config.json.
    """
    if isinstance(model, Mapping):
        document = Document(dict(model), "<mapping>")
    else:
        identity = _identity(model)
        if identity is None:
            return None
        document = load_document(_folder() / f"{identity}.yaml")
    shape = _resolved(_fields(document, trusted=True), document, (document.file,))
    return None if any(key in shape for key in _WHOLE) else shape


def _named(name: str) -> Architecture | None:
    """Return the model of a name: in the Hub's cache, the catalogue, or the shipped releases."""
    if "/" in name:
        from costsim.architectures.files.hub import snapshot_of

        snapshot = snapshot_of(name.strip())
        if snapshot is not None:
            return _from_path(snapshot, name.strip().rpartition("/")[2])
    identity = _identity(name)
    if identity is not None:
        return _packaged(identity)
    return _released(name.strip().lower())


@lru_cache(maxsize=256)
def _released(name: str) -> Architecture | None:
    from costsim.architectures.releases import release

    found = release(name)
    if found is None:
        return None
    document = Document({"huggingface": found.config}, found.name)
    own = {"huggingface": dict(found.config)}
    source = f"{found.source} ({found.name})"
    return _from_fields(own, document, found.name.rpartition("/")[2], source, trusted=True)


def _near(name: str) -> str:
    """Return the hint for an unknown name: the nearest of its family, else of all."""
    from costsim.architectures.releases import releases

    own = _normalised(name)
    bare = own.rpartition("/")[2]
    known = [*model_names(), *_aliases(), *(one.name for one in releases().values())]
    word = re.match(r"[a-z]+", bare)
    alike = [one for one in known if word and word[0] in one.lower().rpartition("/")[2]]
    return suggestion(bare if alike else own, alike or known, "costsim models")


@lru_cache(maxsize=1)
def model_names() -> tuple[str, ...]:
    """Return the names of the catalog, sorted by family and size as their names are."""
    stems = (path.stem for path in _folder().glob("*.yaml"))
    return tuple(sorted((stem for stem in stems if stem != _ALIASES), key=_natural))


def aliases_of(name: str) -> tuple[str, ...]:
    """Return the other names of a catalog model."""
    return tuple(sorted(alias for alias, target in _aliases().items() if target == name))


def published_parameters(name: str) -> int | None:
    """Return the parameter count that the authors of a catalog model state."""
    value: Any = load_document(_folder() / f"{name}.yaml").value.get("published_parameters")
    return value if value is None else int(value)


def _folder() -> Path:
    return data_folder("scenarios") / "models"


def _natural(name: str) -> list[tuple[int, float, str]]:
    """Return a key that sorts 560m before 7b, 7b before 13b, and 1b1 as 1.1b."""
    scale = {"m": 1e6, "b": 1e9, "t": 1e12}
    key: list[tuple[int, float, str]] = []
    for part in name.split("-"):
        size = re.fullmatch(r"(\d+(?:\.\d+)?)(?:([mbt])(\d?))?", part)
        if size is None:
            key.append((0, 0.0, part))
        else:
            digits = f"{size[1]}.{size[3]}" if size[3] else size[1]
            key.append((1, float(digits) * scale.get(size[2] or "", 1.0), part))
    return key


def _normalised(name: str) -> str:
    return re.sub(r"[\s_]+", "-", name.strip().lower())


@lru_cache(maxsize=1)
def _aliases() -> dict[str, str]:
    path = _folder() / f"{_ALIASES}.yaml"
    return {_normalised(str(alias)): str(name) for alias, name in load_document(path).value.items()}


def _identity(name: str) -> str | None:
    """Return the catalog model that `name` means, if any; an owner ("Qwen/…") may stand before."""
    own = _normalised(name)
    owner = re.match(r"[a-z0-9][\w.-]*/", own)
    for candidate in (own, own[owner.end() :] if owner else own):
        if _NAME.fullmatch(candidate) and candidate != _ALIASES:  # no path is smuggled in
            if is_file(_folder() / f"{candidate}.yaml"):
                return candidate
            if candidate in _aliases():
                return _aliases()[candidate]
    return None


def _is_path(name: str) -> bool:
    """Return whether `name` is written as a path: a suffix, or folders that exist."""
    separated = "/" in name or "\\" in name
    return Path(name).suffix.lower() in _SUFFIXES or (separated and exists(name))


@lru_cache(maxsize=256)
def _packaged(name: str) -> Architecture:
    document = load_document(_folder() / f"{name}.yaml")
    return _from_document(document, name, f"scenarios/models/{name}.yaml", trusted=True)


def _from_path(path: Path, name: str = "") -> Architecture:
    from costsim.architectures.files import describe, file_in

    file = file_in(path) if is_folder(path) else path
    if not name:
        alone = not is_folder(path) and file.name not in _GENERIC
        name = file.stem if alone else file.absolute().parent.name
    document, described = describe(file)
    if described is None:
        return _from_document(document, name, str(file), trusted=False)
    return _described(document, described, name, str(file))


def _described(document: Document, found: Described, name: str, source: str) -> Architecture:
    """Return what a file of another kind describes."""
    if "extends" in found.fields:
        model = _from_path(found.folder) if found.folder else load_model(found.fields["extends"])
        notes = (*found.notes, *model.notes)
        return replace(model, name=name, source=source, notes=notes, adapter=found.adapter)
    model = _from_fields(dict(found.fields), document, name, source, trusted=False)
    return replace(
        model,
        notes=(*found.notes, *model.notes),
        quantization=found.quantization or model.quantization,
    )


def _from_document(document: Document, name: str, source: str, *, trusted: bool) -> Architecture:
    return _from_fields(_fields(document, trusted=trusted), document, name, source, trusted=trusted)


def _from_fields(
    own: dict[str, Any], document: Document, name: str, source: str, *, trusted: bool
) -> Architecture:
    name, source = own.get("name") or name, own.get("source") or source
    shape = _resolved(own, document, (document.file,))
    if "huggingface" in shape:
        from costsim.architectures.huggingface import read_config

        whole = "huggingface" not in document.value
        path = () if whole else ("huggingface",)
        return read_config(shape["huggingface"], document, name=name, source=source, path=path)
    if "vision" in shape:
        from costsim.architectures.vision.families import read_vision

        net = read_vision(shape["vision"], document, trusted=trusted)
        return Architecture(name, net, source=source)
    if not trusted:
        from costsim.architectures.spec import check_shape

        check_shape(shape, document)
    return Architecture(name, decoder(**shape), source=source)


def _fields(document: Document, *, trusted: bool) -> dict[str, Any]:
    """Return a description's fields; a whole config.json is the field `huggingface`."""
    value = document.value
    if not isinstance(value, dict):
        message = "a model's description must be a mapping of keys to values"
        raise SpecError(message, location=document.locate())
    fields = cast("dict[str, Any]", value)
    if "model_type" in fields or Path(document.file).name == "config.json":
        return {"huggingface": fields}
    if trusted:
        return fields
    from costsim.architectures.spec import ModelSpec

    return parse_as(document, ModelSpec).given()


def _resolved(own: Mapping[str, Any], document: Document, chain: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields that describe the model, with those of what it extends below its own."""
    shape = {key: value for key, value in own.items() if key not in _DETAILS}
    base = own.get("extends")
    if base is not None:
        below = _extended(base, document, chain)
        whole = next((key for key in _WHOLE if key in below), None)
        if whole is not None and not shape.keys() - {whole}:
            changes: dict[str, Any] = shape.get(whole) or {}
            return {whole: {**below[whole], **changes}}
        if whole is not None or shape.keys() & set(_WHOLE):
            form = f"under `{whole}:`" if whole is not None else "as fields of the model"
            message = f"what changes in `{base}` must be said {form}, as it is described there"
            raise SpecError(message, location=document.locate(("extends",)))
        shape = {**below, **shape}
    shape = {key: value for key, value in shape.items() if value is not None}
    whole = next((key for key in _WHOLE if key in shape), None)
    if whole is not None and len(shape) > 1:
        fields = ", ".join(f"`{key}`" for key in shape if key != whole)
        message = f"`{whole}` describes the whole model; {fields} cannot stand beside it"
        raise SpecError(message, location=document.locate((whole,), key=True))
    return shape


def _extended(base: str, document: Document, chain: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields of the catalog model or file that `document` extends."""
    identity = _identity(base)
    file = Path(document.file).parent / base
    if identity is not None and not _is_path(base):
        below, trusted = load_document(_folder() / f"{identity}.yaml"), True
    elif _is_path(base) or exists(file):
        file = file / "config.json" if is_folder(file) else file
        if str(file) in chain or len(chain) > _MAX_CHAIN:
            message = f"`{base}` extends itself through " + " → ".join(chain)
            raise SpecError(message, location=document.locate(("extends",)))
        try:
            below, trusted = load_document(file), False
        except SpecError as error:
            raise placed(error, document, ("extends",)) from None
    else:
        where = document.locate(("extends",))
        raise UnknownNameError(f"unknown model `{base}`", location=where, hint=_near(base))
    return _resolved(_fields(below, trusted=trusted), below, (*chain, below.file))
