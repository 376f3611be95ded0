"""The plug-in for vLLM: takes the place of its default EPLB policy.

vLLM loads it in every process, by the entry point `vllm.general_plugins`, and takes its policy from the
table EPLB_POLICIES. Asynchronous EPLB knows the name 'default' alone, so the value under that name is
replaced. What is relied on is recorded in contracts/vllm.json: where the engine differs, the plug-in does not
switch itself on, and says so.
"""

import importlib
import inspect
import json
import logging
from pathlib import Path

import numpy as np

from . import agreement
from .log import LOGGER, say
from .planner import AgreedPlanner
from .settings import read_settings

CONTRACT = json.loads((Path(__file__).parent / "contracts" / "vllm.json").read_text())


class ContractError(Exception):
    """The engine is not as it was recorded."""


def register() -> None:
    """The entry point. Never raises: an engine starts without the plug-in rather than not at all."""
    try:
        settings = read_settings()
        if settings is None:
            LOGGER.info("EPLB_ENGINE_URL is not set: vLLM plans by itself")
            return
        module, own = find_policy()
        replacement = make_policy(own, settings)
        getattr(module, CONTRACT["table"])[CONTRACT["policy"]] = replacement
        LOGGER.info("plans come from %s, with the engine's own as fall-back", settings.url)
    except ContractError as error:
        LOGGER.error("disabled: %s; recorded was vLLM %s", error, CONTRACT["recorded"])
    except Exception as error:
        LOGGER.error("disabled: %r", error)


def find_policy():
    """The module with the table, and the engine's own policy. Raises ContractError."""
    module = None
    for name in CONTRACT["modules"]:
        try:
            module = importlib.import_module(name)
            break
        except ImportError:
            continue
    if module is None:
        raise ContractError(f"there is no {' or '.join(CONTRACT['modules'])}")
    table = getattr(module, CONTRACT["table"], None)
    if not isinstance(table, dict) or CONTRACT["policy"] not in table:
        raise ContractError(f"{module.__name__}.{CONTRACT['table']} has no '{CONTRACT['policy']}'")
    own = table[CONTRACT["policy"]]
    check_signature(own)
    return module, own


def check_signature(own) -> None:
    """Raises ContractError unless the policy is called and answers as recorded."""
    method = getattr(own, CONTRACT["method"], None)
    if not inspect.isclass(own) or not callable(method):
        raise ContractError(f"the policy is no class with {CONTRACT['method']}")
    signature = inspect.signature(method)
    found = [(one.name, one.default is not inspect.Parameter.empty) for one in signature.parameters.values()]
    wanted = [(one["name"], "default" in one) for one in CONTRACT["parameters"]]
    if found != wanted:
        names = ", ".join(name for name, _ in found)
        raise ContractError(f"{CONTRACT['method']}({names}) is called with other arguments")
    returns = signature.return_annotation
    if returns is not inspect.Signature.empty:
        text = returns if isinstance(returns, str) else getattr(returns, "__name__", str(returns))
        if text.rsplit(".", 1)[-1] != CONTRACT["returns"]["annotation"].rsplit(".", 1)[-1]:
            wanted = CONTRACT["returns"]["annotation"]
            raise ContractError(f"{CONTRACT['method']} returns {text}, not {wanted}")


def make_policy(own, settings):
    """A policy as the engine's own is, but for where plans come from."""
    bridge = Bridge(own, settings)

    def rebalance_experts(
        cls, weight, num_replicas, num_groups, num_nodes, num_ranks, old_global_expert_indices=None
    ):
        return bridge.rebalance(
            weight, num_replicas, num_groups, num_nodes, num_ranks, old_global_expert_indices
        )

    return type("EplbEnginePolicy", (own,), {CONTRACT["method"]: classmethod(rebalance_experts)})


class Bridge:
    """Between vLLM's calls and the planner."""

    def __init__(self, own, settings):
        self._own = own
        self._settings = settings
        self._parent = None
        self._group = None
        self._planners = {}
        self._is_off = False

    def rebalance(self, weight, num_replicas, num_groups, num_nodes, num_ranks, old):
        """What the planner says where all ranks have it, else what the engine's own policy says."""
        table = None
        try:
            if not self._is_off:
                table = self._planned(weight, num_replicas, num_groups, num_nodes, num_ranks, old)
        except Exception as error:
            # A collective has failed: on all ranks, which all fall back.
            say("agreement failed", f"the ranks could not agree: {error!r}", logging.ERROR)
        if table is None:
            return self._own.rebalance_experts(
                weight, num_replicas, num_groups, num_nodes, num_ranks, old
            )
        import torch

        return torch.from_numpy(table.astype(np.int64)).to(old.dtype)

    def _planned(self, weight, num_replicas, num_groups, num_nodes, num_ranks, old):
        # All that decides here whether a rank takes part is equal on all ranks.
        if old is None or weight.dim() not in (2, 3) or tuple(old.shape) != (weight.shape[-2], num_replicas):
            say("other shapes", "weights or mapping are of other shapes than recorded")
            return None
        group = self._own_group()
        if group is None:
            return None
        if agreement.size_of(group) != num_ranks:
            say("other ranks", f"the group has {agreement.size_of(group)} ranks, and the plan {num_ranks}")
            return None
        loads = weight.detach().to("cpu").double()
        if loads.dim() == 3:
            loads = loads.mean(dim=0)
        loads = loads.numpy().astype(np.float32)
        table = old.detach().to("cpu").numpy().astype(np.int32)
        if table.min() < 0:
            # Ranks are missing: the engine repairs by its own rules.
            return None
        declaration = declaration_of(
            loads.shape, num_replicas, num_groups, num_nodes, num_ranks, self._settings.policy
        )
        key = tuple(sorted(declaration.items()))
        if key not in self._planners:
            self._planners[key] = AgreedPlanner(self._settings, group, declaration)
        return self._planners[key].plan(loads, table, num_replicas)

    def _own_group(self):
        parent = find_group()
        if parent is None:
            self._is_off = True
            LOGGER.error("disabled: there is no group of ranks to agree on; vLLM plans by itself")
            return None
        if parent is not self._parent:
            # At the first plan, and after the engine was scaled: all ranks are here then.
            self._group = agreement.own_group(parent)
            self._parent = parent
            self._planners = {}
        if self._group is None:
            self._is_off = True
            LOGGER.error("disabled: no group of its own can be had; vLLM plans by itself")
        return self._group


def find_group():
    """The engine's group of the ranks that share experts, for the CPU; None where there is none."""
    names = CONTRACT["groups"]
    try:
        module = importlib.import_module(names["module"])
    except ImportError:
        return None
    for getter in names["getters"]:
        try:
            group = getattr(getattr(module, getter)(), names["attribute"], None)
        except (AttributeError, AssertionError):
            continue
        if group is not None:
            return group
    return None


def declaration_of(shape, slots, num_groups, num_nodes, num_ranks, policy) -> dict:
    """What a group is declared with. Numbers that do not fit are left to their default, as vLLM does."""
    layers, experts = shape
    return {
        "numLayers": int(layers),
        "numLogicalExperts": int(experts),
        "numPhysicalExperts": int(slots),
        "numRanks": int(num_ranks),
        "numNodes": int(num_nodes) if num_nodes > 0 and num_ranks % num_nodes == 0 else 1,
        "numGroups": int(num_groups) if num_groups > 0 and experts % num_groups == 0 else 1,
        "policy": policy,
    }
