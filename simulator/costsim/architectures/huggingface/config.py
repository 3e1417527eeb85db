"""A Hugging Face `config.json` as its reader sees it: typed values, and an account of every key.

A key that is missing has the library's default of its model type, which stands in `defaults.json`
or is stated by the reader; what was missing, and what was not understood, is told in the notes.
Problems are collected, each at its line and column, and raised together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, cast

from costsim.architectures.architecture import Description
from costsim.architectures.huggingface.quantization import read_quantization
from costsim.architectures.operators.eager import FUNCTIONS
from costsim.documents import Document
from costsim.errors import Problem, SpecError

MAX_LAYERS = 10_000  # as many are told apart one by one
_DEPTHS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers")
MAX_SIZE = 10**9  # a dimension beyond this is a slip of the pen, not a model

_RECORDS = """
model_type transformers_version _name_or_path name_or_path torch_dtype dtype use_cache
torchscript use_bfloat16 gradient_checkpointing tokenizer_class prefix task_specific_params
_attn_implementation attn_implementation _attn_implementation_autoset id2label label2id
num_labels problem_type finetuning_task return_dict output_attentions output_hidden_states
return_dict_in_generate output_scores is_decoder tie_encoder_decoder unsloth_version
chunk_size_feed_forward cross_attention_hidden_size
"""
_GENERATION = """
bos_token_id eos_token_id pad_token_id unk_token_id sep_token_id cls_token_id mask_token_id
decoder_start_token_id forced_bos_token_id forced_eos_token_id suppress_tokens
begin_suppress_tokens bad_words_ids max_length min_length do_sample early_stopping num_beams
num_beam_groups diversity_penalty temperature top_k top_p typical_p repetition_penalty
length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size num_return_sequences
exponential_decay_length_penalty remove_invalid_values
"""
_VALUES = """
initializer_range init_std rms_norm_eps layer_norm_epsilon layer_norm_eps rope_theta
rope_scaling rope_parameters rotary_emb_base rotary_pct partial_rotary_factor rope_interleave
rope_local_base_freq rotary_dim embedding_multiplier logits_scaling residual_multiplier
attention_multiplier logit_scale query_pre_attn_scalar attn_logit_softcapping
final_logit_softcapping scale_embedding qk_norm_eps
"""  # initialization, epsilons, angles of rotation: no work that is counted

_FUNCTION_KEYS = frozenset(
    ("hidden_act", "hidden_activation", "activation_function", "activation", "afn", "act_fn")
)
KNOWN_FUNCTIONS = frozenset(
    (
        *FUNCTIONS,
        *("gelu_10", "gelu_accurate", "gelu_python", "gelu_python_tanh", "gegelu", "geglu"),
        *("laplace", "linear", "mish", "prelu", "xielu", "selu", "elu", "silu_and_mul"),
        *("swiglu", "swigluoai", "swiglu_oai", "squared_relu", "glu", "reglu", "hard_swish"),
        *("quick_gelu_activation", "gelu_tanh", "none", "identity", "softplus", "softmax"),
        *("gelu-approximate", "geglu-approximate", "hard_sigmoid"),
    )
)
"""Activation functions of the library and of releases; any other is told."""

_ROTATION_KEYS = """
    type rope_type factor attention_factor beta_fast beta_slow low_freq_factor high_freq_factor
    original_max_position_embeddings max_position_embeddings short_factor long_factor short_mscale
    long_mscale mscale mscale_all_dim rope_theta partial_rotary_factor mrope_section
    mrope_interleaved interleaved truncate finetuned alpha llama_4_scaling_beta extrapolation_factor
"""
_ROTATIONS = frozenset(_ROTATION_KEYS.split())
"""Members of `rope_scaling`: angles, which change nothing that is counted."""

WITHOUT_EFFECT = frozenset(f"{_RECORDS} {_GENERATION} {_VALUES}".split())
"""Keys of any model type that change nothing that is counted here."""

_SIZES = """
hidden_size n_embd n_embed d_model dim embed_dim num_hidden_layers n_layer n_layers num_layers
intermediate_size n_inner ffn_dim d_ff ffn_hidden_size inter_dim moe_inter_dim
moe_intermediate_size shared_expert_intermediate_size num_attention_heads n_head n_heads num_heads
num_key_value_heads num_kv_heads n_kv_heads head_dim kv_channels v_head_dim qk_nope_head_dim
qk_rope_head_dim q_lora_rank kv_lora_rank o_lora_rank vocab_size padded_vocab_size draft_vocab_size
num_experts n_routed_experts num_local_experts moe_num_experts n_shared_experts num_shared_experts
num_experts_per_tok num_experts_per_token n_activated_experts moe_topk state_size ssm_state_size
"""
SIZES = frozenset(_SIZES.split())
"""Keys of sizes: whoever writes one means it, so that a reader must not pass over it."""

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
    "pruned_heads": ({}, None),
}
"""Keys that would change the cost, and the values with which they do not."""


_FROM_TABLE: Any = object()

_SYNONYMS: Mapping[str, str] = {
    "deepseek_sparse_attention": "indexed_attention",
    "minimax_m3_sparse": "indexed_attention",
}
"""Kinds of layers by other names of published files."""


_ALIKE: Mapping[str, str] = {
    "kimi_k2": "deepseek_v3",
    "minimax_m3": "minimax_m3_vl_text",
    "deepseek_ref": "deepseek_v4",
}
"""Types of published files that have the code and the keys of another."""


@cache
def _library() -> Mapping[str, Mapping[str, Any]]:
    """Return what `.ci/library_defaults.py` has read from transformers."""
    tables = json.loads(Path(__file__).with_name("defaults.json").read_text())
    for table in (tables["model_types"], tables["aliases"]):
        for name, like in _ALIKE.items():
            table[name] = table[like]
    return tables


def library_defaults() -> Mapping[str, Mapping[str, Any]]:
    """Return what transformers takes for missing keys, by model type."""
    return _library()["model_types"]


def library_parts() -> Mapping[str, Mapping[str, Any]]:
    """Return what transformers takes for a missing config of a part, by model type and key."""
    return _library()["parts"]


def fixed_parts() -> Mapping[str, Mapping[str, str]]:
    """Return the type of parts that follows from the whole's, by model type and key.

    Published files often name such a part after the whole model, or not at all.
    """
    return _library()["fixed_parts"]


def library_aliases() -> Mapping[str, Mapping[str, str]]:
    """Return other names of keys, by model type, each with the key."""
    return _library()["aliases"]


class Config:
    """The mapping of a `config.json`; `path` is where it stands in `document`."""

    def __init__(
        self, values: Mapping[str, Any], document: Document, path: tuple[str, ...] = ()
    ) -> None:
        self.values, self.document, self.path = values, document, path
        self.problems: list[Problem] = []
        self.beyond: list[str] = []
        self.defaults: dict[str, Any] = {}
        self.known: set[str] = set(WITHOUT_EFFECT | NEUTRAL.keys())
        self.allowed: set[str] = set()
        self.parts: dict[str, Config] = {}
        self.said: list[str] = []
        self.class_read = False

    def size(self, *keys: str, default: int = _FROM_TABLE) -> int:
        """Return the positive whole number under the first of `keys` that is present."""
        key, value = self._find(keys, default)
        return self._positive(key, value)

    def optional_size(self, *keys: str, default: int | None = _FROM_TABLE) -> int | None:
        """Return the same, or None where the library has null mean "derive it"."""
        key, value = self._find(keys, default)
        return None if value is None else self._positive(key, value)

    def layers(self, *keys: str, default: int = _FROM_TABLE) -> int:
        """Return a number of layers that can be listed one by one."""
        key, value = self._find(keys, default)
        layers = self._positive(key, value)
        if layers > MAX_LAYERS:
            self.problem(key, f"must be at most {MAX_LAYERS:,} layers, is {_shown(value)}")
            return 1
        return layers

    def derive(self, value: int, *keys: str) -> int:
        """Return what the library derives where none of `keys` is written, and tell it."""
        if self.knows(keys[0]) and all(self.values.get(key) is None for key in keys):
            self.defaults[keys[0]] = value
        return value

    def present(self, key: str) -> bool:
        """Return whether `key` is written and not null."""
        return self._find((key,), None)[1] is not None

    def count(self, *keys: str, default: int = _FROM_TABLE) -> int:
        """Return a whole number that may be 0."""
        key, value = self._find(keys, default)
        if value == 0 and type(value) is int:
            return 0
        return self._positive(key, value)

    def flag(self, *keys: str, default: bool = _FROM_TABLE) -> bool:
        """Return the truth value under the first of `keys` that is present."""
        key, value = self._find(keys, default)
        if not isinstance(value, bool):
            self.problem(key, f"must be true or false, {self._told(key, value)}")
            return False
        return value

    def text(self, *keys: str, default: str = _FROM_TABLE) -> str:
        """Return the text under the first of `keys` that is present."""
        key, value = self._find(keys, default)
        if not isinstance(value, str):
            self.problem(key, f"must be text, {self._told(key, value)}")
            return ""
        if key in _FUNCTION_KEYS and value not in KNOWN_FUNCTIONS:
            self.note(f"`{key}` {_shown(value)} is no function that is known: one pass is counted")
        return value

    def rate(self, *keys: str, default: float = _FROM_TABLE) -> float:
        """Return a dropout probability."""
        key, value = self._find(keys, default, listed=False)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            self.problem(key, f"must be between 0 and 1, {self._told(key, value)}")
            return 0.0
        return float(value)

    def names(self, key: str, choices: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return a list of names, each one of `choices`; None where it is missing or null."""
        self.known.add(key)
        value = self.values.get(key)
        if value is None:
            return None
        names = cast("list[object]", value if isinstance(value, list) else [])
        names = [_SYNONYMS.get(str(name), name) for name in names]
        wrong = [name for name in names if name not in choices]
        if not names or wrong:
            shown = f"has {_shown(wrong[0])}" if wrong else f"is {_shown(cast(object, value))}"
            listed = ", ".join(f"`{choice}`" for choice in choices)
            self.problem(key, f"must be a list of {listed}; {shown}")
            return None
        return tuple(str(name) for name in names)

    def sizes(self, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return a list of positive whole numbers; one number stands for a list of one."""
        _, value = self._find((key,), list(default))
        found = cast("list[object]", value) if isinstance(value, list) else [cast(object, value)]
        return tuple(self._positive(key, item) for item in found)

    def nested(self, *keys: str, default: Mapping[str, Any] | None = None) -> Config:
        """Return the config of a part, under the first of `keys` that is present.

        A missing one is the library's choice for this model type; `default` is taken for what is
        missing in it.
        """
        key = next((key for key in keys if self.values.get(key) is not None), keys[0])
        self.known.update(keys)
        if key in self.parts:
            return self.parts[key]
        value = self.values.get(key)
        if value is not None and not isinstance(value, dict):
            self.problem(key, f"must be a mapping, is {_shown(value)}")
        values = dict(default or {})
        whole = str(self.values.get("model_type"))
        chosen = library_parts().get(whole, {}).get(key, {})
        if isinstance(value, dict):
            if "model_type" in chosen:
                values["model_type"] = chosen["model_type"]
            values.update(cast("dict[str, Any]", value))
        else:
            values.update(chosen)
        settled = fixed_parts().get(whole, {}).get(key)
        if settled is not None:
            values["model_type"] = settled
        part = Config(values, self.document, (*self.path, key))
        self.parts[key] = part
        return part

    def flat(self, key: str, model_type: str) -> Config:
        """Return the config of a part whose keys stand among those of the whole.

        What the part reads is understood of the whole.
        """
        if key not in self.parts:
            part = Config({**self.values, "model_type": model_type}, self.document, self.path)
            self.parts[key] = part
            part.known = self.known
        return self.parts[key]

    def class_name(self) -> str:
        """Return the class under `architectures`, which says what stands on the last layer."""
        self.class_read = True
        named = self.values.get("architectures")
        names = cast("list[object]", named) if isinstance(named, list) else []
        return str(names[0]) if names else ""

    def indices(self, key: str) -> tuple[int, ...]:
        """Return a list of whole numbers, as of layers; empty where it is missing or null."""
        _, value = self._find((key,), None)
        found = cast("list[object]", value) if isinstance(value, list) else []
        whole = all(isinstance(item, int) and not isinstance(item, bool) for item in found)
        if not whole or not isinstance(value, list | None):
            self.problem(key, f"must be a list of whole numbers, is {_shown(cast(object, value))}")
            return ()
        return tuple(cast(int, item) for item in found)

    def knows(self, key: str) -> bool:
        """Return whether `key` is written, or the library has a default of it for this type."""
        table = library_defaults().get(str(self.values.get("model_type")), {})
        return key in self.values or key in table

    def value(self, *keys: str) -> object:
        """Return what stands under the first of `keys` that is present, or by default."""
        return self._find(keys, _FROM_TABLE, listed=False)[1]

    def ignore(self, *keys: str) -> None:
        """Declare keys of this model type that change nothing that is counted."""
        self.known.update(keys)

    def allow(self, *keys: str) -> None:
        """Declare that the reader does what these keys say, which most readers do not."""
        self.allowed.update(keys)

    def require(self, holds: bool, key: str, message: str) -> None:
        """Record a problem of `key` unless `holds`; silent after others, which may be the cause."""
        if not holds and not self.problems:
            self.problem(key, message)

    def note(self, text: str) -> None:
        """Tell the user something that the reader decided."""
        self.said.append(text)

    def problem(self, key: str, message: str, hint: str | None = None) -> None:
        """Record a problem of `key`."""
        location = self.document.locate((*self.path, key))
        found = Problem(f"`{key}` {message}", location, hint)
        if found not in self.problems:  # keys that are read twice are wrong once
            self.problems.append(found)

    def unsupported(self, key: str, message: str) -> None:
        """Record that no reader does what `key` says, though it may be right."""
        self.problem(key, message)
        self.beyond.append(f"`{key}` {message}")

    def unread(self) -> list[str]:
        """Return what no reader does, where nothing else is wrong."""
        found = self._beyond()
        return found if found and len(found) == len(self._all_problems()) else []

    def _beyond(self) -> list[str]:
        inner = (text for part in self.parts.values() for text in part._beyond())
        return [*self.beyond, *inner]

    def notes(self) -> tuple[str, ...]:
        """Return what the reader took for granted, after it has read all it knows.

        Raises:
            SpecError: if any value was wrong.
        """
        problems = self._all_problems()
        if problems:
            raise SpecError(problems)
        found: list[str] = []
        defaults = self._all_defaults("")
        if defaults:
            listed = ", ".join(f"{key} {_shown(value)}" for key, value in defaults.items())
            found.append(f"not in the config, so the library's default: {listed}")
        if self.class_read and not self.values.get("architectures"):
            found.append(
                "no `architectures` says which head it has: the usual one of its type is taken"
            )
        unknown = self._all_unknown("")
        if unknown:
            listed = ", ".join(unknown)
            found.append(f"not understood, taken to change nothing that is counted: {listed}")
        return (*self.said, *found, *_special_notes(self.values))

    def _all_problems(self) -> list[Problem]:
        for key, neutral in NEUTRAL.items():
            if key in self.allowed or self.values.get(key, neutral[0]) in neutral:
                continue
            message = f"is {_shown(self.values[key])}: such models are not supported yet"
            if f"`{key}` {message}" not in self.beyond:
                self.unsupported(key, message)
        for key in self._own_unknown():
            if key in SIZES and self.values[key]:
                kind = self.values.get("model_type", "this kind")
                message = f"is a size that models of type {kind} do not have"
                self.problem(key, message, "take it out, or name the type that has it")
        parts = self.parts.values()
        inner = (problem for part in parts for problem in part._all_problems())
        return [*self.problems, *inner]

    def _all_defaults(self, prefix: str) -> dict[str, Any]:
        found = {f"{prefix}{key}": value for key, value in self.defaults.items()}
        for key, part in self.parts.items():
            found.update(part._all_defaults(f"{prefix}{key}."))
        return found

    def _all_unknown(self, prefix: str) -> list[str]:
        own = [f"{prefix}{key}" for key in self._own_unknown()]
        inner = (
            part._all_unknown(f"{prefix}{key}.")
            for key, part in self.parts.items()
            if part.path != self.path  # whose keys are those of the whole
        )
        return [*own, *self._unknown_rotations(prefix), *(key for keys in inner for key in keys)]

    def _unknown_rotations(self, prefix: str) -> list[str]:
        """Return members of a rotary embedding's settings that are not known, by their path."""
        found: list[str] = []

        def walk(path: str, settings: dict[str, object]) -> None:
            for key, value in settings.items():
                if isinstance(value, dict) and key.endswith("_attention"):
                    walk(f"{path}.{key}", cast("dict[str, object]", value))
                elif key not in _ROTATIONS and not key.endswith("_attention"):
                    found.append(f"{path}.{key}")

        for key in ("rope_scaling", "rope_parameters"):
            settings: object = self.values.get(key)
            if isinstance(settings, dict):
                walk(f"{prefix}{key}", cast("dict[str, object]", settings))
        return found

    def _own_unknown(self) -> list[str]:
        known = self.known | _NOTED
        return [key for key in self.values if key not in known and not str(key).endswith(_TOKENS)]

    def _find(self, keys: tuple[str, ...], default: Any, listed: bool = True) -> tuple[str, Any]:
        self.known.update(keys)
        for key in keys:
            if key in self.values:
                return key, self.values[key]
        for alias, key in library_aliases().get(str(self.values.get("model_type")), {}).items():
            if key in keys and alias in self.values:
                self.known.add(alias)
                return alias, self.values[alias]
        name = keys[0]
        if default is _FROM_TABLE:
            table = library_defaults().get(str(self.values.get("model_type")), {})
            other = library_aliases().get(str(self.values.get("model_type")), {})
            known = [key for key in keys if key in table]
            name = next((key for key in known if key not in other), (known or [name])[0])
            default = table.get(name)
        if listed and default is not None:
            self.defaults[name] = default
        return name, default

    def _told(self, key: str, value: object) -> str:
        return f"is {_shown(value)}" if value is not None or key in self.values else "is missing"

    def _positive(self, key: str, value: object) -> int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        most = MAX_LAYERS if key in _DEPTHS else MAX_SIZE
        if not whole or not 1 <= cast(int, value) <= most:
            told = self._told(key, value)
            self.problem(key, f"must be a whole number from 1 to {most:,}, {told}")
            return 1
        return cast(int, value)


Reader: TypeAlias = Callable[[Config], Description]
"""What a family's file provides for each of its model types."""

_TOKENS = ("_token_id", "_token_ids", "_token_index")  # which ids of the vocabulary mean what
_NOTED = frozenset(("architectures", "quantization_config", "auto_map"))


def _special_notes(values: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    quantization = read_quantization(values)
    if quantization is not None:
        known = "held so unless another number format is asked for"
        if quantization.bits is None:
            known = "a format that is not known here, so sizes are of the one asked for"
        found.append(f"the published weights are quantized ({quantization}): {known}")
    if values.get("auto_map"):
        found.append("the model comes with code of its own, which may differ from the library's")
    return found


def _shown(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping" if value else "{}"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return f"`{value[:40]}`"
    if isinstance(value, int) and abs(value) >= 10**20:
        return "far too large"
    return str(value)
