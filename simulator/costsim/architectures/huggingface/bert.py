"""BERT, RoBERTa and those that differ from them in tables, norms and sizes."""

from __future__ import annotations

from dataclasses import replace

from costsim.architectures.encoder import Encoder
from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.encoders import (
    LAYER_NORM,
    TOKENS,
    Kin,
    Shape,
    assemble,
    bert_like,
    encoder_layer,
    masked_head,
    shape,
    tables,
    tied,
)
from costsim.architectures.layers.tables import Table
from costsim.architectures.stacks import Head, Stack, StackLayer, TextStem, Transform

_BERT = Kin()


def _of(kin: Kin) -> Reader:
    def read(config: Config) -> Encoder:
        config.ignore("quant_mode", "force_dequant")  # I-BERT's integers, which are off
        return bert_like(config, kin)

    return read


def _ernie(config: Config) -> Encoder:
    tasks = config.size("task_type_vocab_size")
    used = config.flag("use_task_id")
    return bert_like(config, _BERT, *((Table("tasks", tasks),) if used else ()))


def _layoutlm(config: Config) -> Encoder:
    sides = config.size("max_2d_position_embeddings")
    boxes = (Table("x", sides, times=2), Table("y", sides, times=2))
    extents = (Table("height", sides), Table("width", sides))
    return bert_like(config, replace(_BERT, pooled_head=True), *boxes, *extents)


def _tapas(config: Config) -> Encoder:
    sizes = config.sizes("type_vocab_sizes", (3, 256, 256, 2, 256, 256, 10))
    types = (Table(f"types.{index}", size) for index, size in enumerate(sizes))
    config.ignore("max_num_rows", "max_num_columns", "reset_position_index_per_cell")
    config.ignore(*_TAPAS_LOSSES.split())
    return bert_like(config, replace(_BERT, types=False), *types)


_TAPAS_LOSSES = """
aggregation_labels aggregation_loss_weight aggregation_temperature allow_empty_column_selection
answer_loss_cutoff answer_loss_importance average_approximation_function average_logits_per_cell
cell_selection_preference disable_per_token_loss huber_loss_delta
init_cell_selection_weights_to_zero no_aggregation_label_index num_aggregation_labels
positive_label_weight select_one_column temperature use_answer_as_supervision
use_gumbel_for_aggregation use_gumbel_for_cells use_normalized_answer_loss
"""


def _splinter(config: Config) -> Encoder:
    config.ignore("question_token_id")
    return bert_like(config, replace(_BERT, pooler=False))


def _yoso(config: Config) -> Encoder:
    expected = config.flag("use_expectation")
    config.require(expected, "use_expectation", "must be true: hashed attention is not supported")
    config.require(config.values.get("conv_window") is None, "conv_window", "is not supported")
    config.ignore("use_fast_hash", "num_hash", "hash_code_len", "conv_window", "lsh_backward")
    kin = Kin(offset=2, pooler=False)
    return bert_like(config, kin)


def _roc_bert(config: Config) -> Encoder:
    """Shapes and sounds of characters, joined to the embeddings and projected together."""
    found = shape(config)
    sounds = config.size("pronunciation_vocab_size")
    sound_width = config.size("pronunciation_embed_dim")
    shapes = config.size("shape_vocab_size")
    shape_width = config.size("shape_embed_dim")
    joined = found.hidden
    joined += sound_width if config.flag("enable_pronunciation") else 0
    joined += shape_width if config.flag("enable_shape") else 0
    joins = config.flag("concat_input")
    more = (Table("pronunciations", sounds, sound_width), Table("shapes", shapes, shape_width))
    stem = TextStem(
        vocabulary=found.vocabulary,
        token_width=found.hidden,
        embedding_width=joined if joins else None,
        tables=tuple(
            replace(table, columns=found.hidden) if table.columns is None else table
            for table in tables(config, _BERT, *more)
        ),
        norm=LAYER_NORM,
        norm_last=True,
        projected=joins,
        dropout=found.dropout,
    )
    layers = ((encoder_layer(found), found.layers),)
    stack = Stack(hidden=found.hidden, stem=stem, layers=layers)
    return assemble(config, _BERT, stack, masked_head(found, tied=tied(config)))


def _distilbert(config: Config) -> Encoder:
    config.ignore("sinusoidal_pos_embds")
    return bert_like(config, Kin(types=False, pooler=False))


def _electra(config: Config) -> Encoder:
    kin = Kin(pooler=False)
    found = shape(config)
    width = config.size("embedding_size")
    return _factorized(config, kin, found, width, Transform(outputs=width, norm=LAYER_NORM))


def _rembert(config: Config) -> Encoder:
    kin = _BERT
    found = shape(config)
    width = config.size("input_embedding_size")
    output = config.size("output_embedding_size")
    transform = Transform(outputs=output, activation=found.activation, norm=LAYER_NORM)
    return _factorized(config, kin, found, width, transform)


def _roformer(config: Config) -> Encoder:
    kin = Kin(positions=False, pooler=False)
    found = shape(config)
    width = config.optional_size("embedding_size") or found.hidden
    positions = config.size("max_position_embeddings")
    config.ignore("rotary_value")
    angles = Table("angles", positions, found.head_dim, shared=True)  # fixed, yet parameters
    transform = Transform(outputs=width, activation=found.activation, norm=LAYER_NORM)
    one = encoder_layer(found, rotary=True)
    return _factorized(config, kin, found, width, transform, angles, layer=one)


def _albert(config: Config) -> Encoder:
    kin = _BERT
    found = shape(config)
    width = config.size("embedding_size")
    groups = config.size("num_hidden_groups")
    inner = config.size("inner_group_num")
    transform = Transform(outputs=width, activation=found.activation, norm=LAYER_NORM)
    config.require(
        found.layers % groups == 0,
        "num_hidden_groups",
        f"{groups} do not divide {found.layers} layers",
    )
    return _factorized(
        config,
        kin,
        found,
        width,
        transform,
        always_projected=True,
        layer=encoder_layer(found),
        runs=(found.layers // groups * inner, groups * inner),
    )


def _factorized(
    config: Config,
    kin: Kin,
    found: Shape,
    width: int,
    transform: Transform,
    *more: Table,
    layer: StackLayer | None = None,
    always_projected: bool = False,
    runs: tuple[int, int] | None = None,
) -> Encoder:
    """Return an encoder whose embeddings are narrower than its stream.

    `runs` says how often each layer is applied, and how many layers there are.
    """
    projected = always_projected or width != found.hidden
    one = encoder_layer(found) if layer is None else layer
    again, different = runs or (1, found.layers)
    stem = TextStem(
        vocabulary=found.vocabulary,
        embedding_width=width,
        tables=tables(config, kin, *more),
        norm=LAYER_NORM,
        projected=projected,
        dropout=found.dropout,
    )
    stack = Stack(hidden=found.hidden, stem=stem, layers=((one, different),), repeats=again)
    head = Head(
        vocabulary=found.vocabulary,
        transform=transform,
        bias=True,
        tied_to=TOKENS if tied(config) else None,
    )
    return assemble(config, kin, stack, head)


_PRE_NORM = Kin(pre_norm=True, embedding_norm=False)

READERS: dict[str, Reader] = {
    "bert": _of(_BERT),
    "roberta": _of(_BERT),
    "camembert": _of(_BERT),
    "xlm-roberta": _of(_BERT),
    "data2vec-text": _of(_BERT),
    "ibert": _of(_BERT),
    "ernie": _ernie,
    "layoutlm": _layoutlm,
    "tapas": _tapas,
    "splinter": _splinter,
    "yoso": _yoso,
    "roc_bert": _roc_bert,
    "distilbert": _distilbert,
    "electra": _electra,
    "rembert": _rembert,
    "roformer": _roformer,
    "albert": _albert,
    "megatron-bert": _of(_PRE_NORM),
    "roberta-prelayernorm": _of(replace(_BERT, pre_norm=True)),
    "xlm-roberta-xl": _of(_PRE_NORM),
}
