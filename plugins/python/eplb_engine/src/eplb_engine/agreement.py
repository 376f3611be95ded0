"""All ranks use one answer, or none does.

Ranks that hold different placements would route to wrong weights without a word. So an answer is used only
when every rank has it: that costs two short collectives on the CPU, on a group that nobody else uses.

A rank that was held up may miss the outcome of the last collective, which the others have. So it is written
down before anyone acts on it, where the first word stands: whoever comes late reads what the others do.
"""

import numpy as np

# Collectives come right after the questions, which are bounded themselves.
COLLECTIVE_SECONDS = 10.0
DIGEST_WORDS = 5


class Agreement:
    """The ranks that have to agree: a gloo group that is used for this alone.

    The group's own methods are called, not those of torch.distributed, which know only groups that were made
    from the world of this process.
    """

    def __init__(self, group, store=None):
        """store: of all these ranks and nothing else. None: there is none, and outcomes may be missed."""
        self._group = group
        self._store = store
        self._num_votes = 0
        self.failure = None
        """What a vote failed with: the group is of no more use then."""

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

    def all_agree(self, digest) -> bool:
        """As all_equal, and never raises: where that fails, this says what the other ranks do."""
        number, self._num_votes = self._num_votes, self._num_votes + 1
        agreed = False
        try:
            agreed = self.all_equal(digest)
        except Exception as error:
            self.failure = error
        # Where the vote says no, nobody can have seen a yes.
        if self._store is None or (self.failure is None and not agreed):
            return agreed
        try:
            return self._store.compare_set(str(number), "", "yes" if agreed else "no") == b"yes"
        except Exception as error:
            # Rank 0 is gone, and the engine with it.
            self.failure = error
            return agreed

    def _least(self, numbers):
        """Of each number the least of all ranks."""
        import torch
        from torch.distributed import ReduceOp, distributed_c10d

        tensor = torch.tensor(numbers, dtype=torch.int64)
        options = distributed_c10d.AllreduceOptions()
        options.reduceOp = ReduceOp.MIN
        self._group.allreduce([tensor], options).wait()
        return tensor.tolist()
