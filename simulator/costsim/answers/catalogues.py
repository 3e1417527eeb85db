"""What the catalogues hold: models, accelerators and prices, as plain values with units."""

from __future__ import annotations

from typing import Any, Literal

from costsim.answers.guard import check_name

Term = Literal["on_demand", "spot", "reserved_1y", "reserved_3y"]


def models() -> dict[str, Any]:
    """Return the names of the models of the catalogue."""
    from costsim.architectures import model_names

    return {"models": list(model_names())}


def accelerators() -> dict[str, Any]:
    """Return every accelerator of the catalogue with its main figures."""
    from costsim.hardware import accelerator_ids, load_accelerator

    return {"accelerators": [_accelerator(load_accelerator(one)) for one in accelerator_ids()]}


def hardware(name: str | None = None) -> dict[str, Any]:
    """Return all accelerators, or one device or system with each figure and its source.

    Raises:
        UnknownNameError: if nothing has the name.
    """
    if name is None:
        return accelerators()
    from costsim.hardware import load_hardware

    system = load_hardware(check_name(name))
    device = system.accelerator
    return {
        "accelerator": _accelerator(device),
        "system": {
            "id": system.id,
            "name": system.name,
            "devices_per_node": system.devices_per_node,
            "node_power_w": system.node_power_w,
            "basis": system.basis,
            "source": system.source,
        },
        "figures": {
            path: {
                "value": figure.value,
                "unit": figure.unit,
                "basis": figure.basis,
                "source": figure.source,
            }
            for path, figure in device.figures.items()
        },
    }


def _accelerator(device: Any) -> dict[str, Any]:
    return {
        "id": device.id,
        "name": device.name,
        "vendor": device.vendor,
        "memory_bytes": device.memory_bytes,
        "memory_bandwidth_bytes_per_s": device.memory_bandwidth_bytes_per_s,
        "peaks_flops_per_s": dict(device.peaks_flops_per_s),
        "tdp_w": device.tdp_w,
    }


def prices(
    accelerator: str,
    provider: str | None = None,
    region: str | None = None,
    term: Term = "on_demand",
) -> dict[str, Any]:
    """Return the price of a device-hour that a plan takes, its range, rule, date and source.

    Raises:
        UnknownNameError: if the catalogue has no such device or price.
    """
    from costsim.costs.prices import newest_day, price_for
    from costsim.hardware import load_hardware

    identity = load_hardware(check_name(accelerator)).accelerator.id
    choice = price_for(identity, provider, region, term)
    return {
        "accelerator_id": identity,
        "newest": newest_day().isoformat(),
        "usd_per_device_hour": choice.usd_per_device_hour,
        "low_usd_per_device_hour": choice.low_usd_per_device_hour,
        "high_usd_per_device_hour": choice.high_usd_per_device_hour,
        "provider": choice.price.provider,
        "region": choice.price.region,
        "term": choice.price.term,
        "as_of": choice.price.as_of,
        "source": choice.price.source,
        "rule": choice.rule,
        "warnings": list(choice.warnings),
    }
