"""What the parts of a step's time and of a device's memory are, in words."""

from __future__ import annotations

TIME_MEANINGS = {
    "matrix": "products with weights, by shape (hardware/gemm.py)",
    "attention": "softmax(QK^T)V, by shape (hardware/attention.py)",
    "memory_bound": "norms, activations, residuals, look-ups, loss, by bytes",
    "recompute": "forward work repeated in the backward pass",
    "tensor_parallel": "exchanges at the edges of tensor-parallel regions",
    "context_parallel": "keys and values passed round, where attention does not hide it",
    "expert_parallel": "tokens taken to their experts and back",
    "pipeline_transfer": "activations and gradients passed between stages",
    "pipeline_bubble": "waiting for the pipeline to fill and drain",
    "data_parallel": "gradients reduced, weights gathered, where nothing hides it",
    "offload": "activations and states on their way to the host and back",
    "optimizer": "one pass over gradients, states and weights",
    "host": "launches that the device waits for, and work once a step",
    "stragglers": "waiting for the slowest of many nodes",
    "input": "waiting for samples to be read and decoded",
}
PHASE_MEANINGS = {
    "generate": "answers to prompts, until the last is there (inference/simulation.py)",
    "score": "models that are not trained, forward over all sequences",
    "value": "the value model, trained as the policy is",
}
"""Of what a step does before it trains."""
MEMORY_MEANINGS = {
    "weights": "parameters of the stage / TP x bytes each (/ DP under ZeRO-3)",
    "gradients": "as accumulated (/ DP from ZeRO-2)",
    "optimizer": "master weights and moments (/ DP from ZeRO-1)",
    "activations": "kept by a layer x layers x micro-batches in flight",
    "logits": "logits, softmax and their gradients, where the loss is the worst moment",
    "buffers": "transient: the largest gradient, gathered weights, one layer restored",
    "beside": "references, rewards, teachers, states of a value model, an engine's share",
    "framework": "driver context, communication buffers, the allocator's loss",
}
