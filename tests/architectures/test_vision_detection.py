"""Detectors against what torchvision publishes of the same nets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from costsim.architectures import load_model
from costsim.architectures.architecture import Architecture
from costsim.architectures.vision.detection import MaskRcnn, RetinaNet, Ssd

FROZEN = 53_120  # weights and biases of ResNet-50's norms, buffers where torchvision counts


def test_retinanet_is_torchvisions() -> None:
    model = load_model("retinanet-resnet50")
    assert model.parameters - FROZEN == 34_014_999
    assert model.forward_flops(1) == pytest.approx(2 * 151.54e9, rel=1e-4)


def test_mask_rcnn_is_torchvisions() -> None:
    assert load_model("maskrcnn-resnet50").parameters - FROZEN == 44_401_393


def test_mask_rcnn_works_by_region() -> None:
    net = MaskRcnn()
    none = Architecture("", replace(net, regions=0)).forward_flops(1)
    one = Architecture("", replace(net, regions=1)).forward_flops(1)
    # Two layers, classes and boxes of one region.
    assert one - none == 2 * (256 * 49 * 1024 + 1024**2 + 1024 * 5 * 91)


def test_ssd_has_as_many_boxes_as_the_paper() -> None:
    net = Ssd()
    (head,) = [b for b in Architecture("", net).blocks() if b.part == "head"]
    boxes = sum(op.rows for op in head.operators if op.name.startswith("loss"))
    assert boxes == 8732  # Liu et al. 2016


def test_retinanet_looks_at_as_many_positions_as_anchors() -> None:
    more = Architecture("", RetinaNet(anchors=10)).forward_flops(1)
    less = Architecture("", RetinaNet(anchors=9)).forward_flops(1)
    positions = 100**2 + 50**2 + 25**2 + 13**2 + 7**2
    assert more - less == 2 * positions * 9 * 256 * (91 + 4)
