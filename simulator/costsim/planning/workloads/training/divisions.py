"""What stated degrees of parallelism have to divide, and which fit instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from costsim.planning.lookup import Lookup
from costsim.planning.workloads.training.spec import StrategyChoices, TrainingScenario
from costsim.training.space import Limits


@dataclass(frozen=True, slots=True)
class _Axis:
    """What the values of one axis have to divide: `whole` where it is given, and the devices."""

    name: str
    whole: int | None = None
    what: str = ""
    devices: bool = True
    most: int | None = None
    also: tuple[int, ...] = ()  # it divides these too, or is a multiple of them (repeated heads)

    def trouble(self, value: int, counts: Sequence[int]) -> str:
        """Return what is wrong with a value; nothing where it can be legal."""
        if self.whole is not None and self.whole % value:
            return f"{self.name} = {value} does not divide {self.what}"
        for also in self.also:
            if also % value and value % also:
                return f"{self.name} = {value} does not divide the {also} key-value heads"
        if self.most is not None and value > self.most:
            return f"{self.name} = {value} is more than {self.what}"
        if self.devices and not any(count % value == 0 for count in counts):
            counted = " or ".join(f"{count:,}" for count in counts)
            return f"{self.name} = {value} does not divide the {counted} devices"
        return ""


def note_divisions(scenario: TrainingScenario, limits: Limits, lookup: Lookup) -> None:
    """Note every stated degree that can never be legal, by what it has to divide."""
    devices = scenario.hardware.devices
    counts = devices if isinstance(devices, tuple) else (scenario.hardware.at_most,)
    batch = f"the global batch of {limits.global_batch:,}"
    layers, experts = f"the {limits.depth} layers", f"the {limits.experts} experts"
    heads = f"the {limits.heads} attention heads"
    pieces: int | None = None
    if limits.images:
        layers, pieces = "a net of images, which is not cut into stages", 1
        heads = heads if limits.heads > 1 else "a net of images, whose convolutions stay whole"
    axes = (
        _Axis("tp", limits.heads, heads, also=limits.groups),
        _Axis("pp", pieces, layers, most=limits.depth),
        _Axis("vp", limits.depth, layers, devices=False),
        _Axis("dp", limits.global_batch, batch),
        _Axis("ep", limits.experts, experts if limits.experts > 1 else "a model without experts"),
        _Axis("micro_batch", limits.global_batch, batch, devices=False),
    )
    places: list[tuple[tuple[str | int, ...], StrategyChoices]] = [
        (("strategy",), scenario.strategy),
        *((("compare", index), choice) for index, choice in enumerate(scenario.compare)),
    ]
    for place, choice in places:
        # Where positions are exchanged for heads, and not otherwise, ranks divide the heads too.
        switched = choice.cp_exchange == ("all_to_all",)
        ring = _Axis("cp", pieces, "a net of images, which have no sequence")
        for axis in (*axes, _Axis("cp", limits.heads, heads) if switched else ring):
            for value in getattr(choice, axis.name) or ():
                message = axis.trouble(value, counts)
                if not message:
                    continue
                top = min(axis.whole or max(counts), 4096)
                fitting = [d for d in range(1, top + 1) if not axis.trouble(d, counts)][:12]
                hint = "use one of " + ", ".join(map(str, fitting)) if fitting else None
                lookup.note(message, (*place, axis.name), hint)


def note_drives(scenario: TrainingScenario, lookup: Lookup) -> None:
    """Note drives whose bandwidth is not known, or that nothing is kept on."""
    kept = (scenario.strategy, *scenario.compare)
    used = any("nvme" in (choice.offload or ()) for choice in kept)
    if used and not scenario.hardware.nvme:
        hint = "add `hardware: {nvme: 25 GB/s}`, or offload `states` to the host's memory"
        message = "the bandwidth of a node's NVMe drives is not known"
        lookup.note(message, ("strategy", "offload"), hint)
    if scenario.hardware.nvme is not None and not used:
        hint = "add `strategy: {offload: nvme}`, or leave `nvme` out"
        lookup.note("nothing is kept on the drives", ("hardware", "nvme"), hint, key=True)
