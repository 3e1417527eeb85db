"""Small modules of the kinds that people train, written with torch.nn alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.down = None
        if stride != 1 or inputs != outputs:
            self.down = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (x if self.down is None else self.down(x)))


class ResNet(nn.Module):
    """ResNet-50 with `depths` (3, 4, 6, 3) and `width` 64."""

    def __init__(self, depths=(3, 4, 6, 3), width: int = 64, classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, 2, 1)
        inputs = width
        for stage, depth in enumerate(depths, start=1):
            planes = width * 2 ** (stage - 1)
            layers = []
            for index in range(depth):
                stride = 2 if stage > 1 and index == 0 else 1
                layers.append(Bottleneck(inputs, planes, stride))
                inputs = 4 * planes
            setattr(self, f"layer{stage}", nn.Sequential(*layers))
        self.stages = len(depths)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))


class Attention(nn.Module):
    """Fused projections and scaled_dot_product_attention, or the products written out."""

    def __init__(self, width: int, heads: int, causal: bool, eager: bool) -> None:
        super().__init__()
        self.heads, self.causal, self.eager = heads, causal, eager
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        split = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        if self.eager:
            scores = query @ key.transpose(-1, -2) / math.sqrt(width // self.heads)
            y = torch.softmax(scores, -1) @ value
        else:
            y = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(batch, tokens, width))


class Layer(nn.Module):
    def __init__(self, width: int, heads: int, *, causal: bool = True, eager: bool = True) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal, eager)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Decoder(nn.Module):
    """A GPT-2: learned positions, a tied head."""

    def __init__(self, layers=3, width=32, heads=4, vocabulary=50, positions=64, eager=True):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(positions, width)
        self.layers = nn.ModuleList(Layer(width, heads, eager=eager) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


class VisionTransformer(nn.Module):
    def __init__(self, size=32, patch=8, width=48, heads=3, layers=2, classes=10):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 1, width))
        self.layers = nn.ModuleList(
            Layer(width, heads, causal=False, eager=False) for _ in range(layers)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x)[:, 0])


class Mixture(nn.Module):
    """Experts of equal capacity: each takes the same number of (token, choice) pairs."""

    def __init__(self, width=16, inner=32, experts=4, chosen=2) -> None:
        super().__init__()
        self.router = nn.Linear(width, experts, bias=False)
        self.up = nn.Parameter(torch.randn(experts, width, inner))
        self.down = nn.Parameter(torch.randn(experts, inner, width))
        self.experts, self.chosen = experts, chosen

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        rows = x.reshape(-1, width)
        capacity = len(rows) * self.chosen // self.experts
        weights, picked = self.router(rows).softmax(-1).topk(capacity, 0)
        gathered = rows[picked.t()]
        made = torch.bmm(functional.silu(torch.bmm(gathered, self.up)), self.down)
        made = made * weights.t().unsqueeze(-1)
        out = torch.zeros_like(rows).index_add(0, picked.t().reshape(-1), made.reshape(-1, width))
        return out.view(batch, tokens, width)


class RoutedMixture(nn.Module):
    """Experts that take the tokens that chose them, however many those are."""

    def __init__(self, width=16, experts=4) -> None:
        super().__init__()
        self.router = nn.Linear(width, experts)
        self.experts = nn.ModuleList(nn.Linear(width, width) for _ in range(experts))

    def forward(self, x: Tensor) -> Tensor:
        choice = self.router(x).argmax(-1)
        out = torch.zeros_like(x)
        for index, expert in enumerate(self.experts):
            rows = torch.nonzero(choice == index).squeeze(-1)
            out = out.index_copy(0, rows, expert(x[rows]))
        return out


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM, width: int = 16) -> None:
        super().__init__()
        self.rnn = kind(width, 24, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(48, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0])


class UNet(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()

        def double(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, 1, 1),
                nn.GroupNorm(4, outputs),
                nn.SiLU(),
                nn.Conv2d(outputs, outputs, 3, 1, 1),
                nn.SiLU(),
            )

        self.down1, self.down2 = double(3, width), double(width, 2 * width)
        self.middle = double(2 * width, 4 * width)
        self.lift2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2)
        self.up2 = double(4 * width, 2 * width)
        self.lift1 = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.up1, self.out = double(2 * width, width), nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(functional.max_pool2d(one, 2))
        x = self.lift2(self.middle(functional.max_pool2d(two, 2)))
        x = self.lift1(self.up2(torch.cat([x, two], 1)))
        return self.out(self.up1(torch.cat([x, one], 1)))


class Mamba(nn.Module):
    """A selective state-space block, its scan a Python loop over the tokens."""

    def __init__(self, width: int = 16, state: int = 4, kernel: int = 4) -> None:
        super().__init__()
        inner = 2 * width
        self.inner, self.state, self.rank = inner, state, 2
        self.into = nn.Linear(width, 2 * inner, bias=False)
        self.conv = nn.Conv1d(inner, inner, kernel, padding=kernel - 1, groups=inner)
        self.choose = nn.Linear(inner, self.rank + 2 * state, bias=False)
        self.step = nn.Linear(self.rank, inner)
        self.decay = nn.Parameter(torch.randn(inner, state))
        self.skip = nn.Parameter(torch.ones(inner))
        self.out = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.shape[1]
        x, gate = self.into(x).chunk(2, -1)
        x = functional.silu(self.conv(x.transpose(1, 2))[..., :tokens]).transpose(1, 2)
        step, b, c = self.choose(x).split([self.rank, self.state, self.state], -1)
        step = functional.softplus(self.step(step))
        decay = torch.exp(step.unsqueeze(-1) * -torch.exp(self.decay))
        drive = (step * x).unsqueeze(-1) * b.unsqueeze(2)
        state, made = torch.zeros_like(drive[:, 0]), []
        for token in range(tokens):
            state = decay[:, token] * state + drive[:, token]
            made.append((state @ c[:, token].unsqueeze(-1)).squeeze(-1))
        y = torch.stack(made, 1) + x * self.skip
        return self.out(y * functional.silu(gate))


class Generator(nn.Module):
    """Transposed and grouped convolutions, strided and dilated, in 1, 2 and 3 dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.grow = nn.ConvTranspose2d(6, 12, 4, 2, 1, groups=3)
        self.wide = nn.Conv2d(12, 12, 3, 1, 2, dilation=2, groups=12)
        self.line = nn.ConvTranspose1d(12, 4, 3, 2, output_padding=1)
        self.cube = nn.Conv3d(1, 2, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.leaky_relu(self.wide(functional.elu(self.grow(x))))
        x = self.line(x.flatten(2))
        return self.cube(x[:, :, :64].reshape(len(x), 1, 4, 8, 8))


class Conformer(nn.Module):
    def __init__(self, width: int = 24, heads: int = 4) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(5))
        self.feed1 = nn.Sequential(nn.Linear(width, 48), nn.SiLU(), nn.Linear(48, width))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.point1 = nn.Conv1d(width, 2 * width, 1)
        self.depth = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.batch_norm = nn.BatchNorm1d(width)
        self.point2 = nn.Conv1d(width, width, 1)
        self.feed2 = nn.Sequential(nn.Linear(width, 48), nn.SiLU(), nn.Linear(48, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.5 * self.feed1(self.norms[0](x))
        y = self.norms[1](x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        y = functional.glu(self.point1(self.norms[2](x).transpose(1, 2)), 1)
        y = self.point2(functional.silu(self.batch_norm(self.depth(y)))).transpose(1, 2)
        x = x + y
        return self.norms[4](x + 0.5 * self.feed2(self.norms[3](x)))


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(40, 20), nn.Tanh(), nn.Linear(20, 5))
        self.decoder = nn.Sequential(nn.Linear(5, 20), nn.Tanh(), nn.Linear(20, 40))

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x)).sigmoid()


class Bags(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(100, 12, mode="mean")
        self.head = nn.Linear(12, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.words(ids))


class Shared(nn.Module):
    """One layer used three times, as in ALBERT, and a frozen part."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(16, 16).requires_grad_(False)
        self.layers = nn.ModuleList([Layer(16, 2)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.frozen(x)
        for _ in range(3):
            x = self.layers[0](x)
        return x


class Contrast(nn.Module):
    """Two towers and the products of all pairs: FLOPs grow with the square of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(12, 8), nn.Linear(10, 8)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.left(left) @ self.right(right).t()
