"""Pipeline schedules played out one chunk at a time, as an independent check of their formulas."""

from __future__ import annotations


def orders(stages: int, chunks: int, micro_batches: int) -> list[list[tuple[str, int, int]]]:
    """Return what each stage runs in order: (forward|backward, chunk, micro-batch).

    The 1F1B schedule, interleaved where a stage holds several chunks (Narayanan et al. 2021, §2.2).
    """
    total = micro_batches * chunks
    found: list[list[tuple[str, int, int]]] = []
    for stage in range(stages):
        if chunks == 1:
            warmup = min(stages - stage - 1, micro_batches)
        else:
            warmup = min((stages - stage - 1) * 2 + (chunks - 1) * stages, total)
        forward = [_slot(i, stages, chunks, reverse=False) for i in range(total)]
        backward = [_slot(i, stages, chunks, reverse=True) for i in range(total)]
        order = [("forward", *slot) for slot in forward[:warmup]]
        for index in range(total - warmup):
            order.append(("forward", *forward[warmup + index]))
            order.append(("backward", *backward[index]))
        order += [("backward", *slot) for slot in backward[total - warmup :]]
        found.append(order)
    return found


def _slot(index: int, stages: int, chunks: int, *, reverse: bool) -> tuple[int, int]:
    group, inside = divmod(index, stages * chunks)
    chunk, position = divmod(inside, stages)
    return (chunks - 1 - chunk if reverse else chunk), group * stages + position


def play(
    stages: int, chunks: int, micro_batches: int, forward_s: float, backward_s: float
) -> tuple[float, list[int]]:
    """Return the time of a step and, for each stage, the most chunks' activations it held.

    `forward_s` and `backward_s` are those of one chunk.
    """
    queues = orders(stages, chunks, micro_batches)
    done: dict[tuple[str, int, int, int], float] = {}
    free = [0.0] * stages
    held, most = [0] * stages, [0] * stages
    position = [0] * stages
    last = stages * chunks - 1
    while any(position[s] < len(queues[s]) for s in range(stages)):
        moved = False
        for stage in range(stages):
            while position[stage] < len(queues[stage]):
                kind, chunk, micro = queues[stage][position[stage]]
                place = chunk * stages + stage
                if kind == "forward":
                    needs = [("forward", place - 1, micro)] if place else []
                else:
                    needs = [("forward", place, micro)]
                    needs += [("backward", place + 1, micro)] if place < last else []
                keys = [(k, p, m, 0) for k, p, m in needs]
                if any(key not in done for key in keys):
                    break
                start = max([free[stage], *(done[key] for key in keys)])
                free[stage] = start + (forward_s if kind == "forward" else backward_s)
                done[kind, place, micro, 0] = free[stage]
                held[stage] += 1 if kind == "forward" else -1
                most[stage] = max(most[stage], held[stage])
                position[stage] += 1
                moved = True
        assert moved, "the schedule waits for itself"
    return max(free), most
