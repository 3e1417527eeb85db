"""Vision-language models whose code comes with the release: InternVL, DeepSeek-VL2, Phi-3-vision.

Parts stand under keys of their own; text models are read as what they are.
"""

from __future__ import annotations

from typing import Any

from costsim.architectures.huggingface.config import Config, Reader
from costsim.architectures.huggingface.towers import TOWERS, clip_large, siglip_large
from costsim.architectures.huggingface.vision_language import text_model
from costsim.architectures.multimodal import (
    Activated,
    Chain,
    Dense,
    Multimodal,
    Normalized,
    Step,
    Tensors,
)


def _two(inputs: int, hidden: int, *, middle: int | None = None) -> tuple[Step, ...]:
    middle = hidden if middle is None else middle
    return (
        Dense(inputs=inputs, outputs=middle),
        Activated(size=middle),
        Dense(inputs=middle, outputs=hidden),
    )


def _internvl_chat(config: Config) -> Multimodal:
    """Read InternVL 1.5 to 3.5: InternViT, four patches to one, two layers after a norm."""
    config.ignore("image_fold", "ps_version", "select_layer", "template", "use_llm_lora")
    config.ignore(
        "dynamic_image_size", "force_image_size", "max_dynamic_patch", "min_dynamic_patch"
    )
    config.ignore(
        "use_backbone_lora", "use_thumbnail", "pad2square", "system_message", "hidden_size"
    )
    config.ignore("tie_word_embeddings", "output_attentions")
    text, hidden = text_model(config, "llm_config")
    vision = config.nested("vision_config")
    seen = TOWERS["intern_vit_6b"](vision)
    ratio: Any = config.values.get("downsample_ratio", 0.5)
    fits = isinstance(ratio, float) and 0 < ratio <= 1
    config.require(fits, "downsample_ratio", "must be a ratio up to 1")
    config.ignore("downsample_ratio")
    merge = round(1 / ratio) if fits else 1
    inputs = merge**2 * seen.width
    steps = (Normalized(size=inputs), *_two(inputs, hidden))
    projector = Chain(name="projector", positions=seen.tokens // merge**2, steps=steps)
    return Multimodal(text=text, parts=(*seen.parts, projector))


def _deepseek_vl2(config: Config) -> Multimodal:
    """Read DeepSeek-VL2: SigLIP, four patches to one, two layers, marks of rows and views."""
    config.ignore("candidate_resolutions", "global_view_pos", "tile_tag", "text_config")
    text, hidden = text_model(config, "language_config")
    vision = config.nested("vision_config")
    vision.ignore("model_type", "cls", "params")
    seen = siglip_large(
        vision,
        width=vision.size("width", default=1152),
        layers=vision.layers("layers", default=27),
        heads=vision.size("heads", default=16),
        patch=vision.size("patch_size", default=14),
        image=vision.size("image_size", default=384),
        ratio=vision.value("mlp_ratio") or 3.7362,
    )
    projector = config.nested("projector_config")
    projector.ignore("model_type", "projector_type", "token_pooling")
    output = projector.size("n_embed", default=2048)
    merge = projector.size("downsample_ratio", default=2)
    middle = output * projector.size("mlp_ratio", default=1)
    steps: list[Step] = [Dense(inputs=merge**2 * seen.width, outputs=middle)]
    for _ in range(projector.layers("depth", default=2) - 2):
        steps += [Activated(size=middle), Dense(inputs=middle, outputs=middle)]
    steps += [Activated(size=middle), Dense(inputs=middle, outputs=output)]
    config.require(output == hidden, "projector_config", f"makes {output}, the text has {hidden}")
    tokens = max(1, seen.tokens // merge**2)
    marks = Chain(name="separators", positions=1, steps=(Tensors(shapes=((2, hidden),)),))
    chain = Chain(name="projector", positions=tokens, steps=tuple(steps))
    return Multimodal(text=text, parts=(*seen.parts, chain, marks))


def _phi3_v(config: Config) -> Multimodal:
    """Read Phi-3-vision and Phi-3.5-vision: CLIP's large tower, four patches to one, two layers."""
    config.ignore("vision_config", "img_processor")
    text, hidden = text_model(config, "text_config")
    layer = config.nested("embd_layer")
    layer.ignore(*layer.values)
    joined = layer.flag("use_hd_transform", default=True)
    marked = layer.flag("with_learnable_separator", default=True)
    seen = clip_large()
    inputs = 4 * seen.width if joined else seen.width
    chain = Chain(name="projector", positions=seen.tokens // 4, steps=_two(inputs, hidden))
    marks = Chain(
        name="separators",
        positions=1,
        steps=(Tensors(shapes=((1, 1, inputs), (1, 1, 1, inputs))),),
    )
    return Multimodal(text=text, parts=(*seen.parts, chain, *((marks,) if marked else ())))


READERS: dict[str, Reader] = {
    "internvl_chat": _internvl_chat,
    "deepseek_vl_v2": _deepseek_vl2,
    "phi3_v": _phi3_v,
}
