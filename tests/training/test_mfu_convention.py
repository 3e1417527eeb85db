"""Attention that MFU counts: pairs counted one by one are what the closed form says."""

from __future__ import annotations

import pytest

from costsim import plan
from costsim.architectures.work import ScaledDotProduct


@pytest.mark.parametrize(("queries", "keys"), [(7, 7), (3, 7), (1, 5), (8, 8)])
@pytest.mark.parametrize("window", [None, 1, 3, 6, 20])
def test_unmasked_pairs_are_counted(queries: int, keys: int, window: int | None) -> None:
    work = ScaledDotProduct(
        batch=2, query_heads=3, kv_heads=1, query_tokens=queries, kv_tokens=keys,
        head_dim=4, value_dim=5, window=window,
    )  # fmt: skip
    pairs = sum(
        keys - queries + query - (window or keys) < key <= keys - queries + query
        for query in range(queries)
        for key in range(keys)
    )
    assert work.unmasked_flops == pytest.approx(2 * 2 * 3 * pairs * (4 + 5))


def test_causal_mfu_is_lower_at_the_same_time() -> None:
    work = {"kind": "training", "tokens": 1e8, "sequence": 1024, "global_batch": 8}
    base = {"name": "x", "model": "gpt2-xl", "hardware": {"system": "nvidia-h100-sxm5-80gb"}}
    base["hardware"]["devices"] = 8  # type: ignore[index]
    base["strategy"] = {"tp": 1, "pp": 1, "cp": 1, "micro_batch": 1}  # type: ignore[assignment]
    full = plan({**base, "workload": work}).best
    causal = plan({**base, "workload": {**work, "mfu": "causal"}}).best
    assert causal.value("step_time_s") == full.value("step_time_s")
    assert 0.8 * full.value("mfu_ratio") < causal.value("mfu_ratio") < full.value("mfu_ratio")
    assert "causal mask" in causal.figures["mfu_ratio"].meaning
