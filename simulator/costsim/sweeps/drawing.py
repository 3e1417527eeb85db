"""Latin hypercubes drawn by index: any point of a sample of any size, without the others.

Each axis needs a permutation of its strata. Storing one takes memory for every point, so it is a
keyed Feistel network instead, a bijection on 2^2k numbers; numbers outside the sample are mapped
again until they fall into it (cycle walking; Black and Rogaway 2002, "Ciphers with arbitrary finite
domains"), which keeps it a bijection on the sample.
"""

from __future__ import annotations

from hashlib import blake2b

_ROUNDS = 4


def position(index: int, count: int, seed: int, axis: int) -> float:
    """Return where point `index` of `count` lies on an axis, in [0, 1): once in each stratum."""
    stratum = permuted(index, count, f"{seed}/{axis}".encode())
    within = _hashed(b"within", f"{seed}/{axis}/{index}".encode()) / 2**64
    return min((stratum + within) / count, 1 - 2**-53)


def permuted(index: int, count: int, key: bytes) -> int:
    """Return the image of `index` under a permutation of the numbers below `count`."""
    half = ((count - 1).bit_length() + 1) // 2
    if half == 0:
        return 0
    mask = (1 << half) - 1
    while True:
        left, right = index >> half, index & mask
        for step in range(_ROUNDS):
            mixed = _hashed(key, b"%d/%d" % (step, right)) & mask
            left, right = right, left ^ mixed
        index = left << half | right
        if index < count:
            return index


def _hashed(key: bytes, text: bytes) -> int:
    return int.from_bytes(blake2b(text, key=key[:64], digest_size=8).digest(), "big")
