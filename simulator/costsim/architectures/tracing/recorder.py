"""Notes, by module, the kernels of both passes of a module and what autograd keeps between them."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.modules import module as module_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from costsim.architectures.tensors import Storage
from costsim.architectures.tracing.kernels import FORMULAS, FREE, GATHERS, LOOKUPS
from costsim.architectures.work import Direction, Gemm, GroupedGemm, Work

_TORCH = str(Path(torch.__file__).parent)
_AUTOGRAD, _ENGINE = cast(Any, torch.autograd), cast(Any, torch)._C


class TooLongError(Exception):
    """A module runs more operations than are worth following one by one."""


@dataclass(slots=True)
class Pass:
    """What was seen of one site in one direction."""

    products: list[tuple[Work, str]] = field(default_factory=list["tuple[Work, str]"])
    elements: int = 0  # read and written by everything else
    launches: int = 0

    def __bool__(self) -> bool:
        return bool(self.products or self.launches)


@dataclass(slots=True)
class Site:
    """What one call of a module did itself, outside the modules that it called.

    Products of activations with each other (attention's) are a site of their own.
    """

    path: str
    call: int  # how many times the module had been called before
    weighted: bool = False  # whether there are products with parameters
    unweighted: bool = False  # whether this is the site of the products without
    passes: dict[Direction, Pass] = field(
        default_factory=lambda: {"forward": Pass(), "backward": Pass()}
    )
    kept: dict[Storage, int] = field(default_factory=dict["Storage", int])  # elements
    source: int = 0  # elements of the first activation that it reads


@dataclass(frozen=True, slots=True)
class Node:
    """The forward operation behind a node of the autograd graph."""

    site: Site
    weighted: bool
    line: str
    experts: int = 0  # that share out the rows of its product, where it stands for many


class Recorder(TorchDispatchMode):
    """Notes every operation under the module that runs it, and its gradient under the same.

    An operation of the backward pass belongs to the autograd node that runs it, which bears the
    number that the operation of the forward pass was given when it was differentiated.
    """

    def __init__(
        self,
        module: nn.Module,
        limit: int | None = None,
        experts: Mapping[nn.Module, tuple[int, int]] | None = None,
    ) -> None:
        """Get ready to record.

        Args:
            module: what will run.
            limit: operations after which to stop.
            experts: modules whose products with the weights of one expert stand for all experts,
                with how many a token is sent to, of how many. May grow while recording.
        """
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.limit = limit
        self.experts: Mapping[nn.Module, tuple[int, int]] = {} if experts is None else experts
        self.names = {id(inner): path for path, inner in modules_of(module)}
        self.parameters = {
            _storage(parameter): name
            for name, parameter in parameters_of(module)
            if parameter.numel()
        }
        self.main_dtype = _main_dtype(module)
        self.lookups: set[str] = set()  # parameters that are tables
        self.sites: dict[tuple[str, int, bool], Site] = {}  # in the order of execution
        self.direction: Direction = "forward"
        self._nodes: dict[int, Node] = {}
        self._entered: dict[str, int] = {}
        self._stack: list[tuple[str, int, nn.Module]] = [("", 0, module)]
        self._saved: dict[int, Tensor] = {}
        self._longer: dict[int, int] = {}  # bytes that a fake kernel does not allocate, but a CPU
        self._operations = 0
        self._last: Node | None = None
        self._turn: tuple[int, int] = (-1, 0)  # number of a node, products it has run

    @property
    def where(self) -> str:
        """Path of the module that runs, or that raised."""
        return self._stack[-1][0]

    @contextmanager
    def following(self) -> Generator[None]:
        """Follow the calls of modules, and what autograd saves of them."""

        def enter(module: nn.Module, inputs: Any) -> None:
            path = self.names.get(id(module))
            if path is not None:
                call = self._entered.get(path, 0)
                self._entered[path] = call + 1
                self._stack.append((path, call, module))

        def leave(module: nn.Module, inputs: Any, outputs: Any) -> None:
            if id(module) in self.names:
                self._stack.pop()

        before = module_hooks.register_module_forward_pre_hook(enter)
        after = module_hooks.register_module_forward_hook(leave)
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor):
                yield
        finally:
            before.remove()
            after.remove()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func.namespace != "prim":
            self._note(func, args, kwargs or {}, output)
        return output

    def _note(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any):
        name = func._schema.name
        formula = FORMULAS.get(name)
        inputs = list(_tensors(args))
        held = [value for value in inputs if _storage(value) in self.parameters]
        node = self._node(formula is not None, bool(held))
        if func.is_view or name in FREE:
            return
        self._operations += 1
        if self.limit is not None and self._operations > self.limit:
            raise TooLongError(f"it runs more than {self.limit:,} operations")
        if name in LOOKUPS and held:
            self.lookups.add(self.parameters[_storage(held[0])])
        if name == "aten::_embedding_bag" and output[1].numel():
            self._longer[_storage(output[1])] = output[1].itemsize
        if not node.site.source:
            read = (
                v for v in inputs if v.is_floating_point() and _storage(v) not in self.parameters
            )
            node.site.source = next((value.numel() for value in read), 0)
        found = node.site.passes[self.direction]
        if formula is not None:
            # Forward, a factor is a parameter or not; backward, a product without one is the
            # gradient of the parameter, if the forward product had one.
            whole = bool(held) or (self.direction == "backward" and not node.weighted)
            for work in formula(_named(func, args, kwargs, output)):
                if isinstance(work, Gemm) and node.experts:
                    ragged = "m" if whole else "k"
                    work = GroupedGemm(work.m, work.n, work.k, node.experts, ragged)
                elif isinstance(work, Gemm) and not whole:
                    work = replace(work, weights=False)
                found.products.append((work, node.line))
            return
        written = sum(value.numel() for value in _tensors((output,)))
        read = written if name in GATHERS else sum(value.numel() for value in inputs)
        found.elements += read + written
        found.launches += 1

    def _node(self, product: bool, weighted: bool) -> Node:
        """Return the node that the running operation belongs to."""
        if self.direction == "backward":
            return self._backward_node(product)
        path, call, module = self._stack[-1]
        site = self._site(path, call, unweighted=product and not weighted)
        site.weighted |= product and weighted
        number = _AUTOGRAD._get_sequence_nr() - 1  # of the node made for this operation
        _, experts = self.experts.get(module, (0, 0)) if product and weighted else (0, 0)
        node = Node(site, weighted, _line() if product else "", experts)
        if product:
            self._nodes[number] = node
        else:
            # Operations that are not differentiated find the number of the last that was.
            self._nodes.setdefault(number, node)
        return node

    def _backward_node(self, product: bool) -> Node:
        running: Any = _ENGINE._current_autograd_node()
        number = -1 if running is None else running._sequence_nr()
        node = self._nodes.get(number, self._last)
        if node is None:
            node = Node(self._site("", 0), False, "")
        self._last = node
        if not product:
            return node
        turn = self._turn[1] + 1 if self._turn[0] == number else 0
        self._turn = (number, turn)
        return replace(node, line=f"{node.line}#{turn}")

    def _site(self, path: str, call: int, *, unweighted: bool = False) -> Site:
        key = (path, call, unweighted)
        site = self.sites.get(key)
        if site is None:
            site = self.sites[key] = Site(path, call, unweighted=unweighted)
        return site

    def _keep(self, tensor: Tensor) -> Tensor:
        """Note a tensor that autograd saves, once for all tensors that share its storage."""
        storage = _storage(tensor)
        if storage not in self.parameters and storage not in self._saved:
            self._saved[storage] = tensor  # alive, so that its number is not given out again
            kept = self._site(*self._stack[-1][:2]).kept
            kind, width = _format(tensor, self.main_dtype)
            size = tensor.untyped_storage().nbytes()
            if isinstance(tensor, FakeTensor):
                size += self._longer.get(storage, 0)
            kept[kind] = kept.get(kind, 0) + size // width
        return tensor


def modules_of(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return every module in `module`, itself included, with its path; shared ones once."""
    return list(cast(Any, module).named_modules())


def parameters_of(module: nn.Module, *, shared: bool = False) -> list[tuple[str, nn.Parameter]]:
    """Return every parameter with its name; `shared` ones under each of their names."""
    return list(module.named_parameters(remove_duplicate=not shared))


def _named(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Any:
    """Return the arguments of a call by name, with shapes in place of tensors."""
    found: dict[str, Any] = {"output": _shaped(output)}
    for index, argument in enumerate(func._schema.arguments):
        if index < len(args):
            found[argument.name] = _shaped(args[index])
        else:
            value = kwargs.get(argument.name, argument.default_value)
            found[argument.name] = _shaped(value)
    return found


def _shaped(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else value


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(cast("list[Any]", value))


def _storage(tensor: Tensor) -> int:
    return cast(Any, tensor.untyped_storage())._cdata


def _line() -> str:
    """Return where in the code of the model, not of PyTorch, the running operation stands.

    It tells the turns of a loop, which are one kind of work, from unlike work of one size.
    """
    frame: Any = cast(Any, sys)._getframe(4)
    while frame is not None and frame.f_code.co_filename.startswith(_TORCH):
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _main_dtype(module: nn.Module) -> torch.dtype:
    """Return the format of most of the parameters."""
    sizes: dict[torch.dtype, int] = {}
    for parameter in module.parameters():
        sizes[parameter.dtype] = sizes.get(parameter.dtype, 0) + parameter.numel()
    return max(sizes, key=sizes.__getitem__) if sizes else torch.float32


def _format(tensor: Tensor, main: torch.dtype) -> tuple[Storage, int]:
    """Return how an element is held, and the bytes that it takes."""
    if tensor.dtype == main:
        return "compute", tensor.itemsize
    if tensor.itemsize % 8 == 0:
        return "index", 8
    return ("float32", 4) if tensor.itemsize == 4 else ("mask", 1)
