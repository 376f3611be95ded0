"""What a planner is asked, in the shapes that it knows."""

from dataclasses import dataclass
from typing import Callable, Optional

import numpy as np


@dataclass(frozen=True)
class Question:
    """One plan that is wanted."""

    declaration: dict
    """What the group is declared with."""
    loads: np.ndarray
    """float32 [layers, experts]"""
    old: Optional[np.ndarray]
    """int32 [layers, slots], what the ranks hold; None where that is not known yet"""
    num_ranks: Optional[int] = None
    """So many ranks have to agree; None: as many as there are"""
    fit: Optional[Callable[[np.ndarray], np.ndarray]] = None
    """Brings a checked table to what the engine takes. Equal tables have to give equal ones."""


def declaration_of(shape, slots, num_groups, num_nodes, num_ranks, policy) -> dict:
    """What a group is declared with. Numbers that do not fit are left to their default, as engines do.

    shape: (layers, experts). num_groups: None where the engine has none.
    """
    layers, experts = shape
    return {
        "numLayers": int(layers),
        "numLogicalExperts": int(experts),
        "numPhysicalExperts": int(slots),
        "numRanks": int(num_ranks),
        "numNodes": int(num_nodes) if num_nodes > 0 and num_ranks % num_nodes == 0 else 1,
        "numGroups": int(num_groups) if num_groups and experts % num_groups == 0 else 1,
        "policy": policy,
    }


def mean_loads(loads) -> np.ndarray:
    """float32 [layers, experts] of a tensor of any device, [layers, experts] or [steps, layers, experts]."""
    loads = loads.detach().to("cpu").double()
    if loads.dim() == 3:
        loads = loads.mean(dim=0)
    return loads.numpy().astype(np.float32)
