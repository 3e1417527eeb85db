"""A plan in Python: figures by name, rows for data frames, a notebook it does not restyle."""

from __future__ import annotations

import copy
import math
import pickle
from html.parser import HTMLParser
from typing import Any

import pytest

import costsim

IMAGES: dict[str, Any] = {
    "name": 'images "><script>alert(1)</script>',
    "model": "resnet50",
    "workload": {
        "kind": "forward",
        "requests_per_s": 500,
        "latency": "30 ms",
        "max_batch": 32,
    },
    "hardware": {"system": ["nvidia-t4", "nvidia-l4"], "precision": "fp16"},
}


@pytest.fixture(scope="module")
def found() -> Any:
    return costsim.plan(IMAGES)


def test_figures_are_attributes(found: Any) -> None:
    for name, one in found.best.figures.items():
        assert getattr(found.best, name) == one.value
    assert {"cost_usd", "label", "value"} <= set(dir(found.best))
    with pytest.raises(AttributeError, match="cost_usd"):
        _ = found.best.cost_us
    assert not hasattr(found.best, "_repr_png_")
    assert copy.copy(found.best).cost_usd == found.best.cost_usd
    assert pickle.loads(pickle.dumps(found.best.figures)) == found.best.figures


def test_reprs_are_short(found: Any) -> None:
    for one in (found, found.best):
        assert len(repr(one)) < 400


def test_rows_make_a_data_frame(found: Any) -> None:
    pandas = pytest.importorskip("pandas")
    frame = found.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == len(found.candidates)
    assert frame["best"].sum() == 1
    assert math.isclose(frame.loc[frame["best"], "cost_usd"].item(), found.best.cost_usd)
    assert frame["cost_usd_low"].le(frame["cost_usd"]).all()


def test_rows_make_a_polars_frame(found: Any) -> None:
    pytest.importorskip("polars")
    assert found.to_polars().height == len(found.candidates)


def test_notebook_gets_one_frame_and_no_style(found: Any) -> None:
    seen: list[tuple[str, dict[str, str | None]]] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append((tag, dict(attrs)))

    Parser().feed(found._repr_html_())
    assert [tag for tag, _ in seen] == ["iframe"]
    frame = seen[0][1]
    assert frame["sandbox"] == "allow-scripts"
    assert (frame["srcdoc"] or "").lstrip().lower().startswith("<!doctype html")
