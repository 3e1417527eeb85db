"""A model as a person writes it in YAML: short form, an extended catalog entry, or a config.json.

The short form's fields, their meaning and what contradicts are those of `decoder`; here their types
become strict, and a complaint gets its place in the file.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from textwrap import dedent
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from costsim.architectures.decoder import DecoderSpec, described
from costsim.architectures.decoder_parts import PARTS
from costsim.documents import Document
from costsim.errors import Problem, SpecError

Size = Annotated[int, Field(ge=1, le=10**9, strict=True)]
Count = Annotated[int, Field(ge=0, le=10**9, strict=True)]
Switch = Annotated[bool, Field(strict=True)]
_CONFIG = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _strict(record: type[Any], parts: Mapping[str, type[BaseModel]]) -> Iterator[tuple[str, Any]]:
    """Yield each field of a record with its strict type and its text; all may be left out."""
    body = ast.parse(dedent(inspect.getsource(record))).body[0]
    assert isinstance(body, ast.ClassDef)
    texts = {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in zip(body.body, body.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(text.value.value, str)
    }
    types: dict[str, Any] = {
        "Number": Size,
        "int": Count,
        "bool": Switch,
        "WindowRuns": list[tuple[Size | None, Size]],
        "Pairs": list[tuple[Size, Size]],
        **{part.__name__: part for part in parts.values()},
    }
    hints = get_type_hints(record, localns=types, include_extras=True)
    for field in fields(record):
        needed = record is not DecoderSpec and field.default is MISSING
        kind = hints[field.name] if needed else hints[field.name] | None
        default: Any = ... if needed else None
        yield field.name, (kind, Field(default, description=texts[field.name]))


class _Details(BaseModel):
    """A model: the numbers and switches of a decoder, or what it is taken from."""

    model_config = _CONFIG

    name: str | None = None
    """What the model is called; left out, the name of the file."""
    source: str | None = None
    """Where the numbers were read."""
    published_parameters: Annotated[int, Field(ge=1)] | None = None
    """The parameter count that the model's authors state."""
    extends: str | None = None
    """A catalog model or another file whose fields hold where this one says nothing."""
    huggingface: dict[str, Any] | None = None
    """The content of a Hugging Face config.json, instead of the fields below."""
    vision: dict[str, Any] | None = None
    """A net of images instead: `family`, and the fields of that family (see docs/architectures)."""

    def given(self) -> dict[str, Any]:
        """Return the fields that were written."""
        return self.model_dump(exclude_unset=True)


_PARTS: dict[str, type[BaseModel]] = {
    name: create_model(
        record.__name__, __config__=_CONFIG, __doc__=record.__doc__, **dict(_strict(record, {}))
    )
    for name, record in PARTS.items()
}
ModelSpec = create_model(
    "ModelSpec", __base__=_Details, __doc__=_Details.__doc__, **dict(_strict(DecoderSpec, _PARTS))
)


def check_shape(shape: Mapping[str, Any], document: Document) -> None:
    """Check that the fields of a short form agree with each other.

    Raises:
        SpecError: with every contradiction, at the field that shows it.
    """
    own = {name: shape[name] for name in DecoderSpec.__dataclass_fields__ if name in shape}
    needed = [field.name for field in fields(DecoderSpec) if field.default is MISSING]
    problems = [
        Problem(f"missing `{name}`", document.locate((name,)))
        for name in needed
        if name not in shape
    ]
    if not problems:
        spec = described(own)
        found = [((field,), text, hint) for field, text, hint in spec.problems()]
        for name in PARTS:
            part = getattr(spec, name)
            if part is not None:
                found += [((name, field), text, hint) for field, text, hint in part.problems()]
        problems = [Problem(text, document.locate(path), hint) for path, text, hint in found]
    if problems:
        raise SpecError(problems)
