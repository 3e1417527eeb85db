"""A traced module as a model's description: blocks for any batch, and any sequence it can take."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
)

from costsim.algebra import Number
from costsim.architectures.architecture import Architecture
from costsim.architectures.block import Block
from costsim.architectures.tensors import CacheTensor, Weight
from costsim.architectures.tracing.grouping import Group, blocks_of, groups_of, merged
from costsim.architectures.tracing.inputs import Dims, Example
from costsim.architectures.tracing.polynomial import (
    MAX_DEGREE,
    DiffersError,
    degree_of,
    interpolated,
)
from costsim.architectures.tracing.recorder import (
    Recorder,
    TooLongError,
    modules_of,
    parameters_of,
)
from costsim.architectures.tracing.running import fake_copy, fake_inputs, record
from costsim.architectures.workload import Workload
from costsim.errors import SpecError

BATCHES = tuple(range(2, MAX_DEGREE + 4))
LENGTHS = tuple(range(8, 8 * (MAX_DEGREE + 3), 8))
"""Batches and sequences that polynomials go through: short, as they say all that there is to say.
A batch of 1 is not among them, as PyTorch spares itself some copies there."""

MAX_OPERATIONS = 250_000
"""Operations after which a module is taken to run a loop over its tokens, and shown fewer."""

DIRECT = 3
"""Batches of one length that are traced one by one; more follow from the polynomial."""

_VALUES_NEEDED = (DataDependentOutputException, DynamicOutputShapeException)

Groups: TypeAlias = tuple[Group, ...]


def traced(
    module: nn.Module,
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any],
    name: str | None,
    batch_dims: Dims,
    sequence_dims: Dims,
) -> Architecture:
    """Trace a module once and return its architecture; see `costsim.from_torch`."""
    if not isinstance(cast(object, module), nn.Module):
        raise SpecError(f"a PyTorch module is needed, not a {type(module).__name__}")
    example = Example.of(arguments, keywords, batch_dims, sequence_dims)
    tracer = Tracer(module, example)
    tracer.groups(example.batch, example.tokens)
    label = name or type(module).__name__
    source = f"traced: {type(module).__module__}.{type(module).__qualname__}"
    return Architecture(label, TracedModel(tracer), source=source, notes=tracer.notes)


@dataclass(eq=False, slots=True)
class Tracer:
    """A module with an example of its inputs, and the traces made of it so far."""

    module: nn.Module
    example: Example
    experts: Mapping[nn.Module, tuple[int, int]] = field(default_factory=dict[Any, Any])
    known: dict[tuple[int, int], Groups] = field(default_factory=dict["tuple[int, int]", "Groups"])
    run: bool = False  # really run, as what it does depends on values

    @property
    def notes(self) -> tuple[str, ...]:
        """What the figures of this module hold for."""
        found = [
            "traced as eager PyTorch runs it; tensor, context and expert parallelism do not divide "
            "the inside of a layer",
        ]
        if self.run:
            found.append(
                "what the module does depends on values, so it was run with the inputs given: "
                "figures are theirs, and of no other shape"
            )
        elif not self.example.batch_dims:
            found.append("no input has a batch, so figures are of the inputs given")
        if self.example.tokens:
            found.append(f"traced with {self.example.tokens:,} tokens; other lengths when asked")
        else:
            found.append("no input counts tokens: a sample is one whatever the sequence")
        if not any(parameter.requires_grad for parameter in self.module.parameters()):
            found.append("no parameter is trained, so there is no backward pass")
        return tuple(found)

    def groups(self, batch: int, tokens: int) -> Groups:
        """Return what happens with `batch` samples of `tokens` tokens.

        Raises:
            SpecError: if the module cannot be run so.
        """
        if (batch, tokens) in self.known:
            return self.known[batch, tokens]
        if sum(1 for _, length in self.known if length == tokens) >= DIRECT:
            with suppress(DiffersError, TooLongError):
                return self.between(batch, tokens)
        try:
            return self._traced(batch, tokens)
        except TooLongError as long:
            try:
                found = self.between(batch, tokens, short=True)
            except (DiffersError, TooLongError):
                raise self._failure(batch, tokens, long) from long
        self.known[batch, tokens] = found
        return found

    def between(self, batch: Number, tokens: Number, *, short: bool = False) -> Groups:
        """Return what happens at sizes that are columns, symbols, or too long to trace (`short`).

        Raises:
            DiffersError: if the module does different things at different sizes.
        """
        lengths = LENGTHS if short or not isinstance(tokens, int) else (tokens,)
        first = lengths[0]
        degree = degree_of(lambda size: self._traced(size, first), BATCHES)
        through, beyond = BATCHES[: degree + 1], BATCHES[degree + 1]

        def at(size: Number, length: int) -> Groups:
            return interpolated([self._traced(b, length) for b in through], through, size)

        if len(lengths) == 1:
            return at(batch, first)
        degree = degree_of(lambda length: self._traced(through[0], length), lengths)
        along, check = lengths[: degree + 1], lengths[degree + 1]
        corner = interpolated([at(beyond, length) for length in along], along, check)
        if corner != self._traced(beyond, check):
            raise DiffersError("batch and sequence do not act apart")
        return interpolated([at(batch, length) for length in along], along, tokens)

    def _traced(self, batch: int, tokens: int) -> Groups:
        key = (batch, tokens)
        if key not in self.known:
            self.known[key] = self._trace(batch, tokens)
        return self.known[key]

    def _trace(self, batch: int, tokens: int) -> Groups:
        given = batch == self.example.batch and tokens == self.example.tokens
        if not given and self.run:
            raise SpecError(
                "what this module does depends on the values of its inputs, so figures are of the "
                f"traced shape alone: batch {self.example.batch}"
            )
        if not given and batch != self.example.batch and not self.example.batch_dims:
            raise SpecError(
                "no input of this module has a batch, so figures are of batch 1 alone",
                hint="`from_torch(…, batch_dims=…)` says which dimension counts samples",
            )
        module, mode = fake_copy(self.module)
        recorder = Recorder(module, MAX_OPERATIONS if self.example.tokens else None, self.experts)
        try:
            with mode:
                if given:
                    inputs = (self.example.arguments, dict(self.example.keywords))
                    arguments, keywords = fake_inputs(mode, inputs)
                else:
                    arguments, keywords = self.example.resized(batch, tokens)
                record(recorder, module, arguments, keywords)
        except TooLongError:
            raise
        except Exception as error:  # whatever the module's own code raises
            if given and isinstance(error, _VALUES_NEEDED) and _is_real(self.module):
                return self._really_run()
            raise self._failure(batch, tokens, error, recorder.where) from error
        return self._grouped(module, recorder)

    def _really_run(self) -> Groups:
        """Return what a copy of the module does with the inputs given, values and all."""
        module = copy.deepcopy(self.module)
        recorder = Recorder(module)
        with cast(Any, torch.random).fork_rng(devices=[]):
            record(recorder, module, self.example.arguments, self.example.keywords)
        self.run = True
        return self._grouped(module, recorder)

    def at_rest(self) -> Groups:
        """Return what the module holds, and what it does where that is known.

        A module that cannot be run has parameters all the same.
        """
        try:
            return next(iter(self.known.values()), None) or self.groups(
                self.example.batch, self.example.tokens
            )
        except SpecError:
            return self._grouped(self.module, Recorder(self.module))

    def _grouped(self, module: nn.Module, recorder: Recorder) -> Groups:
        return groups_of(
            recorder.sites.values(),
            _weights(module, recorder.lookups, self._active(module)),
            [path for path, _ in modules_of(module)],
        )

    def _active(self, module: nn.Module) -> dict[str, tuple[int, int]]:
        """Return the path of each module of experts with how many of how many a token uses."""
        return {
            path: self.experts[inner] for path, inner in modules_of(module) if inner in self.experts
        }

    def _failure(self, batch: int, tokens: int, error: Exception, where: str = "") -> SpecError:
        shape = f"batch {batch}" + (f" of {tokens:,} tokens" if self.example.tokens else "")
        place = f" in `{where}`" if where else ""
        reason = str(error).strip().partition("\n")[0] or "no reason given"
        return SpecError(
            f"{type(self.module).__name__} cannot be traced at {shape}{place}: "
            f"{type(error).__name__}: {reason}",
            hint="the module must run with such inputs; `batch_dims` and `sequence_dims` say which "
            "dimensions vary",
        )


@dataclass(frozen=True, slots=True)
class TracedModel:
    """A description whose blocks are those of a trace."""

    tracer: Tracer
    context_limit: Number | None = None

    @property
    def usual_workload(self) -> Workload:
        """The inputs that the module was given."""
        example = self.tracer.example
        return Workload(example.batch, max(example.tokens, 1))

    def blocks_at_rest(self) -> tuple[Block, ...]:
        """Return the blocks as they are whatever passes through them."""
        groups = self.tracer.at_rest()
        return blocks_of(groups, merged([groups]))

    def blocks(self, workload: Workload) -> tuple[Block, ...]:
        """Return the blocks of the module as it works on `workload`.

        Columns and symbols are polynomials through traces of small sizes.

        Raises:
            SpecError: for a workload that was not and cannot be traced.
        """
        batch, tokens = _whole(workload.batch), _whole(workload.tokens)
        context = _whole(workload.kv_tokens)
        cached = (
            isinstance(tokens, int) and tokens == 1 and isinstance(context, int) and context > 1
        )
        for asked, what in (
            (workload.generates or cached, "cache"),
            (workload.image is not None, "other size of image than that of its inputs"),
        ):
            if asked:
                message = f"a traced module knows no {what}"
                raise SpecError(message, hint="trace it with such inputs")
        # A rank of context parallelism has a part of the tokens, but a trace is not divided.
        tokens = context if self.tracer.example.tokens else 0
        if isinstance(batch, int) and isinstance(tokens, int):
            groups = self.tracer.groups(batch, tokens)
            return blocks_of(groups, merged([groups]))
        try:
            groups = self.tracer.between(batch, tokens)
        except (DiffersError, TooLongError) as error:
            raise SpecError(
                f"what {type(self.tracer.module).__name__} does changes with the size of its "
                f"inputs ({error}), so it has no formula; ask for one size at a time"
            ) from error
        known = self.tracer.known
        seen = [known[key] for key in known if len(known[key]) == len(groups)]
        return blocks_of(groups, merged(seen))

    def cache(self, batch: Number, tokens: Number) -> tuple[tuple[CacheTensor, Number], ...]:
        """Return nothing: what a module would keep while generating is not in its trace."""
        return ()


def _weights(
    module: nn.Module, lookups: set[str], active: Mapping[str, tuple[int, int]]
) -> dict[str, list[Weight]]:
    """Return the parameters by the path of the module that holds them, shared ones tied."""
    first: dict[int, str] = {}
    tables = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    found: dict[str, list[Weight]] = {}
    for name, parameter in parameters_of(module, shared=True):
        path = name.rpartition(".")[0]
        owner = first.setdefault(id(parameter), name)
        elements = parameter.numel()
        used = next((share for inside, share in active.items() if _is_in(path, inside)), None)
        weight = Weight(
            name,
            elements,
            tied_to=None if owner == name else owner,
            matrix=parameter.dim() >= 2,
            lookup=owner == name and (owner in lookups or id(parameter) in tables),
            active_elements=None if used is None else elements * used[0] // used[1],
            shapes=(tuple(parameter.shape),),
        )
        found.setdefault(path, []).append(weight)
    return found


def _is_in(path: str, outer: str) -> bool:
    return path == outer or path.startswith(f"{outer}.")


def _is_real(module: nn.Module) -> bool:
    tensors = [*module.parameters(), *module.buffers()]
    return not any(tensor.is_meta or isinstance(tensor, FakeTensor) for tensor in tensors)


def _whole(value: Number) -> Number:
    """Return a number or a column of one value as an `int`, anything else as it is."""
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    try:
        import numpy as np

        unique: Any = np.unique(np.asarray(value, float))
    except (TypeError, ValueError):
        return value  # a symbol
    return int(unique[0]) if unique.size == 1 and unique[0] == int(unique[0]) else value
