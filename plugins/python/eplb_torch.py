"""Moves expert weights between ranks as a transfer plan says, with torch.distributed.

    eplb transfer from.json to.json --ranks 4 -o plan.json

    import json, eplb_torch
    plan = json.load(open("plan.json"))
    eplb_torch.execute(plan, tensors, group)

Every rank of the group calls it with the same plan and its own tensors. A rank's slots of a layer are the first
dimension of each of the layer's tensors. Needs PyTorch 1.13 or later and nothing else.
"""

import hashlib
import json

import torch
import torch.distributed as dist

KIND = "transfer-plan"
VERSION = 1


class TransferError(RuntimeError):
    """A layer that could not be moved.

    `layer` is its number, and `state` what the rank that raises it has of it: 'old', or 'broken' where slots
    may hold anything: then the layer is not to be served. What other ranks have they tell themselves. Layers
    that come before it in the plan are moved, those after it are as they were.
    """

    def __init__(self, layer, state, cause):
        super().__init__("layer %d is %s: %s" % (layer, state, cause))
        self.layer = layer
        self.state = state


def execute(plan, tensors, group=None, load_expert=None, ranks=None):
    """Moves the weights of all layers of a plan.

    plan: what the JSON of a plan is read to.
    tensors: by layer, a tensor [slots of the rank, ...] or several, in the order of the plan's bundle; they are
        written in place.
    group: of torch.distributed, the default one when None. Its backend has to take the tensors' device.
    load_expert: called as load_expert(layer, expert) for each expert that no live rank has; returns its tensors,
        without the dimension of slots.
    ranks: by rank of the plan, the rank in the group; None for a dead one. Default: the live ranks in order.

    Raises ValueError before anything has moved when plan and tensors do not fit each other, or when the ranks do
    not have the same plan; and TransferError.
    """
    mover = _Mover(plan, tensors, group, load_expert, ranks)
    mover.agree()
    for layer in plan["layers"]:
        mover.move(layer)


class _Mover:
    def __init__(self, plan, tensors, group, load_expert, ranks):
        if not isinstance(plan, dict) or plan.get("kind") != KIND or plan.get("formatVersion") != VERSION:
            raise ValueError("plan: is no %s of version %d" % (KIND, VERSION))
        self.plan = plan
        self.group = group
        self.load_expert = load_expert
        self.peers = self._peers(ranks)
        own = dist.get_rank(group)
        self.rank = next((rank for rank, peer in enumerate(self.peers) if peer == own), None)
        if self.rank is None:
            raise ValueError("ranks: none of the plan's is rank %d of the group" % own)
        self.slots = plan["numPhysicalExperts"] // plan["numRanks"]
        self.tensors = self._checked(tensors)

    def _peers(self, ranks):
        plan = self.plan
        dead = set(plan["deadRanks"])
        if ranks is None:
            live = [rank for rank in range(plan["numRanks"]) if rank not in dead]
            ranks = [None if rank in dead else live.index(rank) for rank in range(plan["numRanks"])]
        size = dist.get_world_size(self.group)
        if len(ranks) != plan["numRanks"]:
            raise ValueError("ranks: has %d entries, not %d" % (len(ranks), plan["numRanks"]))
        for rank, peer in enumerate(ranks):
            if (peer is None) != (rank in dead) or (peer is not None and not 0 <= peer < size):
                raise ValueError("ranks: rank %d of the plan is not rank %r of a group of %d" % (rank, peer, size))
        return ranks

    def _checked(self, tensors):
        plan = self.plan
        if len(tensors) != plan["numLayers"]:
            raise ValueError("tensors: of %d layers, not %d" % (len(tensors), plan["numLayers"]))
        listed = [[given] if torch.is_tensor(given) else list(given) for given in tensors]
        bundle = plan["bundle"]
        for layer, own in enumerate(listed):
            for index, tensor in enumerate(own):
                where = "tensors[%d][%d]" % (layer, index)
                if tensor.dim() == 0 or tensor.shape[0] != self.slots:
                    raise ValueError("%s: has shape %s, not %d slots" % (where, tuple(tensor.shape), self.slots))
                if not tensor.is_contiguous():
                    raise ValueError("%s: is not contiguous" % where)
            found = [tensor[0].numel() * tensor.element_size() for tensor in own]
            if bundle is not None and found != [tensor["bytes"] for tensor in bundle]:
                raise ValueError("tensors[%d]: have %s bytes a slot, not those of the bundle" % (layer, found))
            if bundle is None and plan["bytesPerExpert"] not in (0, sum(found)):
                raise ValueError(
                    "tensors[%d]: have %d bytes a slot, and the plan %d an expert"
                    % (layer, sum(found), plan["bytesPerExpert"])
                )
        for layer in plan["layers"]:
            if self.load_expert is None and any(load["targetRank"] == self.rank for load in layer["hostLoads"]):
                raise ValueError("layer %d has loads from the host: give load_expert" % layer["layer"])
        return listed

    def agree(self):
        """Sees to it that all ranks have this plan: others would wait for weights that nobody sends."""
        text = json.dumps(self.plan, sort_keys=True).encode()
        digest = int.from_bytes(hashlib.sha256(text).digest()[:7], "big")
        flat = [tensor for own in self.tensors for tensor in own]
        device = flat[0].device if flat else torch.device("cpu")
        both = torch.tensor([digest, -digest], dtype=torch.int64, device=device)
        dist.all_reduce(both, op=dist.ReduceOp.MIN, group=self.group)
        least, most = both.tolist()
        if least != digest or most != -digest:
            raise ValueError("plan: the ranks do not have the same one")

    def move(self, layer):
        buffered = self.plan["mode"] == "buffered"
        state = "old" if buffered else "broken"
        try:
            number = layer["layer"]
            own = self.tensors[number]
            spare = [tensor.new_empty((layer["extraSlots"],) + tuple(tensor.shape[1:])) for tensor in own]
            loads = [load for load in layer["hostLoads"] if load["targetRank"] == self.rank]
            loaded = [self._loaded(number, load["expert"], own) for load in loads]
            last = len(layer["rounds"]) + 1
            self._copy(layer, 0, own, spare)
            for first, rounds in self._batches(layer["rounds"]):
                self._exchange(rounds, own, spare)
                for step in range(first + 1, first + 1 + len(rounds)):
                    self._copy(layer, step, own, spare)
            for load, weights in zip(loads, loaded):
                for target, weight in zip(self._slot(load["targetSlot"], own, spare), weights):
                    target.copy_(weight)
            state = "broken"
            self._copy(layer, last, own, spare)
        except TransferError:
            raise
        except Exception as error:
            raise TransferError(layer["layer"], state, error) from error

    def _batches(self, rounds):
        """Rounds that are issued together, with the number of the first."""
        size = self.plan["roundsPerBatch"] or max(1, len(rounds))
        for first in range(0, len(rounds), size):
            yield first, rounds[first : first + size]

    def _exchange(self, rounds, own, spare):
        operations = []
        for round_ in rounds:
            for transfer in round_:
                if transfer["sourceRank"] == self.rank:
                    way, peer, slot = dist.isend, transfer["targetRank"], transfer["sourceSlot"]
                elif transfer["targetRank"] == self.rank:
                    way, peer, slot = dist.irecv, transfer["sourceRank"], transfer["targetSlot"]
                else:
                    continue
                for tensor in self._slot(slot, own, spare):
                    operations.append(dist.P2POp(way, tensor, self._global(peer), self.group))
        if not operations:
            return
        for work in dist.batch_isend_irecv(operations):
            work.wait()

    def _global(self, rank):
        peer = self.peers[rank]
        if self.group is None:
            return peer
        to_global = getattr(dist, "get_global_rank", None) or dist.distributed_c10d._get_global_rank
        return to_global(self.group, peer)

    def _copy(self, layer, step, own, spare):
        for copy in layer["copies"]:
            if copy["step"] != step or copy["targetRank"] != self.rank:
                continue
            sources = self._slot(copy["sourceSlot"], own, spare)
            for target, source in zip(self._slot(copy["targetSlot"], own, spare), sources):
                target.copy_(source)

    def _slot(self, slot, own, spare):
        """The tensors of a slot: numbers from the slots of a rank on are its buffer or staging slots."""
        if slot < self.slots:
            return [tensor[slot] for tensor in own]
        return [tensor[slot - self.slots] for tensor in spare]

    def _loaded(self, layer, expert, own):
        given = self.load_expert(layer, expert)
        weights = [given] if torch.is_tensor(given) else list(given)
        shapes = [tuple(weight.shape) for weight in weights]
        if shapes != [tuple(tensor.shape[1:]) for tensor in own]:
            raise ValueError("load_expert(%d, %d): has shapes %s" % (layer, expert, shapes))
        return weights
