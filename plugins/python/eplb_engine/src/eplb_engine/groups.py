"""Groups of the ranks of an engine for agreement alone."""

from datetime import timedelta

from .agreement import COLLECTIVE_SECONDS, Agreement
from .log import LOGGER
from .meeting import arrange


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
        return with_store(dist.new_group(ranks=ranks, backend="gloo", timeout=timeout))
    try:
        group = dist.new_group(
            ranks=ranks, backend="gloo", timeout=timeout, use_local_synchronization=True
        )
    except TypeError:
        return None
    return with_store(group)


def with_store(group) -> Agreement:
    """The agreement of a new group, with a store where all of its ranks reach one."""
    meeting = arrange(group)
    if meeting is None:
        LOGGER.warning("ranks do not reach rank 0's host: one that is held up may miss the outcome of a vote")
        return Agreement(group)
    return Agreement(group, meeting.votes())


def _global_rank(group, rank):
    """The number in the world of a rank of a group."""
    import torch.distributed as dist

    if hasattr(dist, "get_global_rank"):
        return dist.get_global_rank(group, rank)
    # Before PyTorch 2.0.
    return dist.distributed_c10d._get_global_rank(group, rank)
