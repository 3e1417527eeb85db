"""What every scenario says, whatever its workload, as written in YAML. Unknown keys are errors."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, TypeAlias, cast, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from costsim.costs.footprint import HOURS_OF_A_DAY
from costsim.quantities import (
    Bytes,
    BytesPerSecond,
    GramsPerKwh,
    Kilograms,
    LitresPerKwh,
    Ratio,
    Seconds,
    Usd,
    UsdPerHour,
    UsdPerKwh,
    Watts,
)

PositiveInt = Annotated[int, Field(ge=1, strict=True)]


def as_tuple(value: object) -> object:
    """Let a single value stand for a list of one."""
    if isinstance(value, (list, tuple)):
        return cast("list[object]", value)
    return (value,)


def one_or_more(item: dict[str, Any]) -> tuple[Any, ...]:
    """Return the annotations of an axis: one value, or the list to search."""
    listed = {"type": "array", "items": item, "minItems": 1}
    return (
        BeforeValidator(as_tuple),
        Field(min_length=1),
        WithJsonSchema({"anyOf": [item, listed]}),
    )


Axis = Annotated[tuple[PositiveInt, ...], *one_or_more({"type": "integer", "minimum": 1})]
Switch = Annotated[tuple[StrictBool, ...], *one_or_more({"type": "boolean"})]
Names = Annotated[tuple[str, ...], *one_or_more({"type": "string"})]


def _leaves(annotation: Any) -> set[Any]:
    """Return the types that an annotation is made of."""
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        parts = parts[:1]  # what follows are constraints
    return {leaf for part in parts for leaf in _leaves(part)} if parts else {annotation}


class Spec(BaseModel):
    """Base of everything a user writes."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any) -> Any:
        """Write `true` out as text where a number belongs; pydantic would take it for 1."""
        if not isinstance(value, dict):
            return value
        given = cast("dict[Any, Any]", value)
        wrong = {
            key: str(given[key]).lower()
            for name, one in cls.model_fields.items()
            if isinstance(given.get(key := one.alias or name), bool)
            and (leaves := _leaves(one.annotation)) & {int, float}
            and not leaves & {bool, str, Any}
        }
        return {**given, **wrong}


class ListPrice(Spec):
    """A price from the catalog (`costsim prices`)."""

    provider: str | None = None
    """Provider; left out, the median of those that sell whole servers."""
    region: str | None = None
    """A region code of the provider."""
    term: Literal["on_demand", "spot", "reserved_1y", "reserved_3y"] = "on_demand"
    """How the devices are rented."""


class Owned(Spec):
    """What owning the devices takes, instead of renting them; only the purchase has a default."""

    purchase: Usd | None = None
    """What one device costs with its share of the server, such as `32000 $`; left out, the newest
    published price."""
    years: Annotated[float, Field(gt=0, le=20)]
    """Years of service."""
    utilization: Annotated[Ratio, Field(gt=0, le=1)]
    """Used hours over all hours, such as `70 %`."""
    electricity: UsdPerKwh
    """Price of electricity, such as `0.08 $/kWh`."""
    network: Ratio
    """Network and storage of the cluster over the price of the servers, such as `15 %`."""
    residual: Annotated[Ratio, Field(lt=1)]
    """Value left after the years of service over the purchase price."""
    interest: Ratio
    """Cost of capital a year on the value still bound."""
    operation: Ratio
    """Yearly staff, space and repair over the purchase price."""


class Site(Spec):
    """Where the machine stands: what a kilowatt-hour emits and what the building adds."""

    grid: str | None = None
    """A code or name of hardware_specs/grids, a cloud region, or a number such as `25 g/kWh`; left
    out, that of the price's region."""
    pue: Annotated[float, Field(ge=1, le=3)] | None = None
    """Power usage effectiveness; left out, that of the price's provider and region where published,
    else the median of hyperscale fleets."""
    device_power: Watts | None = None
    """Power of one device at work with its share of the node, such as `900 W`; left out, from
    its node's rating or its TDP."""
    market: GramsPerKwh | None = None
    """Market-based emissions of the electricity, after certificates, such as `0 g/kWh`; left out,
    what the provider publishes."""
    grid_profile: tuple[Annotated[float, Field(ge=0)], ...] | None = None
    """Emissions of the grid by hour of the day, 24 numbers from midnight, of any scale; left out,
    the same at every hour."""
    water: LitresPerKwh | None = None
    """Water of cooling over the energy of the machines (WUE), such as `0.15 L/kWh`; left out, what
    the provider publishes."""
    embodied: Kilograms | None = None
    """Emissions of making one device with its share of the server, such as `318 kg`; left out, what
    is published of the device."""
    lifetime: Annotated[Seconds, Field(gt=0)] | None = None
    """Time of use that those are spread over, such as `4 years`; left out, five years."""

    @field_validator("grid_profile")
    @classmethod
    def _day(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and (len(value) != HOURS_OF_A_DAY or not sum(value)):
            raise ValueError(f"24 numbers belong here, not all of them 0; these are {len(value)}")
        return value


class Limits(Spec):
    """What may not be exceeded: a plan beyond them is reported and ends with exit code 4."""

    cost: Usd | None = None
    """Budget of the run, or of the months of a service, such as `5 M$`."""
    deadline: Seconds | None = None
    """Wall time of the run, failures included, such as `40 days`."""
    probability: Annotated[Ratio, Field(ge=0.5, lt=1)] = 0.5
    """With which budget and deadline are to be kept, such as `90 %`; left out, that of the central
    figures."""
    quality_loss: Ratio | None = None
    """Largest published loss of quality by compression; options of which it is unknown are then not
    chosen."""


class MadeOn(Spec):
    """What calibration, retraining and distillation of compressed models run on."""

    system: str | None = None
    """Id of a system; left out, the first that the workload runs on."""
    devices: PositiveInt = 64
    """Devices of a training run; doubled where the model does not fit."""
    global_batch: PositiveInt = 512
    """Sequences in a step."""
    sequence: PositiveInt = 2048
    """Tokens in a sequence."""


Unknown: TypeAlias = Literal["tokens", "devices", "deadline", "budget", "parameters", "load"]
"""What a backwards question can ask for."""

OneOption: TypeAlias = str | dict[str, Any] | tuple[str | dict[str, Any], ...]


def _as_options(value: object) -> object:
    """Let a list stand for recipes in a row within the list of options."""
    if not isinstance(value, (list, tuple)):
        return (value,)
    items = cast("list[object]", value)
    return tuple(tuple(cast("list[object]", i)) if isinstance(i, list) else i for i in items)


Options = Annotated[tuple[OneOption, ...], BeforeValidator(_as_options), Field(min_length=1)]


class Change(Spec):
    """Figures of the devices and links in place of printed ones, for hardware that is not yet.

    Price and measured efficiency stay those of the printed device.
    """

    peak: Annotated[Ratio, Field(gt=0)] | None = None
    """Every dense peak over the printed one, such as `1.5` or `150 %`."""
    memory: Annotated[Bytes, Field(gt=0)] | None = None
    """Memory of a device, such as `192 GB`."""
    memory_bandwidth: Annotated[BytesPerSecond, Field(gt=0)] | None = None
    """Of the memory of a device, such as `8 TB/s`."""
    scale_up: Annotated[BytesPerSecond, Field(gt=0)] | None = None
    """Innermost links (NVLink) of a device, one direction, such as `900 GB/s`."""
    scale_out: Annotated[BytesPerSecond, Field(gt=0)] | None = None
    """Outermost links (the network) of a device, one direction, such as `800 Gb/s`."""
    power: Annotated[Watts, Field(gt=0)] | None = None
    """Rated power of a device, such as `1000 W`; it also bounds the clock under load."""


class Machines(Spec):
    """What it may run on; each kind of workload adds its own keys."""

    system: Names
    """Ids or aliases of systems or accelerators to compare (`costsim hardware` lists them)."""
    change: Change | None = None
    """Figures of all of them in place of printed ones."""


class Scenario(Spec):
    """What a scenario says whatever it plans; each kind of workload adds its own keys."""

    name: str
    """Title of the report."""
    model: str | dict[str, Any]
    """Catalog name, path to a config.json or YAML from the scenario's folder, or a description."""
    compression: Options = ("none",)
    """Options to compare: recipes, formats or patterns, joined by `+` or listed where one follows
    another; `none`."""
    hardware: Machines
    """What it may run on."""
    making: MadeOn = MadeOn()
    """What compressed models are made on."""
    price: UsdPerHour | ListPrice = ListPrice()
    """Dollars per device-hour, such as `2.5 $/h`, or a catalog price."""
    prices: Names = ()
    """Price lists of one's own, laid over the catalogue: CSV files or folders of `<provider>.csv`
    from the scenario's folder, in the columns of hardware_specs/prices/cloud."""
    own: Owned | None = None
    """Owning the devices: the price of a device-hour is then what it costs their owner."""
    site: Site = Site()
    """Where the machine stands."""
    limits: Limits = Limits()
    """Budget, deadline and quality."""
    objective: str | tuple[str, ...] | dict[str, Annotated[float, Field(gt=0)]] | None = None
    """What to have least of within the limits: one of cost, cost_p90, time, time_p90, energy,
    carbon, devices, memory, tpot, ttft, latency; several in order, where a further one decides
    between ways within 1 % of each other; or several with weights, such as `{cost: 2, time: 1}`:
    the least product of the figures to those powers. Left out, cost, with the fastest strategy of
    all numbers of devices."""
    solve_for: Unknown | None = None
    """What `costsim solve` asks of it; `costsim plan` plans what is stated."""
    start: date | None = None
    """First day of the run or the service, such as `2027-01-15`; gives the plan a cash flow."""
    cost_centers: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Who pays which lines of the budget, such as `{platform: [Compute], research: [Staff]}`."""
    currency: str | None = None
    """Code of a currency that the budget is shown in beside dollars, such as `EUR`, at the rates of
    hardware_specs/prices/currencies.yaml; amounts may be stated in it too (`2 EUR/h`)."""
    calibration: str | None = None
    """Overlay file of `costsim calibrate`, from the scenario's folder."""

    @property
    def most_devices(self) -> int:
        """Devices that the systems it names are to have; 1 where replicas decide."""
        return 1
