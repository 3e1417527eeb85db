"""CLIP, SigLIP and their kin: an image tower and a text tower, or one of them alone."""

from __future__ import annotations

from dataclasses import replace
from math import isqrt

from costsim.architectures.architecture import Description
from costsim.architectures.encoder import Encoder
from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.encoders import LAYER_NORM, Shape, encoder_layer
from costsim.architectures.huggingface.vision.common import classes
from costsim.architectures.huggingface.vision.transformers import vision_transformer
from costsim.architectures.layers.tables import Table
from costsim.architectures.scores import Scores
from costsim.architectures.stacks import Stack, TextStem
from costsim.architectures.vision.towers import TextTower, TwoTowers
from costsim.architectures.vision.vit import VisionTransformer


def _clip_image(config: Config, head: int = 0) -> VisionTransformer:
    config.ignore("projection_dim", "initializer_factor", "attention_dropout", "layer_norm_eps")
    return vision_transformer(
        config,
        head=head,
        patch=32,
        function="quick_gelu",
        patch_bias=False,
        position_table="embedding",
        first_norm=True,
        pooled="mean" if head else "class",
    )


def _text_shape(config: Config, hidden: int, heads: int) -> tuple[int, int]:
    width = config.size("hidden_size", default=hidden)
    count = config.size("num_attention_heads", default=heads)
    config.require(width % count == 0, "hidden_size", f"{width} does not divide into {count} heads")
    return width, count


def _clip_text(config: Config) -> TextTower:
    config.ignore("projection_dim", "initializer_factor", "attention_dropout", "layer_norm_eps")
    hidden, heads = _text_shape(config, 512, 8)
    return TextTower(
        layers=config.size("num_hidden_layers", default=12),
        hidden=hidden,
        heads=heads,
        width=config.size("intermediate_size", default=2048),
        vocabulary=config.size("vocab_size", default=49408),
        positions=config.size("max_position_embeddings", default=77),
        function=config.text("hidden_act", default="quick_gelu"),
        causal=True,
    )


def _clip_text_alone(config: Config) -> Encoder:
    """Read the text encoder of diffusion models: CLIP's, with or without its projection."""
    config.ignore("projection_dim", "initializer_factor", "layer_norm_eps", "dropout")
    hidden, heads = _text_shape(config, 512, 8)
    dropout = config.rate("attention_dropout", default=0.0) > 0
    layer = encoder_layer(
        Shape(
            vocabulary=config.size("vocab_size"),
            hidden=hidden,
            layers=config.layers("num_hidden_layers"),
            heads=heads,
            feed_forward=config.size("intermediate_size"),
            activation=config.text("hidden_act"),
            dropout=False,
            attention_dropout=dropout,
        ),
        pre_norm=True,
        causal=True,
    )
    positions = config.size("max_position_embeddings")
    projected = config.class_name().endswith("WithProjection")
    return Encoder(
        stack=Stack(
            hidden=hidden,
            stem=TextStem(
                vocabulary=config.size("vocab_size"),
                tables=(Table("positions", positions, shared=True),),
            ),
            layers=((layer, config.layers("num_hidden_layers")),),
            norm=LAYER_NORM,
        ),
        head=Scores(outputs=config.size("projection_dim"), everywhere=False, projected=True)
        if projected
        else None,
        context_limit=positions,
    )


def _clip(config: Config) -> Description:
    config.ignore("logit_scale_init_value", "text_config_dict", "vision_config_dict")
    vision, text = config.nested("vision_config"), config.nested("text_config")
    config.ignore("initializer_factor", "projection_dim")
    if config.class_name().endswith("ForImageClassification"):
        _clip_text(text)  # which the classifier does without
        return _clip_image(vision, classes(config))
    images, texts = _clip_image(vision), _clip_text(text)
    projection = config.size("projection_dim", default=512)
    return TwoTowers(vision=images, text=texts, width=images.hidden, projection=projection)


def _siglip_image(config: Config, head: int = 0) -> VisionTransformer:
    config.ignore("attention_dropout", "layer_norm_eps", "initializer_factor")
    pooled = config.flag("vision_use_head", default=True)
    return vision_transformer(
        config,
        head=head,
        function="gelu_pytorch_tanh",
        width=config.size("intermediate_size", default=3072),
        class_tokens=0,
        position_table="embedding",
        pooled="mean",
        pooler="attention" if pooled else "none",
    )


def _siglip_text(config: Config) -> TextTower:
    config.ignore("attention_dropout", "layer_norm_eps", "initializer_factor")
    hidden, heads = _text_shape(config, 768, 12)
    return TextTower(
        layers=config.size("num_hidden_layers", default=12),
        hidden=hidden,
        heads=heads,
        width=config.size("intermediate_size", default=3072),
        vocabulary=config.size("vocab_size", default=32000),
        positions=config.size("max_position_embeddings", default=64),
        function=config.text("hidden_act", default="gelu_pytorch_tanh"),
        projection=config.optional_size("projection_size", default=None) or hidden,
    )


def _siglip(config: Config) -> Description:
    vision, text = config.nested("vision_config"), config.nested("text_config")
    config.ignore("initializer_factor")
    if config.class_name().endswith("ForImageClassification"):
        _siglip_text(text)
        return _siglip_image(vision, classes(config))
    images, texts = _siglip_image(vision), _siglip_text(text)
    config.require(
        texts.projection == images.hidden,
        "text_config",
        f"projects to {texts.projection}, images are {images.hidden} wide",
    )
    return TwoTowers(vision=images, text=texts, width=images.hidden, scalars=2)


def _siglip2_image(config: Config, head: int = 0) -> VisionTransformer:
    """Return an image tower for images of any shape, with so many patches at the most."""
    config.ignore("attention_dropout", "layer_norm_eps", "initializer_factor")
    patches = config.size("num_patches", default=256)
    side = config.size("patch_size", default=16)
    rows = next(rows for rows in range(isqrt(patches), 0, -1) if patches % rows == 0)
    return replace(
        _siglip_image(config, head), image=(rows * side, patches // rows * side), patch=side
    )


def _siglip2(config: Config) -> Description:
    vision, text = config.nested("vision_config"), config.nested("text_config")
    config.ignore("initializer_factor")
    if config.class_name().endswith("ForImageClassification"):
        _siglip_text(text)
        return _siglip2_image(vision, classes(config))
    images, texts = _siglip2_image(vision), _siglip_text(text)
    return TwoTowers(vision=images, text=texts, width=images.hidden, scalars=2)


def _siglip2_image_alone(config: Config) -> Description:
    config.class_name()
    return _siglip2_image(config)


def _clip_image_alone(config: Config) -> Description:
    config.class_name()
    return _clip_image(config)


def _siglip_image_alone(config: Config) -> Description:
    config.class_name()
    return _siglip_image(config)


READERS: dict[str, Reader] = {
    "clip": _clip,
    "metaclip_2": _clip,
    "clip_text_model": _clip_text_alone,
    "clip_vision_model": _clip_image_alone,
    "metaclip_2_vision_model": _clip_image_alone,
    "siglip": _siglip,
    "siglip_vision_model": _siglip_image_alone,
    "siglip2": _siglip2,
    "siglip2_vision_model": _siglip2_image_alone,
}
