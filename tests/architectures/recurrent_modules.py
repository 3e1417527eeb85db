"""Recurrent mixers written in plain PyTorch, for counting what they do."""

from __future__ import annotations

import torch
from torch.nn import functional


def padded(tokens: int, chunk: int) -> int:
    return -(-tokens // chunk) * chunk


def chunked_state_space(
    batch: int, tokens: int, heads: int, head_dim: int, states: int, chunk: int, device: str
) -> torch.Tensor:
    """Return a state-space dual scan, each product of which is a batched one (Dao and Gu 2024)."""
    count = padded(tokens, chunk) // chunk
    shape = (batch, count, heads, chunk)
    x = torch.randn(*shape, head_dim, device=device, requires_grad=True)
    b = torch.randn(*shape, states, device=device, requires_grad=True)
    c = torch.randn(*shape, states, device=device, requires_grad=True)
    decay = torch.rand(*shape, device=device, requires_grad=True)
    sums = decay.cumsum(-1)
    mask = torch.exp(sums.unsqueeze(-1) - sums.unsqueeze(-2)).tril()
    inside = ((c @ b.transpose(-1, -2)) * mask) @ x
    made = (b * torch.exp(sums[..., -1:] - sums).unsqueeze(-1)).transpose(-1, -2) @ x
    first = torch.zeros(batch, 1, heads, states, head_dim, device=device)
    known = torch.cat([first, made], dim=1)
    totals = functional.pad(sums[..., -1].transpose(1, 2), (1, 0)).cumsum(-1)
    passing = torch.exp(totals.unsqueeze(-1) - totals.unsqueeze(-2)).tril()
    flat = known.permute(0, 2, 1, 3, 4).flatten(3)
    carried = (passing @ flat).unflatten(3, (states, head_dim)).permute(0, 2, 1, 3, 4)
    return inside + (c * torch.exp(sums).unsqueeze(-1)) @ carried[:, :-1]


def chunked_delta_rule(
    batch: int, tokens: int, heads: int, keys: int, values: int, chunk: int, device: str
) -> torch.Tensor:
    """Return a gated delta rule with the triangular system of each chunk solved (Yang 2024)."""
    count = padded(tokens, chunk) // chunk
    shape = (batch, heads, count, chunk)
    q, k = (torch.randn(*shape, keys, device=device, requires_grad=True) for _ in range(2))
    v = torch.randn(*shape, values, device=device, requires_grad=True)
    rate = torch.rand(*shape, 1, device=device, requires_grad=True)
    sums = torch.rand(*shape, device=device, requires_grad=True).neg().cumsum(-1)
    mask = torch.exp(sums.unsqueeze(-1) - sums.unsqueeze(-2)).tril()
    system = ((k * rate) @ k.transpose(-1, -2)) * mask
    scores = (q @ k.transpose(-1, -2)) * mask

    def solved(right: torch.Tensor) -> torch.Tensor:
        return torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True)

    written, read = solved(v * rate), solved(k * rate * torch.exp(sums).unsqueeze(-1))
    state = torch.zeros(batch, heads, keys, values, device=device)
    outputs: list[torch.Tensor] = []
    for index in range(count):
        new = written[:, :, index] - read[:, :, index] @ state
        outputs.append(q[:, :, index] @ state + scores[:, :, index] @ new)
        last = torch.exp(sums[:, :, index, -1])[..., None, None]
        state = state * last + k[:, :, index].transpose(-1, -2) @ new
    return torch.stack(outputs, dim=2)


def lightning(
    batch: int, tokens: int, heads: int, dim: int, block: int, device: str
) -> torch.Tensor:
    """Return linear attention with a fixed decay, block by block (Qin et al. 2024)."""
    q, k, v = (
        torch.randn(batch, heads, tokens, dim, device=device, requires_grad=True) for _ in range(3)
    )
    state = torch.zeros(batch, heads, dim, dim, device=device)
    outputs: list[torch.Tensor] = []
    for start in range(0, tokens, block):
        part = slice(start, min(start + block, tokens))
        query, key, value = q[:, :, part], k[:, :, part], v[:, :, part]
        inside = (query @ key.transpose(-1, -2)).tril() @ value
        outputs.append(inside + query @ state)
        state = 0.9 * state + key.transpose(-1, -2) @ value
    return torch.cat(outputs, dim=2)


def causal_convolution(
    batch: int, tokens: int, channels: int, kernel: int, device: str
) -> torch.Tensor:
    """Return a depthwise convolution padded at both ends and cut."""
    x = torch.randn(batch, channels, tokens, device=device, requires_grad=True)
    weight = torch.randn(channels, 1, kernel, device=device, requires_grad=True)
    return functional.conv1d(x, weight, padding=kernel - 1, groups=channels)[..., :tokens]
