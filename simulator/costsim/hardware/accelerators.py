"""What one accelerator can do: dense peaks by dtype, memory, links, power, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from costsim.errors import UnknownNameError
from costsim.hardware.sheet import Figure, Sheet

# fp64 and fp32 are the vector units; *_matrix the matrix units where they differ.
DTYPES = (
    *("fp64", "fp64_matrix", "fp32", "fp32_matrix", "tf32", "bf16", "fp16"),
    *("fp8", "fp6", "fp4", "int8", "int4"),
)
_TEXT = ("id", "name", "vendor", "architecture", "form_factor", "status", "default_system", "note")
_GROUPS: dict[str, dict[str, str]] = {
    "peaks": dict.fromkeys(DTYPES, "flops_per_s"),
    "memory": {
        "capacity": "bytes",
        "usable": "bytes",
        "bandwidth": "bytes_per_s",
        "l2": "bytes",
        "last_level_cache": "bytes",
        "sram": "bytes",
    },
    "compute": {"units": "count", "clock": "hz", "sparsity": "ratio", "sparsity_fp4": "ratio"},
    "power": {"tdp": "w"},
    "links": {
        "scale_up": "bytes_per_s",
        "scale_up_domain": "count",
        "scale_out": "bytes_per_s",
        "pcie": "bytes_per_s",
        "host": "bytes_per_s",
    },
}
_GROUP_TEXT = {"memory": ("type",), "links": ("name", "topology")}
_REQUIRED = {("memory", "capacity"), ("memory", "bandwidth")}


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One device as software sees it, or the chip where software sees several (see `note`).

    Attributes:
        id: name of its file in the catalog, such as "nvidia-h100-sxm5-80gb".
        architecture: generation and chip, such as "Hopper GH100".
        form_factor: "SXM5", "OAM", "PCIe", "superchip", "board", "CPU", ...
        status: "shipping", or words that say it is announced only.
        peaks_flops_per_s: dense rate by dtype; integer dtypes in operations/s.
        memory_bytes: as the vendor prints it, with GB = 10^9.
        memory_usable_bytes: what its driver reports; `memory_bytes` where no reading is known, and
            then `figures["memory.usable"].basis` is "derived".
        l2_bytes: L2 cache, where known.
        compute_units: SMs, CUs or cores, where known.
        clock_hz: boost clock; matrix units may be rated at a lower one.
        tdp_w: power limit of the device, where published.
        scale_up_bytes_per_s: all its scale-up links together, one direction.
        scale_up_devices: most devices its scale-up links join.
        scale_out_bytes_per_s: network of the reference node per device, one direction.
        pcie_bytes_per_s: link to the host, one direction.
        host_bytes_per_s: coherent link to the host's memory beside PCIe (NVLink-C2C), likewise.
        sparsity_ratio: speed-up of structured sparsity over the dense peaks.
        default_system: id of the system meant by the accelerator's name alone; "" = single device.
        figures: every number as printed, by its path in the file ("peaks.bf16").
    """

    id: str
    name: str
    vendor: str
    architecture: str
    form_factor: str
    status: str
    peaks_flops_per_s: Mapping[str, float] = field(hash=False)
    memory_bytes: float
    memory_usable_bytes: float
    memory_bandwidth_bytes_per_s: float
    l2_bytes: float | None
    compute_units: int | None
    clock_hz: float | None
    tdp_w: float | None
    scale_up_bytes_per_s: float | None
    scale_up_devices: int | None
    scale_out_bytes_per_s: float | None
    pcie_bytes_per_s: float | None
    host_bytes_per_s: float | None
    sparsity_ratio: float | None
    launch_year: int | None
    memory_type: str
    scale_up_name: str
    scale_up_topology: str
    default_system: str
    note: str
    figures: Mapping[str, Figure] = field(hash=False, compare=False, repr=False)

    def __repr__(self) -> str:
        return f"<Accelerator {self.id!r}: {self.name}>"

    @property
    def host_link_bytes_per_s(self) -> float | None:
        """The faster link to the host, one direction; None where none is known."""
        return self.host_bytes_per_s or self.pcie_bytes_per_s

    def peak_flops_per_s(self, dtype: str) -> float:
        """Return the dense peak of `dtype` in FLOP/s (operations/s for integers).

        Never another dtype's rate: that matrix products of fp32 may run at the tf32 rate is the
        caller's decision.

        Raises:
            UnknownNameError: if the catalog has no rate for `dtype`.
        """
        try:
            return self.peaks_flops_per_s[dtype]
        except KeyError:
            have = ", ".join(f"`{known}`" for known in self.peaks_flops_per_s) or "none"
            raise UnknownNameError(
                f"{self.name} has no published dense {dtype} rate", hint=f"it has {have}"
            ) from None


def read_accelerator(sheet: Sheet) -> Accelerator | None:
    """Return the accelerator that a catalog file describes; None if `sheet.problems` says why."""
    sheet.allow((*_TEXT, "launch_year", *_GROUPS))
    texts = {key: sheet.text(key, required=key in ("id", "name")) for key in _TEXT}
    values: dict[str, float] = {}
    figures: dict[str, Figure] = {}

    def take(part: Sheet, key: str, dimension: str, path: str, required: bool = False) -> None:
        value, figure = part.figure(key, dimension, required=required)
        if value is not None and figure is not None:
            values[path], figures[path] = value, figure

    take(sheet, "launch_year", "year", "launch_year")
    group_texts: dict[str, str] = {}
    for group, keys in _GROUPS.items():
        part = sheet.part(group)
        part.allow((*keys, *_GROUP_TEXT.get(group, ())))
        for key in _GROUP_TEXT.get(group, ()):
            group_texts[f"{group}.{key}"] = part.text(key)
        for key, dimension in keys.items():
            required = (group, key) in _REQUIRED
            if required or key in part.mapping:
                take(part, key, dimension, f"{group}.{key}", required)
    if sheet.problems:
        return None
    if "memory.usable" not in values:
        printed = figures["memory.capacity"]
        values["memory.usable"] = values["memory.capacity"]
        figures["memory.usable"] = Figure(
            printed.value,
            printed.unit,
            "derived",
            printed.source,
            printed.read_on,
            "no driver reading is known; the printed capacity",
        )

    def whole(path: str) -> int | None:
        return round(values[path]) if path in values else None

    return Accelerator(
        id=texts["id"],
        name=texts["name"],
        vendor=texts["vendor"],
        architecture=texts["architecture"],
        form_factor=texts["form_factor"],
        status=texts["status"],
        peaks_flops_per_s={
            dtype: values[f"peaks.{dtype}"] for dtype in DTYPES if f"peaks.{dtype}" in values
        },
        memory_bytes=values["memory.capacity"],
        memory_usable_bytes=values["memory.usable"],
        memory_bandwidth_bytes_per_s=values["memory.bandwidth"],
        l2_bytes=values.get("memory.l2"),
        compute_units=whole("compute.units"),
        clock_hz=values.get("compute.clock"),
        tdp_w=values.get("power.tdp"),
        scale_up_bytes_per_s=values.get("links.scale_up"),
        scale_up_devices=whole("links.scale_up_domain"),
        scale_out_bytes_per_s=values.get("links.scale_out"),
        pcie_bytes_per_s=values.get("links.pcie"),
        host_bytes_per_s=values.get("links.host"),
        sparsity_ratio=values.get("compute.sparsity"),
        launch_year=whole("launch_year"),
        memory_type=group_texts["memory.type"],
        scale_up_name=group_texts["links.name"],
        scale_up_topology=group_texts["links.topology"],
        default_system=texts["default_system"],
        note=texts["note"],
        figures=figures,
    )
