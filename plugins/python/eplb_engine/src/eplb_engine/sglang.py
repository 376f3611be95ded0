"""The plug-in for SGLang: a hook around the algorithm that its ranks plan with.

SGLang loads it in every process, by the entry point `sglang.srt.plugins`. Every rank plans by itself, after
all of them have added up what they counted. What is relied on is recorded in contracts/sglang.json.
"""

import importlib
import inspect
import sys

import numpy as np

from .bridge import Bridge
from .contract import ContractError, check_parameters, enter, import_first, read_contract
from .groups import own_group
from .log import LOGGER, say
from .question import Question, declaration_of, mean_loads
from .settings import read_settings

CONTRACT = read_contract("sglang")


def register() -> None:
    """The entry point. Never raises."""
    enter("SGLang", CONTRACT, _switch_on)


def _switch_on() -> None:
    settings = read_settings("sglang")
    if settings is None:
        LOGGER.info("EPLB_ENGINE_URL is not set: SGLang plans by itself")
        return
    module = import_first([CONTRACT["module"]])
    check_parameters(
        getattr(module, CONTRACT["function"], None), CONTRACT["function"], CONTRACT["parameters"]
    )
    hooks = CONTRACT["hooks"]
    registry_module = import_first([hooks["module"]])
    registry = getattr(registry_module, hooks["registry"], None)
    around = getattr(getattr(registry_module, hooks["types"], None), hooks["type"], None)
    if registry is None or around is None:
        raise ContractError(f"{hooks['module']} has no {hooks['registry']} with {hooks['type']}")
    check_parameters(getattr(registry, "register", None), "register", hooks["register"])
    registry.register(f"{CONTRACT['module']}.{CONTRACT['function']}", make_hook(settings), around)
    LOGGER.info("plans come from %s, with SGLang's own as fall-back", settings.url)


def make_hook(settings):
    """What is called in place of the engine's algorithm, with that as its first argument."""
    bridge = Bridge("SGLang", settings, find_agreement)

    def around(original, *given, **named):
        table = bridge.plan(lambda: question_of(settings, original, given, named))
        if table is None:
            return original(*given, **named)
        return three_tables(table, table.max() + 1)

    return around


def question_of(settings, original, given, named):
    """The question of a call; None where the engine has to plan by itself."""
    call = inspect.signature(original).bind(*given, **named).arguments
    window = call["tokens_per_expert"]
    slots, local = int(call["num_physical_experts"]), int(call["num_local_physical_experts"])
    # All that decides here whether a rank takes part is equal on all ranks.
    if window.dim() not in (2, 3) or local <= 0 or slots % local != 0:
        say("other shapes", "counts or numbers are of other shapes than recorded")
        return None
    algorithm = getattr(call["algorithm"], "name", str(call["algorithm"]))
    if is_elastic() or algorithm in CONTRACT["refusedAlgorithms"]:
        # After scaling rank 0 plans alone and hands its plan out: the others do not come to agree.
        say("elastic", "with elastic expert parallelism SGLang plans by itself")
        return None
    loads = mean_loads(window)
    groups = call["num_groups"] if algorithm.endswith(CONTRACT["hierarchical"]) else None
    declaration = declaration_of(
        loads.shape, slots, groups, int(call["num_nodes"]), slots // local, settings.policy
    )
    return Question(declaration, loads, live_table((loads.shape[0], slots)))


def three_tables(table, experts):
    """What the algorithm answers: slot -> expert, expert -> slots padded with -1, and copies, on the CPU."""
    import torch

    layers, slots = table.shape
    counts = np.zeros((layers, experts), dtype=np.int64)
    np.add.at(counts, (np.arange(layers)[:, None], table), 1)
    order = np.argsort(table, axis=1, kind="stable")
    sorted_experts = np.take_along_axis(table, order, axis=1)
    first = np.cumsum(counts, axis=1) - counts
    place = np.arange(slots) - np.take_along_axis(first, sorted_experts, axis=1)
    slots_of = np.full((layers, experts, int(counts.max())), -1, dtype=np.int64)
    slots_of[np.arange(layers)[:, None], sorted_experts, place] = order
    return tuple(torch.from_numpy(one) for one in (table.astype(np.int64), slots_of, counts))


def live_table(shape):
    """int32 [layers, slots], what the ranks hold; None before anything is live."""
    live = CONTRACT["live"]
    getter = getattr(sys.modules.get(live["module"]), live["getter"], None)
    metadata = None if getter is None else getter()
    table = getattr(metadata, live["attribute"], None)
    if table is None or tuple(table.shape) != shape:
        return None
    table = table.detach().to("cpu").numpy().astype(np.int32)
    return None if table.min() < 0 else table


def is_elastic() -> bool:
    """Whether ranks may come and go."""
    elastic = CONTRACT["elastic"]
    manager = getattr(sys.modules.get(elastic["module"]), elastic["manager"], None)
    return manager is not None and manager.instance() is not None


def find_agreement():
    """All ranks of the world: they have just added up their counts over it."""
    dist = importlib.import_module("torch.distributed")
    if not dist.is_available() or not dist.is_initialized():
        return None
    world = dist.distributed_c10d._get_default_group()
    return world, lambda: own_group(world)
