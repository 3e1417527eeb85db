"""What a model is: operators, layers, the catalog, readers, and the closed forms that follow."""

from costsim.architectures.architecture import Architecture
from costsim.architectures.catalog import aliases_of, load_model, model_names
from costsim.architectures.tracing import from_torch

__all__ = ["Architecture", "aliases_of", "from_torch", "load_model", "model_names"]
