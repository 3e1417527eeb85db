"""BERT and its kin: what most encoders share, and the switches by which they differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from costsim.algebra import Number
from costsim.architectures.encoder import Encoder, Pooler
from costsim.architectures.huggingface.config import Config
from costsim.architectures.huggingface.heads import labels
from costsim.architectures.layers import FeedForward, NormStyle, SelfAttention
from costsim.architectures.layers.branches import residual_layer
from costsim.architectures.layers.layer import SubLayer
from costsim.architectures.layers.recording import Part
from costsim.architectures.layers.tables import Table
from costsim.architectures.scores import Scores
from costsim.architectures.stacks import Head, Stack, StackLayer, TextStem, Transform

LAYER_NORM = NormStyle(kind="layer")
TOKENS = "embedding.tokens.weight"

_TASKS = """
classifier_dropout classifier_dropout_prob classifier_activation classifier_pooling classifier_bias
summary_type summary_use_proj summary_activation summary_last_dropout summary_first_dropout
summary_proj_to_labels qa_dropout seq_classif_dropout pooler_dropout pooler_hidden_act
pooler_hidden_size position_embedding_type attention_probs_dropout_prob
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kin:
    """Where one member of the family departs from BERT.

    `offset` counts rows of the position table that no position uses; `pooler` is what the bare
    model has, `pooled_head` the model for masked language modelling too. Classifiers of sequences
    read the pooler (`pooled_scores`), or have a dense layer of their own.
    """

    positions: bool = True
    offset: int = 0
    types: bool = True
    pre_norm: bool = False
    embedding_norm: bool = True
    pooler: bool = True
    pooled_head: bool = False
    pooled_scores: bool = True


@dataclass(frozen=True, slots=True)
class Shape:
    """What the family's keys say."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    activation: str
    dropout: bool
    attention_dropout: bool

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads


def shape(config: Config) -> Shape:
    """Return the sizes, under whichever of their names the config has them."""
    hidden = config.size("hidden_size", "dim", "emb_dim", "d_model")
    heads = config.size("num_attention_heads", "n_heads", "n_head")
    config.require(
        hidden % heads == 0,
        "num_attention_heads",
        f"{heads} heads do not divide a width of {hidden}",
    )
    config.ignore(*_TASKS.split())
    acts = config.knows("hidden_act") or config.knows("activation")
    return Shape(
        vocabulary=config.size("vocab_size"),
        hidden=hidden,
        layers=config.layers("num_hidden_layers", "n_layers"),
        heads=heads,
        feed_forward=config.size("intermediate_size", "hidden_dim", "d_inner"),
        activation=config.text("hidden_act", "activation") if acts else "gelu",
        dropout=config.rate("hidden_dropout_prob", "dropout", "hidden_dropout", default=0.1) > 0,
        attention_dropout=config.rate(
            "attention_probs_dropout_prob", "attention_dropout", default=0.1
        )
        > 0,
    )


def encoder_layer(found: Shape, *, pre_norm: bool = False, **switches: Any) -> StackLayer:
    """Return BERT's layer; `switches` are those of self-attention."""
    own: dict[str, Any] = {
        "bias": True,
        "output_bias": True,
        "float32_softmax": False,  # the library leaves it in the format of the scores
        **switches,
    }
    own.setdefault("causal", False)
    attention = SelfAttention(
        heads=found.heads,
        kv_heads=found.heads,
        head_dim=found.head_dim,
        dropout=found.attention_dropout,
        **own,
    )
    return with_network(attention, found, pre_norm=pre_norm)


def with_network(mixer: SubLayer, found: Shape, *, pre_norm: bool = False) -> StackLayer:
    """Return a layer of `mixer` and BERT's feed-forward network."""
    network = FeedForward(width=found.feed_forward, bias=True, activation=found.activation)
    return residual_layer(
        ("mixer", mixer),
        ("feed_forward", network),
        norm=LAYER_NORM,
        pre_norm=pre_norm,
        dropout=found.dropout,
    )


def tables(config: Config, kin: Kin, *more: Table) -> tuple[Table, ...]:
    """Return the position and type tables, and `more`."""
    found: list[Table] = []
    if kin.positions:
        positions = config.size("max_position_embeddings")
        found.append(Table("positions", positions + kin.offset, shared=True))
    types = config.count("type_vocab_size") if kin.types else 0
    if types:
        found.append(Table("types", types))
    return (*found, *more)


def masked_head(found: Shape, *, width: Number | None = None, tied: bool = True) -> Head:
    """Return dense, activation, norm and scores: the head of masked language modelling."""
    transform = Transform(
        outputs=found.hidden if width is None else width,
        activation=found.activation,
        norm=LAYER_NORM,
    )
    return Head(
        vocabulary=found.vocabulary,
        transform=transform,
        bias=True,
        tied_to=TOKENS if tied else None,
    )


def tied(config: Config) -> bool:
    """Return whether scores are taken with the table of tokens; null leaves the library's yes."""
    value = config.value("tie_word_embeddings")
    return True if value is None else config.flag("tie_word_embeddings")


def is_bare(config: Config) -> bool:
    """Return whether the config names the model without a head."""
    name = config.class_name()
    return name.endswith("Model") and not name.endswith("LMHeadModel")


def assemble(
    config: Config,
    kin: Kin,
    stack: Stack,
    head: Part,
    *,
    pooler: Pooler | None = None,
) -> Encoder:
    """Return the bare model or the one for masked language modelling, as the config names it."""
    bare = is_bare(config)
    pooled = kin.pooler if bare else kin.pooled_head
    scores = scores_of(config, kin, stack.hidden)
    if scores is not None:
        head = scores
        pooled = kin.pooled_head or (kin.pooled_scores and not scores.everywhere)
    limited = config.knows("max_position_embeddings")
    return Encoder(
        stack=stack,
        head=None if bare else head,
        pooler=(pooler or Pooler(outputs=stack.hidden)) if pooled else None,
        context_limit=config.optional_size("max_position_embeddings") if limited else None,
    )


def scores_of(config: Config, kin: Kin, hidden: Number) -> Scores | None:
    """Return the scores of labels that the class has; None where it has none."""
    name = config.class_name()
    if name.endswith(("ForTokenClassification", "ForQuestionAnswering")):
        return Scores(outputs=labels(config), bias=True)
    if name.endswith(("ForSequenceClassification", "ForMultipleChoice")):
        count = 1 if name.endswith("Choice") else labels(config)
        dense = None if kin.pooled_scores else hidden
        return Scores(outputs=count, bias=True, everywhere=False, inner=dense)
    if name and not name.endswith(("Model", "ForMaskedLM", "ForPreTraining", "LMHeadModel")):
        config.note(f"counted with scores of the vocabulary, though the config says {name}")
    return None


def bert_like(
    config: Config,
    kin: Kin,
    *more_tables: Table,
    layer: Callable[[Config, Shape], StackLayer] | None = None,
    tie: bool = True,
) -> Encoder:
    """Read a member of the family; `layer` makes its layer where that is not BERT's.

    Without `tie` scores are taken with a matrix of their own whatever the config says.
    """
    found = shape(config)
    one = encoder_layer(found, pre_norm=kin.pre_norm) if layer is None else layer(config, found)
    stack = Stack(
        hidden=found.hidden,
        stem=TextStem(
            vocabulary=found.vocabulary,
            tables=tables(config, kin, *more_tables),
            norm=LAYER_NORM if kin.embedding_norm else None,
            dropout=found.dropout,
        ),
        layers=((one, found.layers),),
        norm=LAYER_NORM if kin.pre_norm else None,
    )
    return assemble(config, kin, stack, masked_head(found, tied=tied(config) and tie))
