from __future__ import annotations

from pathlib import Path

import pytest

BASE = """\
name: small
model: gpt2
workload: {kind: training, tokens: 10 B tokens, sequence: 1024, global_batch: 64, precision: bf16}
hardware: {system: nvidia-a100-sxm4-80gb, devices: 8}
strategy: {tp: 1, pp: 1, dp: 8, zero: 0, recompute: none, micro_batch: 8}
price: 2 $/h
site: {grid: USA}
limits: {cost: 100 $}
"""

STUDY = """\
scenario: base.yaml
vary:
  price: [1 $/h, 2 $/h, 1000 $/h]
  workload.global_batch: [64, 63]
sample:
  latin_hypercube: 4
  seed: 3
  over:
    workload.tokens: {from: 1 B tokens, to: 100 B tokens, scale: log}
record: [cost_usd, days, strategy.dp, system]
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return a study of 24 points: some planned, some over the limit, some wrong."""
    (tmp_path / "base.yaml").write_text(BASE)
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path
