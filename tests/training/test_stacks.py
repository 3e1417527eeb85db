"""Training stacks: the catalog, names that people write, and choices that are not known."""

from __future__ import annotations

import pytest

import costsim
from costsim.errors import CostsimError
from costsim.stacks import Stack, load_stack, stack_for, stack_names, under_recipe
from costsim.stacks.catalog import changed
from costsim.training.evaluate import evaluate
from costsim.training.job import Job
from costsim.training.precision import precision
from costsim.training.recompute import RECOMPUTE
from costsim.training.software import software
from costsim.training.strategy import Strategies, Strategy


@pytest.mark.parametrize("name", stack_names())
def test_every_stack_says_what_it_is_and_runs(name: str) -> None:
    stack = load_stack(name)
    assert stack.release
    assert stack.source
    assert stack.recompute in RECOMPUTE
    changed(stack, {"loss": stack.loss})
    assert software(stack.profile)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("Hugging Face Trainer + PEFT", "hf-trainer-4"),
        ("transformers 5.24", "hf-trainer"),
        ("DeepSpeed ZeRO-3 + PEFT", "deepspeed"),
        ("Axolotl 0.9", "axolotl"),
        ("torchtitan (PyTorch FSDP2)", "torchtitan"),
        ("Megatron-Bridge 25.11", "nemo"),
        ("MaxText on TPU", "maxtext"),
        ("TRL 1.16", "trl"),
        ("TRL", "trl-0"),
        ("NeMo AutoModel", "nemo-automodel"),
        ("torchtitan + torchao", "torchtitan-compiled"),
        ("InternEvo", "internevo"),
    ],
)
def test_names_as_people_write_them(words: str, meant: str) -> None:
    assert stack_for(words).id == meant
    assert stack_for(words).known


def test_an_unknown_framework_is_said_to_be_unknown() -> None:
    assert not stack_for("my own trainer").known
    with pytest.raises(CostsimError, match="unknown training stack") as caught:
        load_stack("axolotll")
    assert "axolotl" in str(caught.value)


def test_choices_that_are_not_known_are_all_named() -> None:
    with pytest.raises(CostsimError) as caught:
        changed(Stack("x", "x", "1", "", "fsdp"), {"loss": "eagre", "lss": "eager"})
    assert len(caught.value.problems) == 2


def test_tied_embeddings_count_once_on_one_stage() -> None:
    # Llama-3.2-1B: 1,235,814,400 parameters at 18 bytes, ZeRO-0, one stage.
    job = Job(
        model=costsim.load_model("llama-3.2-1b"),
        system=costsim.load_hardware("nvidia-h100-sxm5-80gb", count=8),
        global_batch=64,
        sequence=1024,
        precision=precision("bf16"),
        optimizer="adam",
        software=software("megatron-core"),
    )
    memory = evaluate(job, Strategies.of([Strategy(dp=8)])).memory
    assert memory.parts["weights"].max() == 2 * 1_235_814_400
    assert memory.parts["gradients"].max() == 4 * 1_235_814_400
    assert memory.parts["optimizer"].max() == 12 * 1_235_814_400


def test_recipes_for_a_model_change_its_states() -> None:
    # recipes/moonlight: main_grads_dtype, exp_avg_dtype and exp_avg_sq_dtype are bfloat16.
    nemo = load_stack("nemo")
    found = under_recipe(nemo, "Moonlight-16B-A3B")
    assert (found.gradients, found.moments, found.master) == ("bf16", "bf16", "fp32")
    assert under_recipe(nemo, "llama-3.1-8b") == nemo
    assert under_recipe(load_stack("trl"), "moonlight") == load_stack("trl")


def test_flat_gradients_stand_beside_their_buffer_at_the_update() -> None:
    # ZeRO-2 over 8 devices, N/8 = 154,476,800: a gradient in bf16 (2), joined (2), in fp32 (4);
    # buckets of 2 x 5e8 elements in bf16.
    job = Job(
        model=costsim.load_model("llama-3.2-1b"),
        system=costsim.load_hardware("nvidia-h100-sxm5-80gb", count=8),
        global_batch=8,
        sequence=128,
        precision=precision("bf16"),
        optimizer="adamw",
        software=software("deepspeed"),
        stack=load_stack("deepspeed"),
    )
    memory = evaluate(job, Strategies.of([Strategy(dp=8, zero=2)])).memory
    shard = 1_235_814_400 / 8
    states = 2 * 1_235_814_400 + 12 * shard
    assert memory.moments["update"].max() == states + (2 + 2 + 4) * shard + 2 * 2 * 5e8


def test_zero_3_joins_a_sub_group_of_gradients_at_a_time() -> None:
    # 8,030,261,248 parameters over 2 devices, more than a sub-group of 1e9 elements.
    job = Job(
        model=costsim.load_model("llama-3.1-8b"),
        system=costsim.load_hardware("nvidia-h200-sxm-141gb", count=2),
        global_batch=2,
        sequence=128,
        precision=precision("bf16"),
        optimizer="adamw",
        software=software("deepspeed"),
        stack=load_stack("deepspeed"),
    )
    memory = evaluate(job, Strategies.of([Strategy(dp=2, zero=3)])).memory
    shard = 8_030_261_248 / 2
    assert memory.moments["update"].max() == (2 + 12 + 2) * shard + (2 + 4) * 1e9


def test_hybrid_sharding_divides_by_the_devices_of_a_copy() -> None:
    # HSDP: 16 devices hold two copies, each divided over 8; fp32 weights and moments, Adam.
    job = Job(
        model=costsim.load_model("llama-3.1-8b"),
        system=costsim.load_hardware("nvidia-h100-sxm5-80gb", count=16),
        global_batch=16,
        sequence=128,
        precision=precision("bf16"),
        optimizer="adamw",
        software=software("fsdp"),
        stack=load_stack("fsdp"),
    )
    memory = evaluate(job, Strategies.of([Strategy(dp=16, zero=3, replicas=2)])).memory
    assert memory.parts["weights"].max() == 4 * 8_030_261_248 / 8
    assert memory.parts["optimizer"].max() == 8 * 8_030_261_248 / 8
