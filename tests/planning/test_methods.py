"""Methods of training in a plan: models beside, passes forward, parts that are trained, by hand."""

from __future__ import annotations

from typing import Any

import pytest

import costsim
from costsim.errors import SpecError

H100 = "nvidia-h100-sxm5-80gb"
PARAMETERS = 8_030_261_248  # of Llama-3.1-8B, over 8 devices
VOCABULARY, HIDDEN, LAYER = 128_256, 4096, 218_112_000
FORWARD_FLOPS = 2 * 7.5e9 * 128 * 1024  # of a step's tokens, at least
PEAK = 8 * 989e12


def planned(strategy: dict[str, Any] | None = None, nvme: str | None = None, **work: Any) -> Any:
    asked = {"kind": "training", "tokens": 1e8, "sequence": 1024, "global_batch": 128} | work
    stated = {"tp": 1, "pp": 1, "cp": 1, "micro_batch": 2, "zero": 3, "recompute": "full"}
    scenario = {
        "name": "x",
        "model": "llama-3.1-8b",
        "workload": asked,
        "hardware": {"system": H100, "devices": 8} | ({"nvme": nvme} if nvme else {}),
        "strategy": stated if strategy is None else strategy,
        "price": "2 $/h",
    }
    return costsim.plan(scenario).best


def held(found: Any, part: str = "beside") -> float:
    return found.run.memory_parts_bytes[0][1][part]


@pytest.fixture(scope="module")
def plain() -> Any:
    return planned()


def test_dpo_holds_a_reference_that_passes_both_answers_forward(plain: Any) -> None:
    found = planned(method="dpo")
    assert held(found) == pytest.approx(2 * PARAMETERS / 8)
    scored = found.run.time_parts_s["score"]
    assert FORWARD_FLOPS / PEAK < scored < 3 * FORWARD_FLOPS / PEAK
    step = found.value("step_time_s")
    assert step == pytest.approx(plain.value("step_time_s") + scored)
    ratio = step / plain.value("step_time_s")
    assert found.value("device_hours") == pytest.approx(ratio * plain.value("device_hours"))


def test_answers_from_before_cost_neither_memory_nor_time(plain: Any) -> None:
    found = planned(method="dpo", reference="precomputed")
    assert held(found) == 0
    assert found.value("step_time_s") == plain.value("step_time_s")


def test_adapters_share_their_base_with_the_reference() -> None:
    shared = planned(method="dpo", adapter={})
    apart = planned(method="dpo", adapter={}, reference="separate")
    assert held(shared) == 0
    # Beside the base those 2 x 16 x (4,096 + 4,096 + 4,096 + 1,024) x 32 of the adapters.
    assert held(apart) == pytest.approx(2 * PARAMETERS / 8, rel=0.001)
    assert shared.run.time_parts_s["score"] == pytest.approx(
        apart.run.time_parts_s["score"], rel=1e-6
    )


def test_kto_passes_other_answers_through_policy_and_reference() -> None:
    dpo, kto = planned(method="dpo"), planned(method="kto")
    assert held(kto) == held(dpo)
    assert kto.run.time_parts_s["score"] == pytest.approx(3 * dpo.run.time_parts_s["score"])


def test_orpo_needs_nothing_beside(plain: Any) -> None:
    found = planned(method="orpo")
    assert held(found) == 0
    assert found.value("step_time_s") == plain.value("step_time_s")


def test_a_reward_model_has_one_output(plain: Any) -> None:
    found = planned(method="reward")
    parameters = PARAMETERS - VOCABULARY * HIDDEN + HIDDEN
    assert held(found, "weights") == pytest.approx(2 * parameters / 8)
    assert held(found, "optimizer") == pytest.approx(12 * parameters / 8)
    assert held(found, "logits") < 1e-4 * held(plain, "logits")


def test_ppo_trains_a_value_model_beside_reference_and_reward(plain: Any) -> None:
    rollouts = {"generations": 8, "input_tokens": 512, "output_tokens": 256}
    found = planned(method="ppo", rollouts=rollouts | {"engine_memory": 0.4})
    # Reference and reward in 16 bits; the value model's weights, gradients, master and moments.
    assert held(found) == pytest.approx((2 + 2 + 2 + 4 + 12) * PARAMETERS / 8)
    parts = found.run.time_parts_s
    trained = plain.value("step_time_s")
    assert parts["value"] == pytest.approx(trained)
    # Policy, reference, reward and value each pass the answers forward once.
    one = planned(method="dpo").run.time_parts_s["score"]
    assert parts["score"] == pytest.approx(4 * one)
    assert parts["generate"] > 0
    whole = parts["generate"] + parts["score"] + parts["value"] + trained
    assert found.value("step_time_s") == pytest.approx(whole)


def test_a_teacher_is_held_and_answers_or_did_so_before(plain: Any) -> None:
    online = planned(method="distill", teacher="llama-3.1-70b")
    cached = planned(method="distill", teacher="llama-3.1-70b", teacher_answers="cached")
    assert held(online) == pytest.approx(2 * 70_553_706_496 / 8)
    scored = online.run.time_parts_s["score"]
    assert 9 * FORWARD_FLOPS / PEAK < scored < 27 * FORWARD_FLOPS / PEAK
    assert held(cached) == 0
    assert cached.value("step_time_s") == plain.value("step_time_s")


def test_a_pair_is_never_divided() -> None:
    found = planned(method="orpo", strategy={"tp": 1, "pp": 1, "cp": 1, "zero": 3})
    assert found.run.strategy.micro_batch % 2 == 0


def test_parts_that_are_trained_alone_have_all_states() -> None:
    found = planned(trained=["last:2"])
    assert held(found, "weights") == pytest.approx(2 * PARAMETERS / 8)
    assert held(found, "gradients") == pytest.approx(4 * 2 * LAYER / 8)
    assert held(found, "optimizer") == pytest.approx(12 * 2 * LAYER / 8)
    norms = planned(trained="norms")
    assert held(norms, "optimizer") == pytest.approx(12 * 65 * HIDDEN / 8)
    # Down to the embedding, gradients pass through every layer; to the last two they do not.
    assert norms.value("step_time_s") > 1.2 * found.value("step_time_s")


def test_states_on_drives_take_their_bandwidth() -> None:
    stated = {"tp": 1, "pp": 1, "cp": 1, "micro_batch": 2, "zero": 3, "recompute": "full"}
    host = planned(stated | {"offload": "states"})
    drives = planned(stated | {"offload": "nvme"}, nvme="25 GB/s")
    assert drives.value("memory_bytes_per_device") == host.value("memory_bytes_per_device")
    moved = (2 * (12 + 4) + 3 * 2) * PARAMETERS
    more = drives.run.time_parts_s["offload"] - host.run.time_parts_s["offload"]
    assert more == pytest.approx(moved / 25e9)


@pytest.mark.parametrize(
    ("work", "said"),
    [
        ({"method": "dop"}, "dpo"),
        ({"method": "dpo", "global_batch": 127}, "no number of pairs"),
        ({"method": "sft", "reference": "separate"}, "compares with no reference"),
        ({"method": "dpo", "reference": "shared"}, "where the base is frozen"),
        ({"method": "dpo", "teacher": "llama-3.1-70b"}, "learns from no teacher"),
        ({"method": "distill", "teacher": "lama-3.1-70b"}, "llama-3.1-70b"),
        ({"method": "ppo"}, "how much is not said"),
        ({"trained": ["last:2"], "adapter": {}}, "not both"),
        ({"trained": ["nrms"]}, "norms"),
        ({"strategy": {"offload": "nvme"}}, "hardware: {nvme: 25 GB/s}"),
        ({"strategy": {"offload": "nvem"}}, "nvme"),
        ({"nvme": "25 GB/s"}, "nothing is kept on the drives"),
    ],
)
def test_what_contradicts_is_an_error_with_a_way_out(work: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as error:
        planned(**work)
    assert said in str(error.value)
    assert "hint" in str(error.value)
