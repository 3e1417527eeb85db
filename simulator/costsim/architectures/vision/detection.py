"""Detectors over residual nets: SSD (Liu et al. 2016), RetinaNet (Lin et al. 2017), Mask R-CNN.

Counted is what trains: every convolution and product, losses over all anchors, regions as many as
are sampled. Choosing regions (sorting, non-maximum suppression, matching) has no products and is
left out. Images of a batch are taken to be as large as `image`. What several maps pass through with
the same weights is counted as one map of all their positions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from costsim.architectures.operators import CrossEntropy
from costsim.architectures.vision.description import ImageNet
from costsim.architectures.vision.net import Map, Net
from costsim.architectures.vision.resnet import ResNet

_BOX = 4  # numbers of a box


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector(ImageNet):
    """A residual net whose stages' maps are looked at, instead of a head over their mean."""

    depths: tuple[int, ...] = (3, 4, 6, 3)
    """Blocks of each stage of the residual net."""
    widths: tuple[int, ...] = (256, 512, 1024, 2048)
    """Channels that the blocks of each stage give."""
    inner_widths: tuple[int, ...] | None = None
    """Channels in the middle of bottlenecks; a quarter of `widths` if not given."""
    groups: int = 1
    """Groups of channels of the 3×3 convolutions of bottlenecks."""

    @property
    def backbone(self) -> ResNet:
        """The residual net."""
        return ResNet(
            depths=self.depths,
            widths=self.widths,
            inner_widths=self.inner_widths,
            groups=self.groups,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssd(Detector):
    """Boxes on the third stage's map and on five ever smaller ones."""

    image: tuple[int, ...] = (300, 300)
    classes: int = 81
    anchors: tuple[int, ...] = (4, 6, 6, 6, 4, 4)
    """Boxes at each position of each map."""
    extra_widths: tuple[int, ...] = (512, 512, 256, 256, 256)
    """Channels of the maps after the first."""
    extra_inner_widths: tuple[int, ...] = (256, 256, 128, 128, 128)
    """Channels between the two convolutions that make each of them."""
    extra_strides: tuple[int, ...] = (2, 2, 2, 1, 1)
    """Strides of the second; without one it has no padding."""

    def build(self, net: Net) -> None:
        maps = [self.backbone.body(net, strides=(1, 2, 1))[-1]]
        for index, width in enumerate(self.extra_widths):
            net.block(f"extra{index + 1}", partial(self._extra, net, index, width))
            maps.append(net.x)
        net.block("head", partial(self._head, net, maps), 1, "head", *maps)

    def _extra(self, net: Net, index: int, width: int) -> None:
        stride = self.extra_strides[index]
        net.convolution_norm(self.extra_inner_widths[index])
        net.convolution_norm(width, 3, stride, 1 if stride > 1 else 0)

    def _head(self, net: Net, maps: list[Map]) -> None:
        for at, anchors in zip(maps, self.anchors, strict=True):
            net.x = at
            net.convolution(_BOX * anchors, 3, bias=True)
            net.x = at
            net.convolution(self.classes * anchors, 3, bias=True)
            rows = net.batch * net.x.positions * anchors
            name, source = net.name("loss"), net.x.name
            net.add(CrossEntropy(name=name, source=source, rows=rows, classes=self.classes))


@dataclass(frozen=True, slots=True, kw_only=True)
class PyramidDetector(Detector):
    """A detector over a feature pyramid (Lin et al. 2016): maps of one width, top-down summed."""

    image: tuple[int, ...] = (800, 800)
    classes: int = 91
    pyramid_width: int = 256
    """Channels of all maps of the pyramid."""

    def pyramid(self, net: Net, stages: tuple[Map, ...]) -> list[Map]:
        """Compose a map over each of `stages`, finest first."""
        upper: Map | None = None
        laterals: list[Map] = []
        for number in range(len(stages), 0, -1):
            at = stages[number - 1]
            more = (at,) if upper is None else (at, upper)
            net.block(f"lateral{number}", partial(self._lateral, net, at, upper), 1, "layer", *more)
            upper = net.x
            laterals.insert(0, upper)
        maps: list[Map] = []
        for number, lateral in enumerate(laterals, 1):
            net.x = lateral
            convolve = partial(net.convolution, self.pyramid_width, 3, bias=True)
            net.block(f"pyramid{number}", convolve)
            maps.append(net.x)
        return maps

    def _lateral(self, net: Net, at: Map, upper: Map | None) -> None:
        net.x = at
        net.convolution(self.pyramid_width, bias=True)
        if upper is not None:
            # Enlarged to the size of the finer map, which may be one short of twice as large.
            added = net.x
            net.x = replace(upper, sizes=added.sizes)
            net.enlarge(1)
            net.plus(added)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetinaNet(PyramidDetector):
    """Classes and boxes at every position of five maps, by two towers that the maps share."""

    anchors: int = 9
    """Boxes at each position."""
    tower_depth: int = 4
    """Convolutions of each tower before its last."""

    def build(self, net: Net) -> None:
        stages = self.backbone.body(net)
        maps = self.pyramid(net, stages[1:])
        for number in (6, 7):
            net.block(f"pyramid{number}", partial(self._coarser, net, number))
            maps.append(net.x)
        net.block("head", partial(self._towers, net, maps), 1, "head", *maps)

    def _coarser(self, net: Net, number: int) -> None:
        if number > 6:
            net.activation("relu")
        net.convolution(self.pyramid_width, 3, 2, bias=True)

    def _towers(self, net: Net, maps: list[Map]) -> None:
        for outputs in (self.classes, _BOX):
            net.x = together(maps)
            for _ in range(self.tower_depth):
                net.convolution(self.pyramid_width, 3, bias=True)
                net.activation("relu")
            net.convolution(outputs * self.anchors, 3, bias=True)
            if outputs == self.classes:
                net.activation("sigmoid")  # of the focal loss, over every anchor and class


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRcnn(PyramidDetector):
    """Regions proposed on five maps; classes, boxes and masks of those that are sampled."""

    image: tuple[int, ...] = (800, 1088)  # COCO's commonest 640×480, scaled to 800 and padded to 32
    anchors: int = 3
    """Boxes at each position."""
    regions: int = 512
    """Regions of an image that classes and boxes are trained on."""
    masked_regions: int = 128
    """Of these, regions that masks are trained on."""
    region_side: int = 7
    """Side of the map that is cut out of a region for its class; twice as much for its mask."""
    region_width: int = 1024
    """Width of the two layers over it."""

    def build(self, net: Net) -> None:
        maps = self.pyramid(net, self.backbone.body(net))
        finest = maps[0]
        net.block("pyramid5", partial(net.pool, "max", 1, 2))
        maps.append(net.x)
        net.block("proposals", partial(self._propose, net, maps), 1, "layer", *maps)
        net.x = finest
        net.block("regions", partial(self._regions, net), 1, "layer", finest)
        net.x = finest
        net.block("masks", partial(self._masks, net), 1, "head", finest)

    def _propose(self, net: Net, maps: list[Map]) -> None:
        net.x = together(maps)
        net.convolution(self.pyramid_width, 3, bias=True)
        net.activation("relu")
        shared = net.x
        net.convolution(self.anchors, bias=True)
        net.x = shared
        net.convolution(_BOX * self.anchors, bias=True)

    def _regions(self, net: Net) -> None:
        positions = self.region_side**2
        net.rearrange(self.pyramid_width * positions, (self.regions,))
        for _ in range(2):
            net.linear(self.region_width)
            net.activation("relu")
        shared = net.x
        net.linear(_BOX * self.classes)
        net.x = shared
        net.classify(self.classes)

    def _masks(self, net: Net) -> None:
        side = 2 * self.region_side
        # Regions one below the other: as many windows as in maps of their own.
        net.rearrange(self.pyramid_width, (self.masked_regions * side, side))
        for _ in range(4):
            net.convolution(self.pyramid_width, 3, bias=True)
            net.activation("relu")
        net.convolution(self.pyramid_width, 2, 2, 0, bias=True, transposed=True)
        net.activation("relu")
        net.convolution(self.classes, bias=True)
        net.activation("sigmoid")


def together(maps: list[Map]) -> Map:
    """Return one map of the positions of all: windows of a convolution are as many."""
    return replace(maps[0], sizes=(sum(one.positions for one in maps), 1))
