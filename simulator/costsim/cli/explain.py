"""`costsim explain`: a quantity's formula, the numbers that go in, and where both come from."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from costsim.cli._console import UsageError
from costsim.cli._notes import say_notes
from costsim.cli._output import choose_format, write_result
from costsim.cli._scenarios import CALIBRATION, OUTSIDE, SETTINGS
from costsim.cli._tables import aligned, to_json
from costsim.paths import is_file

if TYPE_CHECKING:
    from sympy import Expr

    from costsim.architectures import Architecture
    from costsim.architectures.formulas import Formula
    from costsim.planning.plans import Plan

_FORMATS = ("text", "json", "latex")
_FORMAT_OF_SUFFIX = {".txt": "text", ".tex": "latex"}
_WIDTH = 96  # of running text


@click.command()
@click.argument("subject", metavar="MODEL|SCENARIO")
@click.argument("quantity", required=False)
@click.option(
    "--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Sequences."
)
@click.option(
    "--sequence",
    type=click.IntRange(min=1),
    default=2048,
    show_default=True,
    help="Tokens of each; for decode_flops those in the cache.",
)
@click.option("--dtype", default="bf16", show_default=True, help="Number format of elements kept.")
@SETTINGS
@CALIBRATION
@OUTSIDE
@click.option("--format", "asked", type=click.Choice(_FORMATS), help="Default: text.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(
    subject: str,
    quantity: str | None,
    batch: int,
    sequence: int,
    dtype: str,
    settings: tuple[str, ...],
    calibration: Path | None,
    allow_outside: bool,
    asked: str | None,
    output: Path | None,
) -> None:
    """Show the formula of QUANTITY, its numbers and sources; without QUANTITY, of all.

    Of a MODEL: parameters, active_parameters, forward_flops, training_flops, decode_flops,
    cache_bytes, activation_bytes. Of the best plan of a SCENARIO file of any kind: every figure
    that its JSON has, such as cost_usd, days, step_time_s, ttft_p99_s, energy_kwh.
    """
    named = _FORMAT_OF_SUFFIX.get(output.suffix) if output else None
    form = choose_format(asked or named, output, _FORMATS)
    if _is_scenario(subject):
        from costsim.planning import plan

        made = plan(subject, settings, calibration, allow_outside=allow_outside)
        write_result(_of_plan(made, quantity, form), output)
        return
    if settings or calibration:
        raise UsageError("--set and --calibration change scenarios, not models", None)
    from costsim.architectures import load_model
    from costsim.architectures.formulas import QUANTITIES, formula

    described = load_model(subject)
    say_notes(described)
    names = [quantity] if quantity else list(QUANTITIES)
    found = [
        formula(described, name, batch=batch, sequence=sequence, dtype=dtype) for name in names
    ]
    if form == "json":
        entries = [_entry(item) for item in found]
        notes = list(described.notes)
        text = to_json({"model": described.name, "quantities": entries, "notes": notes})
    elif form == "latex":
        text = "\n".join(_latex(item) for item in found)
    elif quantity:
        text = _one(described, found[0])
    else:
        text = _all(described, found)
    write_result(text, output)


def _is_scenario(subject: str) -> bool:
    """Say whether `subject` is a file that describes a workload, and so more than a model."""
    path = Path(subject)
    if path.suffix not in (".yaml", ".yml") or not is_file(path):
        return False
    from costsim.documents import load_document

    value = load_document(path).value
    return isinstance(value, dict) and "workload" in value


def _of_plan(made: Plan[Any, Any], quantity: str | None, form: str) -> str:
    """Return the figures of the best candidate of a plan, as they were computed."""
    if form == "latex":
        raise UsageError("a plan is explained as text or json", "add --format json")
    names = [quantity] if quantity else list(made.best.figures)
    found = {name: made.explain(name) for name in names}
    if form == "json":
        entries = [{"quantity": name, **figure.to_dict()} for name, figure in found.items()]
        return to_json({"plan": made.name, "quantities": entries})
    lines = [made.name]
    for name, figure in found.items():
        lines += ["", f"{name}: {figure.meaning}"]
        if figure.formula:
            for text in (figure.formula, figure.numbers):
                lines += textwrap.wrap(
                    text, _WIDTH, initial_indent="  = ", subsequent_indent="    "
                )
        lines.append(f"  = {figure}" + (f" ({figure.interval})" if figure.interval else ""))
        if figure.parts:
            rows = [(part.name, str(part), part.meaning) for part in figure.parts]
            lines += ["", *("  " + r for r in aligned(("", "", ""), rows, (1,)).split("\n")[1:])]
        lines += [f"  source: {source}" for source in made.cited(figure)]
    return "\n".join(lines)


def _one(model: Architecture, found: Formula) -> str:
    lines = [f"{found.quantity} of {model.name}: {found.meaning}", ""]
    lines += [f"  = {_plain(found.expression)}", f"  = {found.value:,} {found.unit}"]
    lines += [f"  = {_short(found.value, found.unit)}", "", _symbols([found]), ""]
    rows = [
        (
            part.name,
            str(part.count),
            _plain(part.each),
            f"{part.value:,}",
            _share(part.value, found),
        )
        for part in found.parts
    ]
    lines.append(aligned(("PART", "COUNT", "EACH", "TOGETHER", "OF ALL"), rows, right=(1, 3, 4)))
    lines += ["", "COUNTED", *_list(found.conventions), "", "SOURCES", *_list(found.sources)]
    return "\n".join(lines + _notes(model))


def _all(model: Architecture, found: list[Formula]) -> str:
    lines: list[str] = [f"{model.name}: {model.source}"]
    for item in found:
        lines += ["", f"{item.quantity}: {item.meaning}, {_short(item.value, item.unit)}"]
        lines.append(f"  {_plain(item.expression)}")
    lines += ["", _symbols(found)]
    lines += ["", f"`costsim explain {model.name} QUANTITY` shows the parts and sources of one."]
    return "\n".join(lines + _notes(model))


def _symbols(found: list[Formula]) -> str:
    """Return what the symbols of all formulas are, and which sizes follow from others."""
    longest = max(found, key=lambda item: len(item.symbols))
    symbols = {
        name: meaning for item in (longest, *found) for name, meaning in item.symbols.items()
    }
    rows = [(str(name), f"{meaning.value:,}", meaning.text) for name, meaning in symbols.items()]
    equal = {_plain(left): _plain(right) for left, right in found[0].relations.items()}
    table = aligned(("SYMBOL", "VALUE", "MEANING"), rows, right=(1,))
    if not equal:
        return table
    return f"{table}\nhere {', '.join(f'{left} = {right}' for left, right in equal.items())}"


def _entry(found: Formula) -> dict[str, Any]:
    return {
        "quantity": found.quantity,
        "meaning": found.meaning,
        "unit": found.unit,
        "formula": str(found.expression),
        "value": found.value,
        "symbols": {
            str(name): {"value": meaning.value, "meaning": meaning.text}
            for name, meaning in found.symbols.items()
        },
        "relations": {str(left): str(right) for left, right in found.relations.items()},
        "parts": [
            {"name": part.name, "count": part.count, "each": str(part.each), "value": part.value}
            for part in found.parts
        ],
        "conventions": found.conventions,
        "sources": found.sources,
    }


def _latex(found: Formula) -> str:
    from sympy.printing import latex

    name = found.quantity.replace("_", r"\_")
    return rf"\text{{{name}}} = {latex(found.expression)}"


def _plain(expression: Expr) -> str:
    """Return an expression as one types it, with · for products and raised powers."""
    raised = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
    text = re.sub(r"\*\*(\d+)", lambda power: power[1].translate(raised), str(expression))
    return text.replace("*", "·").replace("Min(", "min(").replace("Max(", "max(")


def _short(value: int, unit: str) -> str:
    from costsim.reporting.formats import format_value

    if unit == "parameters":
        return f"{value / 1e9:,.2f} B parameters"
    return format_value(value, "flops" if unit == "FLOPs" else "bytes")


def _share(part: int, found: Formula) -> str:
    return f"{100 * part / found.value:.1f} %" if found.value else ""


def _list(texts: tuple[str, ...]) -> list[str]:
    return [
        line
        for text in texts
        for line in textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    ]


def _notes(model: Architecture) -> list[str]:
    return ["", "NOTES", *_list(model.notes)] if model.notes else []
