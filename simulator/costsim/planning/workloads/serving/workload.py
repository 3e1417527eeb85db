"""Services as a kind of workload: replicas found in closed form, sized by simulation, costed."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, cast

from costsim.architectures.architecture import Architecture
from costsim.compression.published import published_precision
from costsim.documents import Document, placed
from costsim.errors import InfeasiblePlanError, SpecError, UnknownNameError
from costsim.hardware.kernels import load_kernel_model
from costsim.inference.deployment import Deployment
from costsim.inference.engines import Engine, Speculation, load_engine
from costsim.inference.formats import format_named
from costsim.inference.layout import Layouts, Quantization
from costsim.inference.memory import KvCache, kv_cache
from costsim.inference.metrics import Measured
from costsim.inference.traffic import Traffic
from costsim.planning.launch import checkpoint_of, launch, longest_request
from costsim.planning.lookup import Lookup
from costsim.planning.making import Maker
from costsim.planning.options import Option
from costsim.planning.plans import Candidate
from costsim.planning.scenario import Scenario
from costsim.planning.study import Place, Study
from costsim.planning.workload import Candidates
from costsim.planning.workloads.serving import refusals
from costsim.planning.workloads.serving.capacity import day_of, pools_for, replicas_for, sensitivity
from costsim.planning.workloads.serving.costing import FleetCosting
from costsim.planning.workloads.serving.fleet import Fleet, ServiceDetails
from costsim.planning.workloads.serving.mixing import best_mix
from costsim.planning.workloads.serving.replicas import Replica
from costsim.planning.workloads.serving.services import Served, Service, service_of
from costsim.planning.workloads.serving.spec import Passing, ServedOn, ServiceScenario, Serving
from costsim.planning.workloads.serving.traffic import pass_traffic, token_traffic
from costsim.units import HOURS_PER_MONTH

_TRIED = 3  # layouts of a device and format that are simulated, cheapest first
_MOST_REPLICAS = 4096  # that are simulated: few requests would come to each of more
_CHEAPER = 0.999  # of a fleet of equal replicas, below which a mix is worth its trouble


class ServingWorkload:
    """Answer requests: token by token, or by passing samples forward."""

    scenario_type: ClassVar[type[Scenario]] = ServiceScenario
    verb: ClassVar[str] = "serving"

    @staticmethod
    def check(document: Document) -> None:
        """Nothing is said twice in a service."""

    @staticmethod
    def prepare(scenario: Scenario, model: Architecture, lookup: Lookup) -> Architecture:
        """Return the model as it is."""
        del scenario, lookup
        return model

    def __init__(self, study: Study, lookup: Lookup) -> None:
        self.study, self.maker = study, Maker(study)
        self.work, self.hardware, self.hours = self.asked()
        work = self.work
        engine = work.engine if isinstance(work, Serving) else "generic"
        self.engine = cast(
            "Engine", lookup.attempt(("workload", "engine"), partial(load_engine, engine))
        )
        if isinstance(work, Serving) and self.engine:
            self.engine = self.engine.launched(**work.settings())
        if isinstance(work, Serving) and work.speculation is not None:
            stated, place = work.speculation, ("workload", "speculation", "accepted")
            drafts = lookup.attempt(
                place, lambda: Speculation(stated.tokens, stated.accepted, stated.draft)
            )
            if drafts and self.engine:
                self.engine = replace(self.engine, speculation=drafts)
        for index, name in enumerate(self.hardware.precision or ()):
            lookup.attempt(("hardware", "precision", index), partial(format_named, name))
        if study.scenario.limits.deadline is not None and self.verb == "serving":
            lookup.note(
                "a service has no end, and so no deadline",
                ("limits", "deadline"),
                "`months` says how long it is held; `kind: job` is a number of requests",
                key=True,
            )
        self.traffic = cast("Traffic", lookup.attempt(("workload",), self._traffic))
        for option in study.options if self.traffic else ():
            lookup.attempt(("workload",), partial(_check, option.model, self.traffic, work))
        longest = self.engine.max_model_len if self.engine else None
        if longest is not None and self.traffic and _longest(self.traffic) > longest:
            lookup.note(
                f"a request of {_longest(self.traffic):,.0f} tokens is longer than {longest:,}",
                ("workload", "max_model_len"),
                f"state {_longest(self.traffic):.0f} or more, or leave it out",
            )

    def asked(self) -> tuple[Serving | Passing, ServedOn, float]:
        """Return the requests, what they may be served on, and for how many hours."""
        scenario = cast("ServiceScenario", self.study.scenario)
        return scenario.workload, scenario.hardware, scenario.months * HOURS_PER_MONTH

    def _traffic(self) -> Traffic:
        if isinstance(self.work, Serving):
            return token_traffic(self.work, self.study.folder)
        return pass_traffic(self.work)

    @property
    def generates(self) -> bool:
        """Whether tokens are generated, rather than samples passed forward."""
        return isinstance(self.work, Serving)

    @property
    def unit(self) -> str:
        """What it counts."""
        return "generated token" if self.generates else "sample"

    @property
    def available(self) -> dict[str, int]:
        """Devices that there are at most, by id of their system."""
        limits = self.hardware.available or {}
        return {
            one.system.id: limits[one.named] for one in self.study.places if one.named in limits
        }

    def precisions(self, option: Option) -> tuple[str, ...]:
        """Return the formats to compare: those stated, or that the model is published in."""
        return self.hardware.precision or (published_precision(option.model),)

    def service(self, option: Option) -> Service:
        """Return the service of an option's model."""
        served = Served(option.model, self.engine, self.traffic, self.precisions(option))
        return service_of(self.work, self.hardware, served)

    def kinds(self, option: Option, place: Place) -> list[Replica]:
        """Return the kinds of replica that have room for a request and devices to run on.

        Raises:
            SpecError: where a device has no products in a format.
        """
        most = self.available.get(place.system.id, math.inf)
        try:
            replicas = self.service(option).replicas(place.system)
        except UnknownNameError as error:  # a format that the device has no products in
            raise placed(error, self.study.document, ("hardware", "precision")) from None
        return [kind for kind in replicas if kind.layout.devices <= most]

    def candidates(self, option: Option, place: Place) -> Candidates:
        """Return fleets of the layouts and formats that promise most, cheapest first.

        Raises:
            InfeasiblePlanError: where the model fits on no replica.
        """
        kinds = self.kinds(option, place)
        if not kinds:
            raise refusals.fits_nowhere(self, option, [place])
        sized = self._sized(option, place, kinds)
        most = self.available.get(place.system.id, math.inf)
        sized.sort(key=lambda one: (one.devices > most, one.value("usd_per_hour"), one.devices))
        return Candidates(
            ways=tuple(sized),
            searched=len(kinds),
            feasible=len(sized),
            short=bool(sized) and sized[0].devices > most,
        )

    def _sized(
        self, option: Option, place: Place, kinds: Sequence[Replica]
    ) -> list[Candidate[Fleet]]:
        """Return the layouts of each format that promise most, sized by simulation.

        Where nothing but the cheapest of each format is asked for, one that would be dearer than
        the cheapest so far is left out as soon as that is known.
        """
        cheapest_only = self.study.scenario.objective is None and not self.hardware.available
        service, rate = self.service(option), self.work.requests_per_s
        made = self.maker.runs(option)
        costing = FleetCosting(
            self.study, option, place, made, self.hours, generates=self.generates
        )
        groups: dict[Quantization, list[tuple[int, Replica]]] = {}
        for kind in kinds:
            if kind.rate_per_s > 0:
                start = math.ceil(rate / kind.rate_per_s)
                groups.setdefault(kind.quantization, []).append((start, kind))
        result: list[Candidate[Fleet]] = []
        for members in groups.values():
            members.sort(key=lambda one: (one[0] * one[1].layout.devices, one[1].layout.devices))
            cheapest: Fleet | None = None
            for start, kind in members[:_TRIED]:
                if start > _MOST_REPLICAS:
                    continue
                most = _MOST_REPLICAS
                if cheapest is not None and cheapest_only:
                    most = self._most_worth_it(costing, cheapest, kind)
                    if not most:
                        continue
                deployment = service.deployment(kind)
                sized = replicas_for(deployment, self.traffic, service.objective, start, most)
                if sized is None:
                    continue
                fleet = replace(
                    self._fleet(kind, sized.replicas, sized.measured),
                    prompt_share=service.prompt_share(kind, sized.replicas),
                    launch=self._launch(option, kind),
                    cache=self._cache(option, kind),
                )
                result.append(costing.candidate(fleet))
                hourly = costing.usd_per_hour
                if cheapest is None or hourly(fleet) < hourly(cheapest):
                    cheapest = fleet
        return result

    def _fleet(self, kind: Replica, replicas: int, measured: Measured) -> Fleet:
        """Return so many replicas of a kind over a day."""
        rate, ratio, spare = self.work.requests_per_s, self.work.mean_ratio, self.hardware.spare
        return Fleet(
            replica=kind,
            replicas=replicas,
            spare=spare,
            measured=measured,
            day=day_of(replicas, rate, ratio, spare, autoscale=self.hardware.autoscale),
            mean_requests_per_s=rate * ratio,
            prompt_share=0.0,
        )

    def _most_worth_it(self, costing: FleetCosting, cheapest: Fleet, kind: Replica) -> int:
        """Return the most replicas of `kind` that cost no more than a fleet; 0 if one is dearer."""
        limit = costing.usd_per_hour(cheapest)

        def dearer(replicas: int) -> bool:
            fleet = self._fleet(kind, replicas, cheapest.measured)
            return costing.usd_per_hour(fleet) > limit

        return bisect_left(range(1, _MOST_REPLICAS + 1), True, key=dearer)

    def _launch(self, option: Option, kind: Replica) -> Any:
        """Return how a replica is started, where an engine does it."""
        work = self.work
        if not isinstance(work, Serving):
            return None
        drafts = work.speculation
        checkpoint = checkpoint_of(self.study.model, self.study.scenario.model)
        return launch(
            self.engine,
            kind.layout,
            kind.quantization,
            checkpoint if option.plain else f"{checkpoint}-{option.name.replace(' ', '')}",
            float((self.traffic.input_tokens + self.traffic.output_tokens).max()),
            (None, None) if drafts is None else (drafts.method, drafts.model),
        )

    def _cache(self, option: Option, kind: Replica) -> KvCache | None:
        """Return what the cache of a replica holds."""
        if not self.generates:
            return None
        layouts = Layouts.of([kind.layout])
        longest = longest_request(self.engine, _longest(self.traffic))
        formats = kind.quantization
        return kv_cache(kind.system, option.model, layouts, formats, self.engine, longest)

    def refusal(self, option: Option, errors: Sequence[InfeasiblePlanError]) -> InfeasiblePlanError:
        """Return why nothing can serve it: it fits nowhere, or nothing is fast enough."""
        places = self.study.places
        if len(errors) == len(places) * len(self.study.options):
            return refusals.fits_nowhere(self, option, places)
        kinds = [kind for place in places for kind in self.kinds(option, place)]
        quickest = max((kind.rate_per_s for kind in kinds), default=0.0)
        if 0 < _MOST_REPLICAS * quickest < self.work.requests_per_s:
            return refusals.too_large(self, quickest, _MOST_REPLICAS)
        return refusals.too_slow(self, option)

    def conclude(
        self, best: Candidate[Any], found: Candidates, all_ways: Sequence[Candidate[Any]]
    ) -> tuple[ServiceDetails, tuple[Candidate[Any], ...], tuple[str, ...]]:
        """Return the service at other loads, its mix and pools, and the best of each format.

        Raises:
            InfeasiblePlanError: where too few devices are available, whichever are mixed.
        """
        service, available = self.service(best.option), self.available
        mix = best_mix(all_ways, service, self.traffic, self.work, self.hardware, available)
        if mix is None and found.short:
            raise refusals.too_few(self, all_ways, available)
        hour = best.value("usd_per_hour")
        if mix is not None and not found.short and mix.usd_per_hour >= hour * _CHEAPER:
            mix = None
        fleet: Fleet = best.run
        deployment = service.deployment(fleet.replica)
        pools = None
        if isinstance(deployment, Deployment) and deployment.system.tiers:
            pools = pools_for(
                deployment, self.traffic, service.objective, fleet.replicas, fleet.prompt_share
            )
        details = ServiceDetails(
            engine=self.engine,
            objective=service.objective,
            generates=self.generates,
            sensitivity=sensitivity(
                deployment, fleet.replicas, self.traffic, service.objective, fleet.measured
            ),
            curve=fleet.replica.curve,
            pools=pools,
            mix=mix,
        )
        beside = _best_of_groups(all_ways, available, short=found.short)
        return details, tuple(beside), self._notes(best)

    def _notes(self, best: Candidate[Any]) -> tuple[str, ...]:
        started = best.run.launch
        calibration = self.study.scenario.calibration
        unused = f"`{calibration}` refines steps of training: nothing of it is used here"
        return (
            *(one for name, one in self.sources(best).items() if name != "percentiles"),
            f"price: {best.price.rule}",
            self.sources(best)["percentiles"],
            *([unused] if calibration and not best.made else []),
            *(started.remarks if started else ()),
        )

    def sources(self, best: Candidate[Any]) -> dict[str, str]:
        """Return where times and percentiles come from."""
        kernels = load_kernel_model(best.run.replica.system.accelerator)
        return {
            "kernels": kernels.remark,
            "engine": f"engine profile `{self.engine.name}`: {self.engine.source}",
            "percentiles": f"percentiles: of {len(self.traffic):,} simulated requests at "
            f"{self.work.requests_per_s:g} a second, dealt to replicas in turn",
        }

    def amount(self, candidate: Candidate[Any]) -> float:
        """Return tokens generated, or samples, in all the hours that the fleet is held."""
        return candidate.run.tokens_per_hour[1] * self.hours

    def latencies(self, candidate: Candidate[Any]) -> tuple[float, ...]:
        """Return time of a further token and of the first; or of a result."""
        names = ("tpot_median_s", "ttft_median_s") if self.generates else ("latency_median_s",)
        return tuple(candidate.value(name) for name in names)


def _best_of_groups(
    ways: Sequence[Candidate[Fleet]], available: Mapping[str, int], *, short: bool
) -> list[Candidate[Fleet]]:
    """Return the cheapest of each device and format, the first of equal ones."""
    best: dict[tuple[str, Quantization], Candidate[Fleet]] = {}
    for one in ways:
        if not short and one.devices > available.get(one.system.id, one.devices):
            continue
        key = (one.system.id, one.run.replica.quantization)
        if key not in best or one.value("usd_per_hour") < best[key].value("usd_per_hour"):
            best[key] = one
    return sorted(best.values(), key=lambda one: (one.value("usd_per_hour"), one.label))


def _longest(traffic: Traffic) -> float:
    """Return the tokens of the longest request, prompt and answer."""
    return float((traffic.input_tokens + traffic.output_tokens).max())


def _check(model: Architecture, traffic: Traffic, workload: Serving | Passing) -> None:
    """Check lengths against what the model is made for."""
    limit = model.context_limit
    if isinstance(workload, Serving):
        if not any(weight.lookup for block in model.blocks() for weight in block.weights()):
            raise SpecError(
                f"{model.name} generates no tokens", hint="`kind: forward` passes samples forward"
            )
        longest = int((traffic.input_tokens + traffic.output_tokens).max())
    else:
        longest = workload.sequence
    if limit is not None and longest > limit:
        raise SpecError(
            f"{model.name} has positions for {limit:,} tokens, not {longest:,}",
            hint=f"a request may have at most {limit:,}",
        )
