"""Model types without a reader: traced from transformers where it is installed, else an error."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from costsim.architectures import load_model
from costsim.architectures.blueprint import from_json, keep, kept, to_json
from costsim.architectures.huggingface import READERS, fallback
from costsim.errors import SpecError

TINY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 96,
    "max_position_embeddings": 64,
    "moe_intermediate_size": 16,
    "num_experts": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "n_routed_experts": 8,
    "pad_token_id": 0,
}
DENSE = {key: value for key, value in TINY.items() if "expert" not in key and "moe" not in key}


class TestWithoutTransformers:
    def test_the_error_names_the_extra(self, monkeypatch):
        monkeypatch.setattr(fallback, "installed", lambda: False)
        with pytest.raises(SpecError) as caught:
            load_model({"model_type": "not_yet_invented", "hidden_size": 8})
        assert "costsim[transformers]" in str(caught.value)
        assert "`hidden_size`" in str(caught.value)

    def test_what_has_a_reader_is_read(self, monkeypatch):
        monkeypatch.setattr(fallback, "installed", lambda: pytest.fail("asked for the library"))
        assert load_model({"model_type": "llama", **DENSE}).parameters > 0


class TestDeclaredUnsupported:
    """A reader that says what it does not do hands over to the library, here a stand-in."""

    @pytest.fixture
    def declares(self, monkeypatch):
        from costsim.architectures import huggingface

        reader = huggingface.READERS["llama"]

        def declaring(config):
            config.unsupported("num_layers_twice", "is not counted")
            return reader(config)

        monkeypatch.setitem(huggingface.READERS, "llama", declaring)
        return huggingface

    def test_the_library_is_asked_with_the_reason(self, declares, monkeypatch):
        stand_in, asked = load_model("gpt2"), []

        def traced(values, location, **rest):
            asked.append(rest["reason"])
            return stand_in

        monkeypatch.setattr(declares, "traced_reference", traced)
        assert load_model({"model_type": "llama", **DENSE}).parameters == stand_in.parameters
        assert asked == ["`num_layers_twice` is not counted"]

    def test_without_the_library_the_reason_is_the_error(self, declares, monkeypatch):
        monkeypatch.setattr(fallback, "installed", lambda: False)
        with pytest.raises(SpecError, match="`num_layers_twice` is not counted"):
            load_model({"model_type": "llama", **DENSE})


class TestWithTransformers:
    @pytest.fixture(autouse=True)
    def _library(self, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        pytest.importorskip("torch")
        pytest.importorskip("transformers", minversion="5")

    @staticmethod
    def traced(model_type: str, **changes):
        from costsim.architectures.tracing.reference import reference

        values = {"model_type": model_type, **TINY, **changes}
        return reference(values, name=model_type, source="")

    @pytest.mark.parametrize("model_type", ["llama", "gemma2", "phi", "qwen2", "starcoder2"])
    def test_traces_agree_with_readers(self, model_type):
        if model_type not in READERS:
            pytest.skip(f"{model_type} has no reader")
        values = {"model_type": model_type, **DENSE}
        read, traced = load_model(values), self.traced(model_type)
        assert traced.parameters == read.parameters
        for shape in ((1, 40), (3, 16)):
            assert traced.forward_flops(*shape) == read.forward_flops(*shape)
            assert traced.training_flops(*shape) == read.training_flops(*shape)

    @pytest.mark.parametrize("model_type", ["mixtral", "qwen3_moe", "olmoe", "gpt_oss"])
    def test_experts_are_those_of_the_loop_that_really_runs(self, model_type):
        import torch
        from torch.utils.flop_counter import FlopCounterMode
        from transformers import AutoConfig, AutoModelForCausalLM

        config = AutoConfig.for_model(model_type, **TINY)
        module = AutoModelForCausalLM.from_config(
            config, attn_implementation="eager", experts_implementation="eager"
        )
        ids = torch.randint(0, 96, (2, 24))
        with FlopCounterMode(display=False) as counter:
            module(input_ids=ids, use_cache=False).logits.sum().backward()
        traced = self.traced(model_type)
        assert traced.training_flops(2, 24) == counter.get_total_flops()
        experts = sum(p.numel() for n, p in module.named_parameters() if ".experts." in n)
        assert traced.parameters == module.num_parameters()
        assert traced.active_parameters == traced.parameters - experts * 6 // 8

    def test_a_type_without_a_reader_is_traced_and_says_so(self, monkeypatch, tmp_path):
        monkeypatch.delitem(READERS, "mistral")
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "mistral", **TINY}))
        model = load_model(tmp_path)
        assert any("was seen doing" in note for note in model.notes)
        assert model.depth == 2
        assert model.forward_flops(1, 16) > 0

    def test_what_cannot_be_composed_is_traced_with_the_reason(self, monkeypatch):
        monkeypatch.delitem(READERS, "falcon_h1")
        model = load_model({"model_type": "falcon_h1", "num_hidden_layers": 1})
        assert any("operation by operation: " in note for note in model.notes)

    def test_a_model_that_sees_computes_as_its_text_and_holds_the_rest(self):
        import torch
        from transformers import AutoConfig, AutoModelForImageTextToText

        text = {"model_type": "qwen2", **DENSE}
        values = {"model_type": "got_ocr2", "text_config": text}
        model = load_model(values)
        assert any("ONLY ITS TEXT MODEL COMPUTES" in note for note in model.notes)
        with torch.device("meta"):
            config = AutoConfig.for_model("got_ocr2", text_config=text)
            module = AutoModelForImageTextToText.from_config(config)
        assert model.parameters == sum(weight.numel() for weight in module.parameters())
        assert model.cache_bytes(1, 50) == load_model(text).cache_bytes(1, 50)

    def test_values_that_make_no_model_are_a_clear_error(self, monkeypatch):
        monkeypatch.delitem(READERS, "mistral")
        with pytest.raises(SpecError, match="transformers cannot build `mistral`"):
            load_model({"model_type": "mistral", **TINY, "hidden_act": "no such function"})

    def test_a_type_that_nobody_knows_is_the_usual_error(self):
        with pytest.raises(SpecError, match="is not supported"):
            load_model({"model_type": "not_yet_invented"})


BOTH = """
cohere cohere2 exaone4 ernie4_5 gemma gemma2 gemma3_text glm glm4 gpt_neox gpt2 granite helium
llama mistral olmo olmo2 phi qwen2 qwen3 smollm3 stablelm starcoder2 opt mixtral qwen2_moe
qwen3_moe olmoe gpt_oss phimoe granitemoe glm4_moe deepseek_v3 minicpm3
"""
"""Types that costsim reads and that are composed of what the library does."""


class TestComposedOfWhatWasSeen:
    """Composed models are those that readers compose, so they divide, cache and serve alike."""

    @pytest.fixture(autouse=True)
    def _library(self):
        pytest.importorskip("torch")
        pytest.importorskip("transformers", minversion="5")

    @pytest.mark.parametrize("model_type", BOTH.split())
    def test_it_serves_and_divides_as_the_readers_model(self, model_type):
        from costsim.architectures.tracing.semantic import composed
        from costsim.architectures.workload import Shard

        values = {"model_type": model_type, "num_hidden_layers": 4}
        read = load_model(values)
        traced = replace(read, description=composed(values))
        assert traced.parameters == read.parameters
        assert traced.active_parameters == read.active_parameters
        for tokens in (100, 5000):
            assert traced.decode_flops(2, tokens) == read.decode_flops(2, tokens)
            assert traced.cache_bytes(3, tokens) == read.cache_bytes(3, tokens)
        part = Shard(tp=2)
        for block, other in zip(traced.blocks(), read.blocks(), strict=True):
            ours, theirs = block.shard(part), other.shard(part)
            assert [w.stored_elements for w in ours.weights()] == [
                w.stored_elements for w in theirs.weights()
            ]
            assert len(ours.collectives()) == len(theirs.collectives())
            assert ours.flops() == theirs.flops()

    def test_a_decoder_that_differs_in_a_total_is_refused(self):
        from costsim.architectures.tracing import semantic
        from costsim.architectures.tracing.understanding import understood

        module, config = semantic.built({"model_type": "qwen2", **DENSE})
        watched, facts = semantic.observed(module, config)
        decoder = understood(watched, facts)
        assert semantic.differences(decoder, watched) == []
        changed = replace(decoder, tied=not decoder.tied)
        assert any("parameters" in line for line in semantic.differences(changed, watched))


class TestBlueprints:
    @pytest.mark.parametrize(
        "changes",
        [{"model_type": "llama"}, {"model_type": "deepseek_v3"}, {"model_type": "gpt_oss"}],
    )
    def test_a_decoder_is_read_back_as_it_was(self, changes):
        decoder = load_model(changes).description
        assert from_json(json.loads(json.dumps(to_json(decoder)))) == decoder

    @pytest.mark.parametrize("text", ["{}", "[1]", '{"record": "os"}', '{"record": "Layer"}', "3"])
    def test_anything_else_is_no_decoder(self, text):
        with pytest.raises(ValueError, match="no decoder"):
            from_json(json.loads(text))

    def test_what_was_kept_is_found_by_its_config_and_library(self, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        decoder = load_model({"model_type": "llama"}).description
        assert kept({"a": 1}, "library 1") is None
        keep({"a": 1}, "library 1", decoder)
        assert kept({"a": 1}, "library 1") == decoder
        assert kept({"a": 2}, "library 1") is kept({"a": 1}, "library 2") is None
        for path in tmp_path.rglob("*.json"):
            path.write_text("{")
        assert kept({"a": 1}, "library 1") is None
