"""Fit what whole steps lose against their kernels, on measured training runs.

    python benchmarks/calibration/fit_training.py RUNS.csv [--write]

Constants belong to a class of accelerators (losses.yaml) or to a software profile
(software.yaml); each has a prior, so that one which no run determines stays there. Residuals are of
the logarithm of time, soft-L1. Leave-one-source-out refits everything without a source before
predicting it, linearised at the optimum. Profiles of kernels do not depend on what is fitted and
are computed once.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.optimize import least_squares

from costsim.hardware.calibration import class_of
from costsim.resources import data_folder
from costsim.training import timing
from costsim.training.job import Job
from costsim.training.losses import Losses
from costsim.training.profile import profile
from costsim.training.software import software
from costsim.training.stages import stages
from costsim.training.strategy import Strategies
from costsim.training.traffic import data_parallel, pipeline_transfer
from costsim.validation.kinds.language import measured_step_time_s, predict
from costsim.validation.predict import Prediction
from costsim.validation.runs import Run, read_runs

CLASSES = ("ampere", "hopper", "blackwell", "blackwell-ultra", "tpu", "cdna", "gaudi")
NARROW = ("hopper", "blackwell", "blackwell-ultra", "cdna", "gaudi")  # classes with runs in 8 bits
NEAREST = {"blackwell-ultra": "blackwell"}  # a class whose constants are factors on another's
"""Classes whose products in steps a stack is behind others on, by software: its own shortfall."""
SHORTFALLS = {
    "megatron-core": ("blackwell", "cdna"),
    "fsdp": ("blackwell", "cdna", "gaudi"),
    "xla": ("hopper", "blackwell"),
    "xla-2023": ("hopper",),
    "deepspeed": ("gaudi",),
}
# "high" where the data's own table says so; runs that only show that something works, or floors of
# continuous integration, tell little of what a stack can.
TRUST = {"megatron-recompute": 2.0, "bridge-cards": 0.3, "optimum-habana": 0.3}
SCALE = 0.1
"""Error of a logarithm beyond which a run counts less."""
MOST_OF_A_SOURCE = 80  # runs that enter the fit; the rest are scored only


@dataclass(frozen=True)
class Constant:
    """One fitted number: where it stands, its prior, and how far it may stray (in logarithm)."""

    table: str  # "losses" or "software"
    owner: str  # class or profile
    field: str
    prior: float
    spread: float
    ratio: bool = False  # between 0 and 1: fitted on the logistic scale

    @property
    def start(self) -> float:
        return log(self.prior / (1 - self.prior)) if self.ratio else log(self.prior)

    def value(self, x: float) -> float:
        return 1 / (1 + exp(-x)) if self.ratio else exp(x)


def constants() -> list[Constant]:
    found = [
        Constant("losses", "generic", "sustained_ratio", 0.85, 0.1),
        Constant("losses", "generic", "sustained_narrow_ratio", 0.95, 0.1),
        Constant("losses", "generic", "sustained_attention_ratio", 0.85, 0.1),
        Constant("losses", "generic", "routing_ratio", 1.2, 0.2),
        Constant("losses", "generic", "natural_ratio", 1.15, 0.1),
        Constant("losses", "generic", "contention_ratio", 0.15, 0.5),
        Constant("losses", "generic", "straggler_ratio", 0.01, 0.7),
    ]
    for name in CLASSES:
        # Blackwell keeps Hopper's process: as many 16-bit operations for a joule of rated power,
        # of which its peak asks for 1.6 times as many.
        prior, spread = (0.72, 0.15) if name == "blackwell" else (1.0, 0.15)
        spread = 0.08 if name in NEAREST else spread
        found.append(Constant("losses", name, "sustained_ratio", prior, spread))
        found.append(Constant("losses", name, "sustained_attention_ratio", 1.0, spread))
        if name in NARROW:
            found.append(Constant("losses", name, "sustained_narrow_ratio", 1.0, spread))
    for name, classes in SHORTFALLS.items():
        for kind in classes:
            found.append(Constant("software", name, f"product_rates.{kind}", 1.0, 0.15))
    found.append(Constant("software", COMMON, "product_ratio", 1.0, 0.06))
    found.append(Constant("software", COMMON, "passes_ratio", 1.3, 0.2))
    found.append(Constant("software", COMMON, "attention_rates.ampere", 0.9, 0.4))
    for name in PROFILES:
        shares = name in SHARING["product_ratio"]
        found.append(Constant("software", name, "product_ratio", 1.0, 0.06))
        found.append(Constant("software", name, "passes_ratio", 1.0 if shares else 1.3, 0.3))
        if name in ("fsdp", "megatron-core"):
            # Its kernels of Ampere's generation leave Blackwell's matrix units alone.
            prior = 0.3 if name == "fsdp" else 0.9
            found.append(Constant("software", name, "attention_rates.blackwell", prior, 0.3))
        for kind in ("ampere", "hopper"):
            if name in SHARING.get(f"attention_rates.{kind}", ()):
                found.append(Constant("software", name, f"attention_rates.{kind}", 1.0, 0.3))
                continue
            # FlashAttention-2 reaches half of what later kernels do on Hopper (arXiv 2407.08608).
            prior = 0.5 if (name, kind) == ("fsdp", "hopper") else 0.9
            found.append(Constant("software", name, f"attention_rates.{kind}", prior, 0.4))
    # Fused attention of cuDNN before version 9, of 2024, took half as long again on Hopper.
    found.append(Constant("software", "nemo-2403", "attention_rates.hopper", 0.7, 0.3))
    # One for all frameworks whose host is Python: few runs are bound by it. Serving engines show
    # 18.7 µs where no graph is captured (engines.yaml), on hosts of 2023; a call of a step that
    # trains takes 1.1 times as long on the same core (benchmarks/host_calls.py).
    found.append(Constant("software", LAUNCHING, "launch_s", 1.1 * 18.7e-6, 0.2))
    for name in ("megatron-core", "nemo", "fsdp", "xla"):
        found.append(Constant("software", name, "overlap_gathers_ratio", 0.9, 1.0, ratio=True))
        found.append(Constant("software", name, "overlap_gradients_ratio", 0.9, 1.0, ratio=True))
    for name in ("megatron-core", "nemo"):
        found.append(Constant("software", name, "overlap_tensor_ratio", 0.4, 1.0, ratio=True))
    return found


# Frameworks of one kind have much in common: a profile's constant is a factor on that of all, so
# that one of which no run is known has what the others have.
COMMON = "common"
_EAGER = (
    *("megatron-2022", "megatron-deepspeed", "megatron-core"),
    *("nemo", "nemo-2403", "fsdp", "deepspeed"),
)
SHARING = {
    "product_ratio": _EAGER,
    "passes_ratio": _EAGER,
    # fused kernels
    "attention_rates.ampere": ("megatron-core", "nemo", "nemo-2403", "fsdp", "deepspeed"),
}
OLDER = {"nemo-2403": "nemo"}  # releases that differ in what has a constant of its own
FITTED = (
    "product_ratio",
    "passes_ratio",
    "launch_s",
    "overlap_gradients_ratio",
    "overlap_gathers_ratio",
    "overlap_tensor_ratio",
)
LAUNCHING = "launching"
PROFILES = ("megatron-2022", "megatron-deepspeed", "megatron-core", "nemo", "fsdp", "xla")


@dataclass
class Item:
    """Runs of one job, with all that does not depend on the constants."""

    job: Job
    strategies: Strategies
    rest: tuple[Any, ...]
    runs: list[tuple[Run, Prediction, float, list[tuple[int, float]]]]


def prepare(runs: Iterable[Run], predictions: Iterable[Prediction | str]) -> list[Item]:
    grouped: dict[Job, list[tuple[Run, Prediction, float]]] = {}
    for run, prediction in zip(runs, predictions, strict=True):
        if isinstance(prediction, str) or not prediction.configuration.tells_constants:
            continue
        step_s = measured_step_time_s(run, prediction)
        if step_s:
            grouped.setdefault(prediction.configuration.job, []).append((run, prediction, step_s))
    items: list[Item] = []
    for job, members in grouped.items():
        rows = []
        targets = []
        for run, prediction, step_s in members:
            terms = [(len(rows), prediction.share)]
            rows.append(prediction.strategy)
            if prediction.share < 1:
                terms.append((len(rows), 1 - prediction.share))
                rows.append(replace(prediction.strategy, recompute="none"))
            targets.append((run, prediction, step_s, terms))
        strategies = Strategies.of(rows)
        profiled, _ = profile(job, strategies)
        held = stages(job.model, strategies.pp, strategies.vp, strategies.copies)
        micro_batches = job.global_batch / (strategies.dp * strategies.micro_batch)
        data = data_parallel(job, strategies, held, profiled, micro_batches)
        hidden = next(float(np.max(b.source.elements)) for b in job.model.blocks())
        boundary_s, _ = pipeline_transfer(job, strategies, hidden)
        rest = held, profiled, data, micro_batches, boundary_s
        items.append(Item(job, strategies, rest, targets))
    return items


class Model:
    """Predicts all items for a vector of constants."""

    def __init__(self, items: list[Item], known: list[Constant]) -> None:
        self.items, self.known = items, known
        self.owners = {
            run.line: (
                class_of(item.job.system.accelerator.architecture),
                item.job.software.name,
                OLDER.get(item.job.software.name, ""),
                *((LAUNCHING, COMMON) if item.job.software.name in _EAGER else ()),
            )
            for item in items
            for run, *_ in item.runs
        }

    def predicted(self, x: np.ndarray, only: Callable[[Run], bool] = lambda run: True):
        values = {
            (c.table, c.owner, c.field): c.value(v) for c, v in zip(self.known, x, strict=True)
        }
        generic = {f: values["losses", "generic", f] for f in Losses.__dataclass_fields__}

        found = []
        for item in self.items:
            chosen = [target for target in item.runs if only(target[0])]
            if not chosen:
                continue
            lost = losses_of(class_of(item.job.system.accelerator.architecture), values, generic)
            job = replace(item.job, software=software_of(item.job.software, values), losses=lost)
            parts = timing.step_times(job, item.strategies, *item.rest)
            total = np.sum(list(parts.values()), axis=0)
            for run, _, step_s, terms in chosen:
                found.append((run, sum(w * total[i] for i, w in terms), step_s))
        return found


def losses_of(name: str, values: dict[Any, float], generic: dict[str, float]) -> Losses:
    """Class constants are factors on the generic ones, or on those of the nearest class."""
    if name == "generic":
        return Losses(**generic)
    near = NEAREST.get(name, "generic")
    base = losses_of(near, values, generic)
    return Losses(**{f: getattr(base, f) * values.get(("losses", name, f), 1.0) for f in generic})


def software_of(held: Any, values: dict[Any, float]) -> Any:
    owners = (OLDER.get(held.name, held.name), held.name)
    mine = {
        f: v for name in owners for (t, o, f), v in values.items() if t + o == "software" + name
    }
    for field, sharing in SHARING.items():
        if owners[0] in sharing:
            mine[field] = values["software", COMMON, field] * mine.get(field, 1.0)
    tables = {name: dict(getattr(held, name)) for name in ("attention_rates", "product_rates")}
    for field, value in mine.items():
        if "." in field:
            name, kind = field.split(".")
            tables[name][kind] = value
            if kind == "blackwell":
                tables[name]["blackwell-ultra"] = value
    plain = {f: v for f, v in mine.items() if "." not in f}
    if held.name in _EAGER:
        plain["launch_s"] = values["software", LAUNCHING, "launch_s"]
    return replace(held, **tables, **plain)


@dataclass
class Fitted:
    """The constants at the least residuals, with what it takes to leave a source out again."""

    x: np.ndarray
    residuals: np.ndarray  # of the runs, then of the priors
    jacobian: np.ndarray
    runs: list[Run]

    def without(self, group: Callable[[Run], str], name: str) -> np.ndarray:
        """Return the constants without some runs: the least residuals of all others, linearised.

        Constants are logarithms and times nearly products of them, so that a step along the
        gradients of the common optimum goes nearly all the way; a constant that only these runs
        determine goes back to its prior.
        """
        priors = len(self.residuals) - len(self.runs)
        kept = np.array([group(run) != name for run in self.runs] + [True] * priors)
        step, *_ = np.linalg.lstsq(self.jacobian[kept], -self.residuals[kept], rcond=None)
        return self.x + step


def fit(model: Model) -> Fitted:
    """Return the constants that fit all runs best."""
    known = model.known
    priors = np.array([c.start for c in known])
    spreads = np.array([c.spread for c in known])
    sizes: dict[str, int] = {}
    for item in model.items:
        for run, *_ in item.runs:
            sizes[source(run)] = sizes.get(source(run), 0) + 1
    stride = {s: max(1, n // MOST_OF_A_SOURCE) for s, n in sizes.items()}

    def used(run: Run) -> bool:
        return run.line % stride[source(run)] == 0

    def residuals(x: np.ndarray) -> np.ndarray:
        found = model.predicted(x, used)
        errors = np.array([log(p / m) for _, p, m in found])
        # Large sources count less a run: a hundred rows of one sweep are not a hundred witnesses.
        weights = np.array(
            [
                TRUST.get(source(r), 1.0) * (sizes[source(r)] / stride[source(r)]) ** -0.35
                for r, *_ in found
            ]
        )
        # Cauchy's: what is off by a factor has a cause of its own, and does not move the rest.
        soft = np.sign(errors) * SCALE * np.sqrt(np.log1p((errors / SCALE) ** 2))
        return np.concatenate([soft * weights / 0.05, (x - priors) / spreads])

    used_runs = [run for run, *_ in model.predicted(priors, used)]
    pattern = sparsity(known, [model.owners[run.line] for run in used_runs])
    found = least_squares(
        residuals, current(known), jac_sparsity=pattern, max_nfev=5, diff_step=1e-3
    )
    return Fitted(found.x, found.fun, found.jac.toarray(), used_runs)


def sparsity(known: list[Constant], owners: list[tuple[str, ...]]) -> np.ndarray:
    """Return which constants move which residuals: of all, of a run's class, profile and host."""
    rows = np.array(
        [
            [c.owner in ("generic", *owner, NEAREST.get(owner[0], "")) for c in known]
            for owner in owners
        ]
    )
    return np.vstack([rows, np.eye(len(known), dtype=bool)])


def current(known: list[Constant]) -> np.ndarray:
    """Return the constants as they stand in hardware_specs/calibration, priors where unset."""
    table = yaml.safe_load((data_folder("hardware_specs") / "calibration/losses.yaml").read_text())
    found: list[float] = []
    for c in known:
        value: float | None = None
        if c.table == "losses":
            value = table["generic"][c.field]
            if c.owner != "generic":
                own = table["classes"].get(c.owner, {}).get(c.field)
                value = table["classes"].get(NEAREST.get(c.owner), table["generic"])[c.field]
                value = own / value if own and value else None
        elif c.owner == LAUNCHING:
            value = software(_EAGER[0]).launch_s
        elif c.owner == COMMON:
            value = standing(SHARING[c.field][-1], c.field)  # of a profile without a factor
        elif c.owner in SHARING.get(c.field, ()):
            value = standing(c.owner, c.field) / standing(SHARING[c.field][-1], c.field)
        else:
            value = standing(c.owner, c.field)
        if not value or (c.ratio and value >= 1):
            value = c.prior
        found.append(log(value / (1 - value)) if c.ratio else log(value))
    return np.array(found)


def standing(profile: str, field: str) -> float:
    """Return the constant of a profile as it stands."""
    if "." in field:
        name, kind = field.split(".")
        rates = getattr(software(profile), name)
        return rates.get(kind, rates.get("all", 1.0))
    return getattr(software(profile), field)


def left_out_by(model: Model) -> dict[str, Callable[[Run], str]]:
    """Return what is left out together, by kind: a source, class, framework or format."""
    jobs = {run.id: item.job for item in model.items for run, *_ in item.runs}
    return {
        "source": source,
        "class": lambda run: class_of(jobs[run.id].system.accelerator.architecture),
        "framework": lambda run: _profile(jobs[run.id]),
        "format": lambda run: jobs[run.id].precision.name,
    }


def _profile(job: Job) -> str:
    return OLDER.get(job.software.name, job.software.name)


def ratios_of(found: list[tuple[Run, float, float]]) -> dict[str, float]:
    return {run.id: predicted / measured for run, predicted, measured in found}


def by_groups(found: list[tuple[Run, float, float]]) -> np.ndarray:
    groups: dict[str, list[float]] = {}
    for run, predicted, measured in found:
        if source(run) != "vtrain-single":
            groups.setdefault(run.group, []).append(predicted / measured)
    return np.array([np.median(values) for values in groups.values()])


def worths(model: Model, x: np.ndarray) -> Iterator[str]:
    """Yield errors of all groups with each constant back at its prior, the worthiest first."""
    whole = summary(by_groups(model.predicted(x)))
    found: list[tuple[float, str]] = []
    for index, constant in enumerate(model.known):
        without = x.copy()
        without[index] = constant.start
        _, median, p90, bias = summary(by_groups(model.predicted(without)))
        where = f"{constant.table}.{constant.owner}.{constant.field}"
        worth = median - whole[1] + p90 - whole[2]
        found.append((worth, f"{where:60} {median:6.2%} {p90:6.1%} {bias:+6.1%}"))
    yield f"{'all as fitted':60} {whole[1]:6.2%} {whole[2]:6.1%} {whole[3]:+6.1%}"
    yield from (line for _, line in sorted(found, reverse=True))


def source(run: Run) -> str:
    return run.text.get("source_id", "")


def table(found: list[tuple[Run, float, float]]) -> dict[str, tuple[int, float, float, float]]:
    by: dict[str, dict[str, list[float]]] = {}
    for run, predicted, measured in found:
        by.setdefault(source(run), {}).setdefault(run.group, []).append(predicted / measured)
    rows: dict[str, tuple[int, float, float, float]] = {}
    everything: list[float] = []
    for name, groups in sorted(by.items()):
        ratios = np.array([np.median(v) for v in groups.values()])
        if name != "vtrain-single":
            everything.extend(ratios)
        rows[name] = summary(ratios)
    rows["all but vtrain-single"] = summary(np.array(everything))
    return rows


def summary(ratios: np.ndarray) -> tuple[int, float, float, float]:
    errors = np.abs(ratios - 1)
    return (
        len(ratios),
        float(np.median(errors)),
        float(np.quantile(errors, 0.9)),
        float(np.median(ratios) - 1),
    )


def write(known: list[Constant], x: np.ndarray) -> None:
    """Write the constants into hardware_specs/calibration, four digits each."""
    folder = Path(data_folder("hardware_specs")) / "calibration"
    values = {(c.table, c.owner, c.field): c.value(v) for c, v in zip(known, x, strict=True)}
    generic = {f: values["losses", "generic", f] for f in Losses.__dataclass_fields__}
    path = folder / "losses.yaml"
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]

    def line(owner: str) -> str:
        lost = losses_of(owner, values, generic)
        pairs = ", ".join(f"{f}: {getattr(lost, f):.4g}" for f in generic)
        return f"{owner}: {{{pairs}}}"

    body = [line("generic"), "classes:", *(f"  {line(name)}" for name in CLASSES)]
    rest = path.read_text().partition("\nsiblings:")[2]
    path.write_text("\n".join([*head, *body]) + "\nsiblings:" + rest)
    path = folder / "software.yaml"
    text = path.read_text()
    for owner in dict.fromkeys((*PROFILES, *_EAGER)):
        start = text.index(f"\n{owner}:") if not text.startswith(f"{owner}:") else 0
        end = text.find("\n  source:", start)
        part = text[start:end]
        fitted = software_of(software(owner), values)
        for field in FITTED:
            part = re.sub(rf"(\n  {field}: )\S+", rf"\g<1>{getattr(fitted, field):.4g}", part)
        for name in ("attention_rates", "product_rates"):
            listed = ", ".join(f"{k}: {v:.4g}" for k, v in getattr(fitted, name).items())
            part = re.sub(rf"(\n  {name}: ).*", rf"\g<1>{{{listed}}}", part)
        text = text[:start] + part + text[end:]
    path.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--leave-out", action="store_true")
    parser.add_argument(
        "--worth", action="store_true", help="errors without each constant, unfitted"
    )
    parser.add_argument("--residuals", type=Path, help="ratios left out, for accuracy.py")
    arguments = parser.parse_args()
    runs = [
        r for r in read_runs(arguments.runs).runs if r.text.get("family") in ("llm-dense", "moe")
    ]
    known = constants()
    model = Model(prepare(runs, predict(runs)), known)
    if arguments.worth:
        print(f"{len(known)} constants", *worths(model, current(known)), sep="\n")
        return
    fitted = fit(model)
    x = fitted.x
    inside = table(model.predicted(x))
    left: dict[str, tuple[int, float, float, float]] = {}
    if arguments.leave_out:
        ratios: dict[str, dict[str, float]] = {"inside": ratios_of(model.predicted(x))}
        for kind, group in left_out_by(model).items():
            found = []
            for name in sorted({group(run) for item in model.items for run, *_ in item.runs}):
                y = fitted.without(group, name)
                found += model.predicted(y, lambda run, g=group, name=name: g(run) == name)
            ratios[kind] = ratios_of(found)
            left = table(found) if kind == "source" else left
            print(kind, "left out:", *(f"{v:.1%}" for v in summary(by_groups(found))[1:]))
        if arguments.residuals:
            head = ",".join(["id", *ratios])
            lines = [
                ",".join([name, *(f"{column[name]:.6g}" for column in ratios.values())])
                for name in ratios["inside"]
            ]
            arguments.residuals.write_text("\n".join([head, *lines]) + "\n")
    for name, (count, median, p90, bias) in inside.items():
        out = left.get(name)
        print(
            f"{name:24}{count:5}  {median:6.1%} {p90:6.1%} {bias:+6.1%}"
            + (f"   without it {out[1]:6.1%} {out[2]:6.1%} {out[3]:+6.1%}" if out else "")
        )
    for constant, value in zip(known, x, strict=True):
        where = f"{constant.table}.{constant.owner}.{constant.field}"
        print(f"{where:60} {constant.value(value):.4g}  (prior {constant.prior:.4g})")
    if arguments.write:
        write(known, x)


if __name__ == "__main__":
    main()
