"""A small scenario for tests, and changed copies of it."""

from __future__ import annotations

from pathlib import Path

SCENARIO = """\
name: GPT-2 XL on 16 A100
model: gpt2-xl
workload:
  kind: training
  tokens: 40 B tokens
  sequence: 1024
  global_batch: 512
hardware:
  system: nvidia-a100-sxm4-80gb
  devices: 16
price: 2.5 $/h
"""


def written(folder: Path, *changes: tuple[str, str], extra: str = "") -> Path:
    """Write the scenario with each (old, new) replaced and `extra` appended."""
    text = SCENARIO
    for old, new in changes:
        assert old in text, f"the scenario has no {old!r}"
        text = text.replace(old, new)
    path = folder / "scenario.yaml"
    path.write_text(text + extra, encoding="utf-8")
    return path
