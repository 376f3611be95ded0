"""All ranks use one answer, or none does.

Ranks that hold different placements would route to wrong weights without a word. So an answer is used only
when every rank has it: that costs two short collectives on the CPU, on a group that nobody else uses.
"""

from datetime import timedelta

import numpy as np

# Collectives come right after the questions, which are bounded themselves.
COLLECTIVE_SECONDS = 10.0
DIGEST_WORDS = 5


class Agreement:
    """The ranks that have to agree: a gloo group that is used for this alone.

    The group's own methods are called, not those of torch.distributed, which know only groups that were made
    from the world of this process.
    """

    def __init__(self, group):
        self._group = group

    @property
    def rank(self) -> int:
        return self._group.rank()

    @property
    def size(self) -> int:
        return self._group.size()

    def all_have(self, ok: bool) -> bool:
        """Whether every rank says yes."""
        return self._least([1 if ok else 0])[0] == 1

    def broadcast(self, table, shape):
        """The table of rank 0 on all ranks; None on all where rank 0 has none."""
        import torch

        layers, slots = shape
        message = torch.zeros(1 + layers * slots, dtype=torch.int64)
        if table is not None:
            message[0] = 1
            message[1:] = torch.from_numpy(table.astype(np.int64).ravel())
        self.broadcast_message(message)
        if message[0].item() != 1:
            return None
        return message[1:].numpy().reshape(layers, slots).astype(np.int32)

    def broadcast_message(self, message) -> None:
        """Writes the tensor of rank 0 into that of all others."""
        from torch.distributed import distributed_c10d

        options = distributed_c10d.BroadcastOptions()
        options.rootRank = 0
        options.rootTensor = 0
        self._group.broadcast([message], options).wait()

    def all_equal(self, digest) -> bool:
        """Whether all ranks have a digest, and the same. digest: 32 bytes, or None for no answer."""
        # 7 bytes a word: each is positive, and so is what is left when its sign is turned.
        words = [0] * DIGEST_WORDS
        if digest is not None:
            words = [int.from_bytes(digest[7 * i : 7 * i + 7], "big") for i in range(DIGEST_WORDS)]
        ok = 0 if digest is None else 1
        least = self._least([ok] + words + [-word for word in words])
        return least[0] == 1 and least[1 : 1 + DIGEST_WORDS] == [-word for word in least[1 + DIGEST_WORDS :]]

    def _least(self, numbers):
        """Of each number the least of all ranks."""
        import torch
        from torch.distributed import ReduceOp, distributed_c10d

        tensor = torch.tensor(numbers, dtype=torch.int64)
        options = distributed_c10d.AllreduceOptions()
        options.reduceOp = ReduceOp.MIN
        self._group.allreduce([tensor], options).wait()
        return tensor.tolist()


def own_group(parent):
    """An agreement of the ranks of a group of torch.distributed. Called by all of them at once.

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
        return Agreement(dist.new_group(ranks=ranks, backend="gloo", timeout=timeout))
    try:
        group = dist.new_group(
            ranks=ranks, backend="gloo", timeout=timeout, use_local_synchronization=True
        )
        return Agreement(group)
    except TypeError:
        return None


def _global_rank(group, rank):
    """The number in the world of a rank of a group."""
    import torch.distributed as dist

    if hasattr(dist, "get_global_rank"):
        return dist.get_global_rank(group, rank)
    # Before PyTorch 2.0.
    return dist.distributed_c10d._get_global_rank(group, rank)
