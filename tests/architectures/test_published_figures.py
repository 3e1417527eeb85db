"""Figures that papers print, reproduced; `pytest --update-golden` writes them to the docs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from costsim.architectures import Architecture, load_model

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "published.md"


@dataclass(frozen=True)
class Figure:
    """`ours` is counted under the convention that the source uses; `within` is its rounding."""

    model: str
    what: str
    published: float
    within: float
    ours: Callable[[Architecture], float]
    convention: str
    source: str


def run(tokens: float) -> Callable[[Architecture], float]:
    """6 FLOPs a parameter and token, the convention of scaling-law papers."""
    return lambda model: 6 * model.parameters * tokens


def multiply_adds(model: Architecture) -> float:
    return model.forward_flops(1) / 2


FIGURES = (
    Figure(
        "gpt3-175b",
        "training FLOPs, 300 B tokens",
        3.14e23,
        0.005,
        run(300e9),
        "6·N·D",
        "Brown et al. 2020 (arXiv 2005.14165), appendix D",
    ),
    Figure(
        "palm-540b",
        "training FLOPs, 780 B tokens",
        2.53e24,
        0.005,
        run(780e9),
        "6·N·D",
        "Chowdhery et al. 2022 (arXiv 2204.02311), table 21",
    ),
    Figure(
        "llama-3.1-405b",
        "training FLOPs, 15.6 T tokens",
        3.8e25,
        0.01,
        run(15.6e12),
        "6·N·D",
        "Llama team 2024 (arXiv 2407.21783), section 3.2",
    ),
    Figure(
        "chinchilla-70b",
        "training FLOPs, 1.4 T tokens",
        5.76e23,
        0.025,
        run(1.4e12),
        "6·N·D",
        "Hoffmann et al. 2022 (arXiv 2203.15556), table 3: the budget of Gopher",
    ),
    Figure(
        "gpt3-175b",
        "parameters",
        174.6e9,
        0.0005,
        lambda model: model.parameters,
        "tied weights once",
        "Brown et al. 2020, table 2.1 (175.0 B), and appendix D",
    ),
    Figure(
        "bert-large",
        "parameters",
        335_141_888,
        0,
        lambda model: model.parameters,
        "without the head for masked words",
        "Devlin et al. 2018 (arXiv 1810.04805): 340 M; exact count of the published checkpoint",
    ),
    Figure(
        "resnet50",
        "multiply-adds of an image",
        4.09e9,
        0.001,
        multiply_adds,
        "convolutions and the classifier",
        "torchvision's table (4.09 GMACs); He et al. 2015: 3.8e9",
    ),
    Figure(
        "mobilenet-v1",
        "multiply-adds of an image",
        569e6,
        0.001,
        multiply_adds,
        "convolutions and the classifier",
        "Howard et al. 2017 (arXiv 1704.04861), table 4",
    ),
    Figure(
        "mobilenet-v1",
        "parameters",
        4.2e6,
        0.01,
        lambda model: model.parameters,
        "batch norm's scales and shifts counted",
        "Howard et al. 2017, table 4",
    ),
    Figure(
        "deepseek-v3",
        "parameters",
        671e9,
        0.001,
        lambda model: model.parameters,
        "without the module that predicts a second token",
        "DeepSeek-AI 2024 (arXiv 2412.19437)",
    ),
    Figure(
        "deepseek-v3",
        "active parameters",
        37e9,
        0.02,
        lambda model: model.active_parameters,
        "experts that a token is sent to; embedding and head in full",
        "DeepSeek-AI 2024 (arXiv 2412.19437)",
    ),
    Figure(
        "mixtral-8x7b",
        "active parameters",
        12.9e9,
        0.01,
        lambda model: model.active_parameters,
        "two of eight experts",
        "Jiang et al. 2024 (arXiv 2401.04088)",
    ),
)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda f: f"{f.model}-{f.what}")
def test_figure(figure: Figure) -> None:
    found = figure.ours(load_model(figure.model))
    assert abs(found / figure.published - 1) <= figure.within


def test_own_count_is_above_six_n_by_attention_alone() -> None:
    """What costsim counts itself adds attention over the full mask: 12·L·h·s a token."""
    model, tokens, sequence = load_model("gpt3-175b"), 300e9, 2048
    own = model.training_flops(1, sequence) * tokens / sequence
    looked_up = 6 * 2048 * 12_288  # position embeddings are parameters without products
    six_n = 6 * (model.parameters) - looked_up
    assert own == pytest.approx((six_n + 12 * 96 * 12_288 * sequence) * tokens, rel=2e-3)


def test_table_of_the_docs(request: pytest.FixtureRequest) -> None:
    lines = [
        "# Published figures, reproduced",
        "",
        "Written by `tests/architectures/test_published_figures.py` (`make golden`); every row is",
        "a test. Training FLOPs of papers are 6 a parameter and token; costsim itself also counts",
        "attention, over the full mask, which adds 12·L·h·s a token (3 % for GPT-3).",
        "",
        "| model | figure | published | costsim | convention | source |",
        "|---|---|---:|---:|---|---|",
    ]
    for figure in FIGURES:
        found = figure.ours(load_model(figure.model))
        lines.append(
            f"| {figure.model} | {figure.what} | {figure.published:.4g} | {found:.4g} "
            f"| {figure.convention} | {figure.source} |"
        )
    text = "\n".join(lines) + "\n"
    if request.config.getoption("--update-golden"):
        DOCS.write_text(text, encoding="utf-8")
    assert DOCS.read_text(encoding="utf-8") == text
