"""A scenario that compares compressed models, as written in YAML."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import BeforeValidator, Field, WithJsonSchema

from costsim.planning.scenario import (
    Axis,
    ListPrice,
    PositiveInt,
    Spec,
    Training,
)
from costsim.planning.serving_scenario import Serving
from costsim.quantities import Ratio, Seconds, Usd, UsdPerHour

OneOption: TypeAlias = str | dict[str, Any] | tuple[str | dict[str, Any], ...]


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Systems = Annotated[
    tuple[str, ...],
    BeforeValidator(_as_tuple),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


def _as_options(value: object) -> object:
    """Let a list stand for recipes in a row within the list of options."""
    if not isinstance(value, (list, tuple)):
        return (value,)
    items = cast("list[object]", value)
    return tuple(tuple(cast("list[object]", i)) if isinstance(i, list) else i for i in items)


Options = Annotated[tuple[OneOption, ...], BeforeValidator(_as_options), Field(min_length=1)]


class Passes(Spec):
    """Samples that pass forward once: images to classify, texts to encode."""

    kind: Literal["forward"]
    requests_per_s: Annotated[float, Field(gt=0)]
    """Samples a second, at the busiest time."""
    sequence: PositiveInt = 512
    """Tokens of a text; of no effect on images."""
    mean_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Mean rate over that of the busiest time."""
    latency: Seconds | None = None
    """Longest time of a batch, such as `20 ms`."""


class ServedOn(Spec):
    """What it may run on."""

    system: Systems
    """Ids of systems or accelerators to compare."""
    replica_devices: Axis | None = None
    """Devices of a replica; left out, powers of two up to a node."""
    devices: PositiveInt | None = None
    """Devices of a training run."""


class MadeOn(Spec):
    """What calibration, retraining and distillation run on."""

    system: str | None = None
    """Id of a system; left out, the first that serves."""
    devices: PositiveInt = 64
    """Devices of a training run; doubled where the model does not fit."""
    global_batch: PositiveInt = 512
    """Sequences in a step."""
    sequence: PositiveInt = 2048
    """Tokens in a sequence."""


class ComparedLimits(Spec):
    """What may not be exceeded."""

    cost: Usd | None = None
    """Budget of making and serving."""
    quality_loss: Ratio | None = None
    """Largest published loss of quality; options of which it is unknown are then not chosen."""


class CompressionScenario(Spec):
    """Options of compression for a model, compared in what they cost."""

    name: str
    """Title of the report."""
    model: str | dict[str, Any]
    """Catalog name, path to a config.json or YAML from the scenario's folder, or a description."""
    compression: Options
    """Recipes, formats or patterns, joined by `+` or listed where one follows another; `none`."""
    workload: Annotated[Serving | Passes | Training, Field(discriminator="kind")]
    """What is done with it: requests served, samples passed forward, or training."""
    hardware: ServedOn
    """What it may run on."""
    months: Annotated[float, Field(gt=0)] = 12.0
    """How long it is served; of no effect on training."""
    making: MadeOn = MadeOn()
    """What the compressed models are made on."""
    price: UsdPerHour | ListPrice = ListPrice()
    """Dollars per device-hour, such as `2.5 $/h`, or a catalog price."""
    limits: ComparedLimits = ComparedLimits()
    """Budget and quality."""
