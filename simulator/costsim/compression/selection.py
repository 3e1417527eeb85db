"""Which matrices a recipe means: by what they are, or by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

from costsim.architectures.block import Block
from costsim.architectures.operators import Convolution, Experts, Linear, Operator
from costsim.architectures.operators.wrapping import Wrapped

Kind: TypeAlias = Literal["matrices", "linear", "layers", "experts", "convolutions"]
"""`matrices`: every matrix but routers; `linear`: those of linear layers, routers included;
`layers`: `matrices` inside layers, so neither stem nor head; `experts`: of mixtures alone."""

_MATRICES = 3  # dimensions of a stack of matrices, such as experts'; filters of images have more

# A projection as reference code calls it -> operators, and the place among their columns.
_QUERY = (("attention.query_key_value", 0), ("attention.query", None), ("*_attention.query", None))
_KEY = (("attention.query_key_value", 1), ("*_attention.key", None))
_VALUE = (("attention.query_key_value", 2), ("*_attention.value", None))
_OUTPUT = (("attention.output", None), ("*_attention.output", None))
_TOGETHER = (("attention.query_key_value", None), ("*_attention.query_key_value", None))
_UP = (("feed_forward.up", None), ("feed_forward.*.up", None))
_DOWN = (("feed_forward.down", None), ("feed_forward.*.down", None))
_Targets: TypeAlias = tuple[tuple[str, int | None], ...]
PROJECTIONS: dict[str, _Targets] = {
    **dict.fromkeys(("q_proj", "query", "q"), _QUERY),
    **dict.fromkeys(("k_proj", "key", "k"), _KEY),
    **dict.fromkeys(("v_proj", "value", "v"), _VALUE),
    **dict.fromkeys(("o_proj", "o", "out_proj"), _OUTPUT),
    **dict.fromkeys(
        ("c_attn", "qkv_proj", "query_key_value", "W_pack", "Wqkv", "in_proj"), _TOGETHER
    ),
    **dict.fromkeys(("c_fc", "fc1", "dense_h_to_4h", "gate_up_proj"), _UP),
    **dict.fromkeys(("fc2", "dense_4h_to_h"), _DOWN),
    "c_proj": (*_OUTPUT, *_DOWN),
    "dense": (*_OUTPUT, *_UP, *_DOWN),
    "gate_proj": (("feed_forward.up", 0), ("feed_forward.*.up", 0)),
    "up_proj": (("feed_forward.up", -1), ("feed_forward.*.up", -1)),
    "down_proj": (("feed_forward.down", None), ("feed_forward.*.down", None)),
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Operators of a kind, and of those whose names match one of `names`, if there are any.

    A matrix that shares a look-up table's storage stays as the table is, unless `untied` gives it
    a copy of its own.
    """

    kind: Kind = "matrices"
    names: tuple[str, ...] = ()
    untied: bool = False

    def holds(self, operator: Operator, block: Block) -> bool:
        """Return whether `operator`, which stands in `block`, is meant."""
        bare = unwrapped(operator)
        if not any(_is_matrix(weight, self.untied) for weight in bare.weights()):
            return False
        if self.names and not any(self._named(name, operator, block) for name in self.names):
            return False
        convolution = is_convolution(bare)
        if self.kind == "convolutions":
            return convolution
        if self.kind == "linear":
            return not convolution
        if self.kind == "experts":
            return isinstance(bare, Experts)
        if bare.role == "router":
            return False
        return self.kind == "matrices" or block.part == "layer"

    @staticmethod
    def _named(pattern: str, operator: Operator, block: Block) -> bool:
        names = (operator.name, f"{block.name}.{operator.name}")
        targets = PROJECTIONS.get(pattern, ((pattern, None),))
        return any(fnmatchcase(name, target) for target, _ in targets for name in names)


EVERYTHING = Selection()
LAYERS = Selection("layers")


def _is_matrix(weight: object, untied: bool) -> bool:
    matrix = getattr(weight, "matrix", False) and not getattr(weight, "lookup", False)
    return matrix and (untied or getattr(weight, "tied_to", None) is None)


def unwrapped(operator: Operator) -> Operator:
    """Return what a wrapped operator works as."""
    while isinstance(operator, Wrapped):
        operator = operator.inner
    return operator


def is_convolution(operator: Operator) -> bool:
    """Return whether an operator's matrices are filters, also one that was traced."""
    if isinstance(operator, Convolution):
        return True
    return any(len(shape) > _MATRICES for weight in operator.weights() for shape in weight.shapes)


def projections(operator: Linear, names: tuple[str, ...]) -> Iterator[int]:
    """Yield the places, among the columns of `operator`, of the projections that `names` mean."""
    places = range(len(operator.columns))
    meant: set[int] = set()
    for name in names:
        for target, place in PROJECTIONS.get(name, ((name, None),)):
            if fnmatchcase(operator.name, target):
                meant |= set(places) if place is None else {place % len(operator.columns)}
    yield from sorted(meant)


def names_of(operator: Operator) -> Iterator[str]:
    """Yield the names by which `projections` knows an operator."""
    if isinstance(operator, Linear):
        yield operator.name
        for name, targets in PROJECTIONS.items():
            if any(fnmatchcase(operator.name, target) for target, _ in targets):
                yield name
