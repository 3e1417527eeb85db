"""Published scaling laws, and the divisions of a budget that follow from them.

A law gives the loss of N parameters trained on D tokens, E + A/N^a + B/D^b. Training takes 6ND
FLOPs and serving T tokens takes 2NT; everything here minimizes one under the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from costsim.errors import SpecError, UnknownNameError, suggestion
from costsim.resources import packaged_yaml

TRAINING_FLOPS_PER_PARAMETER_TOKEN = 6.0
"""Forward 2, backward 4 (Kaplan et al. 2020); attention is left out, as the laws' authors do."""
SERVING_FLOPS_PER_PARAMETER_TOKEN = 2.0

DEFAULT_LAW = "chinchilla-refit"
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Division:
    """Parameters and tokens, what they take to train, and the loss that the law expects of them."""

    parameters: float
    tokens: float
    loss: float

    @property
    def flops(self) -> float:
        """FLOPs of training."""
        return TRAINING_FLOPS_PER_PARAMETER_TOKEN * self.parameters * self.tokens

    @property
    def tokens_per_parameter(self) -> float:
        """The ratio that rules of thumb speak of."""
        return self.tokens / self.parameters


@dataclass(frozen=True, slots=True)
class ScalingLaw:
    """loss(N, D) = irreducible + A / N^a + B / D^b, in nats a token of the law's own data."""

    name: str
    irreducible: float
    parameters_factor: float
    parameters_exponent: float
    tokens_factor: float
    tokens_exponent: float
    low_flops: float
    high_flops: float
    exponent_error: float
    source: str

    def loss(self, parameters: float, tokens: float, unique_tokens: float | None = None) -> float:
        """Return the expected loss, nats a token.

        Args:
            parameters: of the model, N.
            tokens: trained on, D.
            unique_tokens: of the data, where fewer than `tokens`: the rest are repetitions.
        """
        seen = effective_tokens(tokens, unique_tokens)
        return (
            self.irreducible
            + self.parameters_factor / parameters**self.parameters_exponent
            + self.tokens_factor / seen**self.tokens_exponent
        )

    def best_of_flops(self, flops: float) -> Division:
        """Return the division of a training budget of `flops` with the least loss.

        Where 6ND = C, the loss is least at a A / N^a = b B / D^b (Hoffmann et al. 2022, eq. 4).
        """
        a, b = self.parameters_exponent, self.tokens_exponent
        ratio = (a * self.parameters_factor / (b * self.tokens_factor)) ** (1 / (a + b))
        product = flops / TRAINING_FLOPS_PER_PARAMETER_TOKEN
        parameters = ratio * product ** (b / (a + b))
        return self._division(parameters, product / parameters)

    def cheapest_of_loss(self, loss: float, served_tokens: float = 0.0) -> Division:
        """Return the division that reaches a loss with the fewest FLOPs of its whole life.

        Args:
            loss: to reach, nats a token.
            served_tokens: that the model generates in its life, at 2N FLOPs each; the more, the
                smaller the model and the longer its training.

        Raises:
            SpecError: if the loss is not above the irreducible one.
        """
        excess = loss - self.irreducible
        if excess <= 0:
            raise SpecError(
                f"a loss of {loss} is not above {self.irreducible}, which no budget reaches",
                hint=f"law `{self.name}` says that much of text cannot be predicted",
            )
        a, b = self.parameters_exponent, self.tokens_exponent
        # Without serving, both terms hold fixed shares of the excess.
        parameters = (self.parameters_factor * (a + b) / (b * excess)) ** (1 / a)
        if served_tokens > 0:
            parameters = self._smaller(loss, parameters, served_tokens)
        return self._division(parameters, self._tokens_for(loss, parameters))

    def tokens_for(self, loss: float, parameters: float) -> float:
        """Return the tokens after which a model of `parameters` reaches `loss`.

        Raises:
            SpecError: if it never does.
        """
        tokens = self._tokens_for(loss, parameters)
        if math.isinf(tokens):
            raise SpecError(
                f"{parameters:.3g} parameters never reach a loss of {loss}",
                hint="allow a larger model, or a higher loss",
            )
        return tokens

    def exponent_range(self) -> tuple[float, float]:
        """Return low and high of the exponent of N with compute, from the law's own errors."""
        a, b, error = self.parameters_exponent, self.tokens_exponent, self.exponent_error
        middle = b / (a + b)
        spread = error * math.sqrt(a * a + b * b) / (a + b) ** 2
        return middle - 2 * spread, middle + 2 * spread

    def outside(self, flops: float) -> float:
        """Return how many times a budget lies beyond what the law was fitted on; 1 inside."""
        return max(flops / self.high_flops, self.low_flops / flops, 1.0)

    def _division(self, parameters: float, tokens: float) -> Division:
        return Division(parameters, tokens, self.loss(parameters, tokens))

    def _tokens_for(self, loss: float, parameters: float) -> float:
        of_parameters = self.parameters_factor / parameters**self.parameters_exponent
        left = loss - self.irreducible - of_parameters
        if left <= 0:
            return math.inf
        return (self.tokens_factor / left) ** (1 / self.tokens_exponent)

    def _smaller(self, loss: float, most: float, served_tokens: float) -> float:
        """Return the parameters with the fewest FLOPs of training and serving, at most `most`.

        Along the curve of equal loss the sum has one minimum: golden-section search in log N,
        from the least N that reaches the loss at all.
        """
        excess = loss - self.irreducible
        least = (self.parameters_factor / excess) ** (1 / self.parameters_exponent)

        def flops(log_parameters: float) -> float:
            parameters = math.exp(log_parameters)
            tokens = self._tokens_for(loss, parameters)
            return parameters * (
                TRAINING_FLOPS_PER_PARAMETER_TOKEN * tokens
                + SERVING_FLOPS_PER_PARAMETER_TOKEN * served_tokens
            )

        low, high = math.log(least), math.log(most)
        for _ in range(120):
            one, two = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
            if flops(one) < flops(two):
                high = two
            else:
                low = one
        return math.exp((low + high) / 2)


def effective_tokens(tokens: float, unique_tokens: float | None) -> float:
    """Return the fresh tokens that `tokens` with repetitions are worth (Muennighoff et al. 2023).

    D' = U + U R* (1 - e^(-R / R*)), with R repetitions of U unique tokens.
    """
    if unique_tokens is None or tokens <= unique_tokens:
        return tokens
    half_life = float(_file()["repetition"]["tokens_half_life"])
    repetitions = tokens / unique_tokens - 1
    return unique_tokens * (1 + half_life * -math.expm1(-repetitions / half_life))


def critical_batch_tokens(loss: float) -> float:
    """Return the batch beyond which more tokens a step hardly save steps (Kaplan et al. 2020)."""
    known = _file()["critical_batch"]
    return float(known["tokens_factor"]) / loss ** (1 / float(known["loss_exponent"]))


def scaling_laws() -> tuple[str, ...]:
    """Return the names of all laws."""
    return tuple(_file()["laws"])


def scaling_law(name: str = DEFAULT_LAW) -> ScalingLaw:
    """Return a law of `hardware_specs/scaling_laws.yaml`.

    Raises:
        UnknownNameError: if there is none of that name.
    """
    known = _file()["laws"]
    if name not in known:
        raise UnknownNameError(f"unknown scaling law `{name}`", hint=suggestion(name, known))
    fields = dict(known[name])
    low_flops, high_flops = fields.pop("range_flops")
    return ScalingLaw(name=name, low_flops=low_flops, high_flops=high_flops, **fields)


def _file() -> dict[str, dict[str, Any]]:
    return packaged_yaml("hardware_specs", "scaling_laws.yaml")
