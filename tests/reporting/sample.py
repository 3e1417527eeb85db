"""One realistic report, GPT-3 on 1,024 A100, for tests and to look at; the numbers are made up."""

from __future__ import annotations

import math

from costsim.reporting.model import (
    Answer,
    Axis,
    Bar,
    Column,
    HeatMap,
    KeyFigure,
    KeyFigures,
    Lines,
    Note,
    Point,
    Provenance,
    Quantity,
    Reach,
    Report,
    Roofline,
    RooflinePoint,
    Scatter,
    Section,
    Series,
    Source,
    StackedBars,
    Table,
    Text,
    Tornado,
    Tree,
    TreeLine,
)

DAY_S = 86_400.0
GPU_H = 1_024 * 33.94 * 24
COMPUTE_USD = GPU_H * 1.79
RESTART_USD = GPU_H * 0.041 * 1.79
STORAGE_USD = 62_480.337
ENERGY_KWH = 486_317.0
ENGINEERS_USD = 214_583.333

MEMORY = StackedBars(
    "Memory per device, by pipeline stage",
    ("weights", "gradients", "optimizer", "activations", "buffers and workspace"),
    (
        Bar("stage 1, with the embedding", (5.98e9, 11.95e9, 2.24e9, 13.26e9, 3.81e9)),
        Bar("stages 2 to 7", (5.46e9, 10.91e9, 2.05e9, 11.41e9, 3.81e9)),
        Bar("stage 8, with the head", (5.46e9, 10.91e9, 2.05e9, 3.9e9, 9.77e9)),
    ),
    "bytes",
    limit=80e9,
    limit_label="device memory",
    caption="Interleaving keeps more micro-batches in flight on the first stage than on the last.",
)
STEP = StackedBars(
    "Step time, by part",
    (
        "matrix products",
        "attention",
        "element-wise",
        "tensor parallel",
        "pipeline",
        "data parallel",
    ),
    (Bar("one step of 23.1 s", (14.87, 1.92, 1.64, 2.98, 0.97, 0.742)),),
    "seconds",
)
BUDGET = Tree(
    "Where the money goes",
    TreeLine(
        "Training run",
        children=(
            TreeLine(
                "Compute",
                children=(
                    TreeLine(
                        "A100 80GB, reserved",
                        COMPUTE_USD,
                        GPU_H,
                        "GPU-h",
                        "$1.79 per GPU-hour, 12-month reservation",
                        ("price",),
                    ),
                    TreeLine(
                        "Restarts and lost work",
                        RESTART_USD,
                        GPU_H * 0.041,
                        "GPU-h",
                        "4.1% of steps are repeated after failures",
                    ),
                ),
            ),
            TreeLine(
                "Storage and network",
                children=(
                    TreeLine("Checkpoints", STORAGE_USD, 96.4, "TB"),
                    TreeLine("Egress", 8_113.6, 45.1, "TB"),
                ),
            ),
            TreeLine("Electricity", None, ENERGY_KWH, "kWh", "in the price of the rented devices"),
            TreeLine("Engineering, three people", ENGINEERS_USD, 3, "people"),
        ),
    ),
    caption="Every line is rounded so that the column adds up.",
)
TOTAL_USD = BUDGET.root.total


def _cloud() -> tuple[Point, ...]:
    """Return dominated plans, spread by a small congruential generator."""
    state, points = 7, []
    for index in range(400):
        state = (state * 1_103_515_245 + 12_345) % 2**31
        days = 34 + 60 * (state / 2**31) ** 1.7
        state = (state * 1_103_515_245 + 12_345) % 2**31
        usd = 1.55e6 * (1.04 + 34 / days * 0.3 + (state / 2**31) ** 2 * 1.8)
        points.append(Point(f"plan {index}", days * DAY_S, usd))
    return tuple(points)


PARETO = Scatter(
    "Cost against time",
    Axis("Time to 300 B tokens", "seconds"),
    Axis("Cost", "usd"),
    (
        *_cloud(),
        Point("512 devices, TP8 PP4 DP16", 66.8 * DAY_S, 1.512e6, True),
        Point("768 devices, TP8 PP6 DP16", 45.1 * DAY_S, 1.538e6, True),
        Point("1,024 devices, TP8 PP8 DP16", 33.94 * DAY_S, 1.553e6, True, True),
        Point("1,536 devices, TP8 PP8 DP24", 23.9 * DAY_S, 1.69e6, True),
        Point("2,048 devices, TP8 PP8 DP32", 18.9 * DAY_S, 1.92e6, True),
    ),
    "A plan on the stairs is beaten in both measures by none of the 52,310 plans searched.",
)
ROOFLINE = Roofline(
    "Operators under the roof of one A100",
    "A100 80GB",
    312e12,
    2.039e12,
    (
        RooflinePoint("QKV projection", 1_040, 214e12, 0.17),
        RooflinePoint("MLP up", 1_170, 226e12, 0.26),
        RooflinePoint("MLP down", 1_170, 221e12, 0.26),
        RooflinePoint("attention scores", 96, 118e12, 0.05),
        RooflinePoint("softmax", 1.9, 2.9e12, 0.04),
        RooflinePoint("layer norm", 1.2, 1.8e12, 0.03),
        RooflinePoint("GeLU", 3.1, 4.6e12, 0.03),
        RooflinePoint("LM head", 1_300, 231e12, 0.02),
    ),
)
PLANS = Table(
    "Plans within 10% of the best",
    (
        Column("Strategy"),
        Column("Time", "seconds"),
        Column("Cost", "usd"),
        Column("Memory", "bytes"),
        Column("MFU", "ratio"),
        Column("Devices", "count"),
    ),
    (
        ("TP8 PP8 DP16 VPP3, full recompute", 33.94 * DAY_S, TOTAL_USD, 37.24e9, 0.4512, 1024),
        (
            "TP8 PP16 DP8, selective recompute",
            34.61 * DAY_S,
            TOTAL_USD * 1.02,
            61.9e9,
            0.4425,
            1024,
        ),
        ("TP8 PP4 DP32, full recompute", 36.4 * DAY_S, TOTAL_USD * 1.072, 71.3e9, 0.4207, 1024),
    ),
    chosen=0,
    caption="MFU counts model FLOPs only, not recomputed ones.",
)
HEAT = HeatMap(
    "Days by tensor and pipeline parallelism",
    "Pipeline stages (PP)",
    ("1", "2", "4", "8", "16"),
    "TP",
    ("1", "2", "4", "8"),
    (
        (None, None, None, None, None),
        (None, None, None, 41.2, 42.9),
        (None, None, 38.9, 36.3, 38.0),
        (None, 40.4, 36.4, 33.94, 34.61),
    ),
    "number",
    "days",
    chosen=(3, 3),
    caption="Empty: does not fit in 80 GB.",
)
SCALING = Lines(
    "Throughput by cluster size",
    Axis("Devices", "count", log=True),
    Axis("Throughput", "si", "token/s"),
    (
        Series(
            "costsim",
            tuple((n, 100.2 * n * (1 - n / 30_000)) for n in (128, 256, 512, 1024, 2048, 4096)),
        ),
        Series("linear", tuple((n, 101.0 * n) for n in (128, 256, 512, 1024, 2048, 4096))),
    ),
)

GPT3 = Report(
    "Training GPT-3 175B on 1,024 A100",
    "300 B tokens · global batch 1,536 · sequence 2,048 · bf16 with Adam",
    Answer(
        "Training takes 34 days and costs $1.84 M on 1,024 A100 80GB, with TP8 × PP8 × DP16.",
        (
            KeyFigure(
                "Cost",
                TOTAL_USD,
                "usd",
                low=1.69e6,
                high=2.07e6,
                explanation="all lines of the budget",
                cites=("price",),
            ),
            KeyFigure("Wall time", 33.94 * DAY_S, "seconds", low=31.2 * DAY_S, high=37.4 * DAY_S),
            KeyFigure("Device time", GPU_H, "count", "GPU-h"),
            KeyFigure(
                "MFU", 0.4512, "ratio", low=0.41, high=0.49, explanation="of 312 TFLOP/s dense"
            ),
            KeyFigure("Energy", ENERGY_KWH, "count", "kWh", low=4.4e5, high=5.3e5),
            KeyFigure(
                "Emissions",
                187.2,
                "number",
                "t CO₂e",
                low=150.0,
                high=231.0,
                explanation="at 385 g/kWh, location-based",
                cites=("grid",),
            ),
        ),
        (
            "Compute is 85% of the bill: 834,109 GPU-hours at $1.79.",
            "Full recompute adds a third to the compute but lets the batch fit in 80 GB.",
            "13% of the step is tensor-parallel traffic inside the NVLink domain.",
        ),
    ),
    (
        Section("Budget", "What is paid for, line by line.", (BUDGET,)),
        Section("Time", "Where the 23.1 seconds of a step go.", (STEP, ROOFLINE)),
        Section("Memory", "The fullest stage takes 37.2 of 80 GB.", (MEMORY,)),
        Section(
            "Alternatives",
            "52,310 plans were searched; 8,416 fit. These are worth a look.",
            (PARETO, PLANS, HEAT, SCALING),
        ),
        Section(
            "Model",
            blocks=(
                KeyFigures(
                    (
                        KeyFigure(
                            "Parameters", 174_591_688_704, "count", explanation="tied weights once"
                        ),
                        KeyFigure("Training FLOPs", 3.64e23, "flops"),
                        KeyFigure("HFU", 0.58, "ratio"),
                    )
                ),
                Table(
                    "Constants",
                    (Column("Name"), Column("Value", "number"), Column("Meaning")),
                    (
                        (
                            "HBM efficiency",
                            Quantity(0.83, "ratio"),
                            "share of the peak a copy reaches",
                        ),
                        (
                            "all-reduce floor",
                            Quantity(28e-6, "seconds"),
                            "of 8 devices over NVLink",
                        ),
                    ),
                ),
                Text(
                    "The forward pass is counted in full, unmasked.\n\nThe backward is twice it.",
                    ("paper",),
                ),
            ),
        ),
    ),
    Provenance("0.1.0", "2026-01-15", "sha256:5f2c9a81"),
    (
        Note("assumption", "The cluster is dedicated: no other job shares its network."),
        Note("assumption", "Prices are list prices on the day read, without tax.", ("price",)),
        Note(
            "fallback", "No measured kernels for A100 40GB layer norm: the class's curve is used."
        ),
        Note("excluded", "Electricity is in the price of rented devices and not priced again."),
    ),
    (
        Source(
            "price",
            "Example Cloud, list price of 8 × A100 80GB, us-east",
            "https://example.com/prices",
            "2026-01-10",
        ),
        Source(
            "grid",
            "Example Grid Operator, mean intensity 2024",
            "https://example.org/grid",
            "2025-11-02",
        ),
        Source("paper", "Narayanan et al. 2021, Efficient Large-Scale Language Model Training"),
    ),
)

TORNADO = Tornado(
    "What moves the cost",
    2.0e6,
    (
        Reach("price", 1.6e6, 2.5e6),
        Reach("peak", 2.4e6, 1.9e6, "another way wins"),
        Reach("devices", None, 2.1e6),
    ),
)

# Charts as they should be, without anything to draw, and with a single thing.
ALL = [HEAT, MEMORY, PARETO, ROOFLINE, SCALING, STEP, TORNADO]
X, Y = Axis("x"), Axis("y", "usd")
EMPTY = [
    StackedBars("t", (), ()),
    StackedBars("t", ("a",), (Bar("x", (None,)), Bar("y", (math.nan,)))),
    StackedBars("t", ("a",), (Bar("x", (0.0,)),), "bytes", limit=math.nan),
    Lines("t", X, Y, ()),
    Lines("t", X, Y, (Series("s", ()), Series("n", ((1.0, None), (2.0, math.nan))))),
    HeatMap("t", "x", (), "y", (), ()),
    HeatMap("t", "x", ("1",), "y", ("1",), ((None,),)),
    Roofline("t", "d", 1e12, 1e9, ()),
    Tornado("t", 1.0, ()),
    Tornado("t", 1.0, (Reach("r", None, math.nan),)),
    Scatter("t", X, Y, ()),
    Scatter("t", X, Y, (Point("p", None, 1.0), Point("q", math.nan, 1.0, True, True))),
]
ONE = [
    Tornado("t", 1.0, (Reach("r", 1.0, 1.0),), "number"),
    Tornado("t", -3e-9, (Reach("r", 4.0, -5e9),), "seconds"),
    StackedBars("t", ("a",), (Bar("x", (3e-9,)),), "seconds"),
    Lines("t", X, Y, (Series("s", ((5.0, 7.0),)),)),
    Lines("t", Axis("x", log=True), Axis("y", log=True), (Series("s", ((5.0, 7.0), (0.0, 1.0))),)),
    HeatMap("t", "x", ("1",), "y", ("1",), ((3.0,),), chosen=(0, 0)),
    Roofline("t", "d", 1e15, 3e12, (RooflinePoint("op", 1e-3, 1e5),)),
    Scatter("t", X, Y, (Point("p", 1.0, 1.0, True, True),)),
    Scatter("t", X, Y, (Point("p", -1.0, 0.0, True, True),)),
    Scatter("t", Axis("x", log=True), Y, (Point("p", 2.0, 1e9, True, True),)),
]
