"""Check that readers agree with what the installed transformers was seen doing, type by type.

Every causal language model of the library is built from its type's own defaults without storage,
seen running, composed of costsim's layers, and compared with what the reader of the type composes,
field by field. Types that cannot be composed say why; a reader that says something else is shown.

    python benchmarks/semantic_trace.py [TYPE …]

Exits with 1 where a reader and the library disagree in what the trace can see.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from costsim.architectures import load_model
from costsim.architectures.huggingface import READERS
from costsim.errors import CostsimError

UNSEEN = ("float32_softmax", "activation", "activation_weights")
"""Fields that no tensor of a trace shows: they come from keys of the config."""


def differences(reader: Any, traced: Any, path: str = "") -> Iterator[str]:
    """Yield where two descriptions differ."""
    if is_dataclass(reader) and type(reader) is type(traced):
        for one in fields(reader):
            if one.name not in UNSEEN:
                left, right = getattr(reader, one.name), getattr(traced, one.name)
                yield from differences(left, right, f"{path}.{one.name}")
    elif isinstance(reader, tuple) and isinstance(traced, tuple) and len(reader) == len(traced):
        for index, (left, right) in enumerate(zip(reader, traced, strict=True)):
            yield from differences(left, right, f"{path}[{index}]")
    elif reader != traced:
        yield f"{path}: reader {str(reader)[:80]}, library {str(traced)[:80]}"


def compared(model_type: str) -> tuple[str, list[str]]:
    """Return what came of a type, and the details."""
    from costsim.architectures.tracing.semantic import composed

    values = {"model_type": model_type}
    try:
        traced = composed(values)
    except Exception as error:  # whatever the library makes of its own defaults
        return "not composed", [f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"]
    if model_type not in READERS:
        return "composed, no reader", []
    try:
        reader = load_model(values).description
    except CostsimError as error:
        return "reader refuses", [str(error)[:200]]
    found = list(differences(reader, traced))
    return ("differs" if found else "equal"), found[:6]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("types", nargs="*")
    chosen = parser.parse_args().types
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    outcomes: Counter[str] = Counter()
    for model_type in chosen or MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        start = time.monotonic()
        outcome, details = compared(model_type)
        outcomes[outcome] += 1
        print(f"{model_type}: {outcome} ({time.monotonic() - start:.1f} s)", flush=True)
        for line in details:
            print(f"    {line}", flush=True)
    print(f"transformers {transformers.__version__}: {dict(outcomes)}")
    sys.exit(outcomes["differs"] > 0)


if __name__ == "__main__":
    main()
