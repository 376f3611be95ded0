"""All ranks use one answer, or none does.

Ranks that hold different placements would route to wrong weights without a word. So an answer is used only
when every rank has it: that costs two short collectives on the CPU, on a group that nobody else uses.
"""

from datetime import timedelta

import numpy as np

# Collectives come right after the questions, which are bounded themselves.
COLLECTIVE_SECONDS = 10.0
DIGEST_WORDS = 5


def own_group(parent):
    """A gloo group of the ranks of another group, for this plug-in alone. Called by all of them at once.

    Returns None where none can be had: for groups that torch.distributed does not know, and for part of the
    world with a PyTorch in which all of the world has to take part.
    """
    import torch.distributed as dist

    if not dist.is_available() or not dist.is_initialized():
        return None
    try:
        ranks = [_global_rank(parent, rank) for rank in range(dist.get_world_size(parent))]
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
        return None
    timeout = timedelta(seconds=COLLECTIVE_SECONDS)
    if len(ranks) == dist.get_world_size():
        return dist.new_group(ranks=ranks, backend="gloo", timeout=timeout)
    try:
        return dist.new_group(
            ranks=ranks, backend="gloo", timeout=timeout, use_local_synchronization=True
        )
    except TypeError:
        return None


def _global_rank(group, rank):
    """The number in the world of a rank of a group."""
    import torch.distributed as dist

    if hasattr(dist, "get_global_rank"):
        return dist.get_global_rank(group, rank)
    # Before PyTorch 2.0.
    return dist.distributed_c10d._get_global_rank(group, rank)


def rank_of(group) -> int:
    import torch.distributed as dist

    return dist.get_rank(group)


def size_of(group) -> int:
    import torch.distributed as dist

    return dist.get_world_size(group)


def all_have(group, ok: bool) -> bool:
    """Whether every rank says yes."""
    import torch
    import torch.distributed as dist

    flag = torch.tensor([1 if ok else 0], dtype=torch.int64)
    dist.all_reduce(flag, op=dist.ReduceOp.MIN, group=group)
    return bool(flag.item())


def broadcast(group, table, shape):
    """The table of rank 0 on all ranks; None on all where rank 0 has none."""
    import torch
    import torch.distributed as dist

    layers, slots = shape
    message = torch.zeros(1 + layers * slots, dtype=torch.int64)
    if table is not None:
        message[0] = 1
        message[1:] = torch.from_numpy(table.astype(np.int64).ravel())
    dist.broadcast(message, src=_global_rank(group, 0), group=group)
    if message[0].item() != 1:
        return None
    return message[1:].numpy().reshape(layers, slots).astype(np.int32)


def all_equal(group, digest) -> bool:
    """Whether all ranks have a digest, and the same. digest: 32 bytes, or None for no answer."""
    import torch
    import torch.distributed as dist

    # 7 bytes a word: each is positive, and so is what is left when its sign is turned.
    words = [0] * DIGEST_WORDS
    if digest is not None:
        words = [int.from_bytes(digest[7 * i : 7 * i + 7], "big") for i in range(DIGEST_WORDS)]
    ok = 0 if digest is None else 1
    both = torch.tensor([ok] + words + [-word for word in words], dtype=torch.int64)
    dist.all_reduce(both, op=dist.ReduceOp.MIN, group=group)
    least, most = both[1 : 1 + DIGEST_WORDS], -both[1 + DIGEST_WORDS :]
    return bool(both[0].item() == 1 and torch.equal(least, most))
