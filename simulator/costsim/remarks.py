"""What a person must know beside an answer; a plain text among them is an assumption."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

RemarkKind: TypeAlias = Literal["assumption", "fallback", "excluded", "warning"]


class Remark(str):
    """A text that knows what kind of remark it is, from where it is made to where it is read."""

    __slots__ = ()
    kind: ClassVar[RemarkKind] = "assumption"


class Fallback(Remark):
    """Something that was not known, and what was taken in its place."""

    __slots__ = ()
    kind = "fallback"


class Excluded(Remark):
    """Something that the answer leaves out."""

    __slots__ = ()
    kind = "excluded"


class Caution(Remark):
    """Something that may turn out otherwise than the answer says."""

    __slots__ = ()
    kind = "warning"


def kind_of(text: str) -> RemarkKind:
    """Return the kind of a remark."""
    return text.kind if isinstance(text, Remark) else "assumption"
