"""From the shape columns of a row to an architecture: the composition nearest its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path

from costsim.architectures.architecture import Architecture
from costsim.architectures.catalog import load_model
from costsim.architectures.decoder import decoder
from costsim.architectures.transformer import Transformer
from costsim.errors import CostsimError
from costsim.validation.configs import config_of
from costsim.validation.mixtures import mixture
from costsim.validation.proportions import proportioned
from costsim.validation.runs import Run
from costsim.validation.written import written_model, written_size

Shape = tuple[tuple[str, int], ...]

_COLUMNS = ("layers", "hidden", "ffn", "heads", "kv_heads", "vocab", "experts", "top_k")
# Feed-forward networks and vocabularies: what decides a decoder's parameters beside its sizes.
_GATED = (False, True)
_TIED = (False, True)
_HEAD_DIMS = (None, 64, 128, 256)
_NEAR = 0.001  # relative difference of counts that are the same: biases, padding, rounding
_ROUNDED = 0.02  # of a count as people round it
_LEARNED = 4096  # tokens up to which plain decoders are taken to learn their positions


@dataclass(frozen=True, slots=True)
class Shaped:
    """The architecture of a row. `assumed` says what of its shape is no more than usual."""

    model: Architecture
    assumed: str = ""


def architecture_of(run: Run, folder: Path | None = None) -> Shaped | str:
    """Return the architecture of a row, or why there is none.

    A row that names a published config is of that, in a path that starts at `folder`. One whose
    shape has empty cells is the catalog model that its name means, if that has as many parameters;
    else a model of the usual proportions of its size.
    """
    family = run.text.get("family", "llm-dense")
    if family not in ("llm-dense", "moe"):
        return f"no architecture of family `{family}` yet"
    if (described := config_of(run, folder)) is not None:
        return Shaped(described)
    sizes = {name: int(run.number[name]) for name in _COLUMNS if name in run.number}
    parameters = run.number.get("params_B") or None
    name = run.text.get("model", "")
    named = _catalogued(name)
    if named is not None and _agrees(named, parameters, sizes.get("layers")):
        return Shaped(named)
    many = family == "moe" or sizes.get("experts", 1) > 1
    missing = [key for key in ("layers", "hidden", "heads", "vocab") if key not in sizes]
    if many:
        missing += [key for key in ("ffn", "experts") if key not in sizes]
    active, assumed = run.number.get("active_params_B") or None, ""
    if missing:
        meant = written_model(name, parameters, sizes.get("layers"))
        if meant is not None:
            return Shaped(meant)
        stated, of_token = written_size(name)
        size = parameters or stated or _counted(sizes)
        if size is None:
            return "shape unknown: " + ", ".join(f"`{key}` is empty" for key in missing)
        sizes = proportioned(sizes, size, active or of_token, mixture=many)
        usual = ", ".join(
            f"{key} {sizes[key]:,}" for key in _COLUMNS if key in sizes and key not in run.number
        )
        assumed = f"a shape usual for {size:,.4g}B parameters ({usual})"
        parameters = size
    if sizes["heads"] % sizes.get("kv_heads", sizes["heads"]):
        return f"{sizes['heads']} `heads` do not divide into {sizes['kv_heads']} `kv_heads`"
    shape = tuple(sorted(sizes.items()))
    if sizes.get("experts", 1) > 1:
        return Shaped(mixture(shape, parameters, active, name or run.id), assumed)
    sequence = int(run.number.get("seq_len", 2048))
    return Shaped(_nearest(shape, parameters, sequence, name or run.id), assumed)


def _counted(sizes: Mapping[str, int]) -> float | None:
    """Return about how many 10⁹ parameters a dense decoder of stated depth and width has."""
    if "experts" in sizes or not {"layers", "hidden"} <= sizes.keys():
        return None
    attention_and_network = 12 * sizes["layers"] * sizes["hidden"] ** 2  # 4 h² and 8 h² a layer
    return (attention_and_network + sizes.get("vocab", 0) * sizes["hidden"]) / 1e9


@lru_cache(maxsize=512)
def _catalogued(name: str) -> Architecture | None:
    try:
        return load_model(name) if name and not name.startswith((".", "/")) else None
    except CostsimError:
        return None


@lru_cache(maxsize=1024)
def _agrees(model: Architecture, parameters_billions: float | None, layers: int | None) -> bool:
    """Return whether a catalog model has the parameters and the depth that a row states."""
    if layers is not None and layers != model.depth:
        return False
    if parameters_billions is None:
        return True
    return abs(model.parameters / (parameters_billions * 1e9) - 1) < _ROUNDED


@lru_cache(maxsize=1024)
def _nearest(
    shape: Shape, parameters_billions: float | None, sequence: int, name: str
) -> Architecture:
    """Return the decoder of `shape` whose parameter count is nearest; ties go to the plainer."""
    sizes = dict(shape)
    found: list[tuple[float, Architecture]] = []
    for gated, tied, head_dim in product(_GATED, _TIED, _head_dims(sizes)):
        model = Architecture(name, _compose(sizes, gated, tied, head_dim, sequence), "runs file")
        target = (parameters_billions or 0) * 1e9
        error = abs(model.parameters / target - 1) if target else 0.0
        # Heads as wide as hidden / heads unless that leaves the count clearly off.
        unusual = head_dim is not None and _head_dims(sizes)[0] is None
        found.append((max(error, _NEAR) + unusual * _ROUNDED, model))
    return min(found, key=lambda pair: pair[0])[1]


def _head_dims(sizes: Mapping[str, int]) -> tuple[int | None, ...]:
    if sizes["hidden"] % sizes["heads"] == 0:
        return _HEAD_DIMS
    return _HEAD_DIMS[1:]


def _compose(
    sizes: Mapping[str, int], gated: bool, tied: bool, head_dim: int | None, sequence: int
) -> Transformer:
    """Return a decoder in one of two styles.

    Gated networks come with rotary positions and RMS norms without biases, as in Llama; plain ones
    with learned positions, layer norms, biases and dropout, as in GPT-3.
    """
    return decoder(
        layers=sizes["layers"],
        hidden=sizes["hidden"],
        heads=sizes["heads"],
        vocabulary=sizes["vocab"],
        feed_forward=sizes.get("ffn"),
        kv_heads=sizes.get("kv_heads"),
        head_dim=head_dim,
        gated=gated,
        bias=not gated,
        norm="rms" if gated else "layer",
        positions="rotary" if gated or sequence > _LEARNED else "learned",
        max_positions=sequence,
        tied=tied,
        dropout=not gated,
    )
