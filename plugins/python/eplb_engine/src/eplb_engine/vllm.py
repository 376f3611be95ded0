"""The plug-in for vLLM: takes the place of its default EPLB policy.

vLLM loads it in every process, by the entry point `vllm.general_plugins`, and takes its policy from the
table EPLB_POLICIES. Asynchronous EPLB knows the name 'default' alone, so the value under that name is
replaced. What is relied on is recorded in contracts/vllm.json: where the engine differs, the plug-in does not
switch itself on, and says so.
"""

import importlib
import inspect

import numpy as np

from .bridge import Bridge
from .contract import ContractError, check_parameters, enter, import_first, read_contract
from .groups import own_group
from .log import LOGGER, say
from .question import Question, declaration_of, mean_loads
from .settings import read_settings

CONTRACT = read_contract("vllm")


def register() -> None:
    """The entry point. Never raises."""
    enter("vLLM", CONTRACT, _switch_on)


def _switch_on() -> None:
    settings = read_settings("vllm")
    if settings is None:
        LOGGER.info("EPLB_ENGINE_URL is not set: vLLM plans by itself")
        return
    module, own = find_policy()
    getattr(module, CONTRACT["table"])[CONTRACT["policy"]] = make_policy(own, settings)
    LOGGER.info("plans come from %s, with vLLM's own as fall-back", settings.url)


def find_policy():
    """The module with the table, and the engine's own policy. Raises ContractError."""
    module = import_first(CONTRACT["modules"])
    table = getattr(module, CONTRACT["table"], None)
    if not isinstance(table, dict) or CONTRACT["policy"] not in table:
        raise ContractError(f"{module.__name__}.{CONTRACT['table']} has no '{CONTRACT['policy']}'")
    own = table[CONTRACT["policy"]]
    check_signature(own)
    return module, own


def check_signature(own) -> None:
    """Raises ContractError unless the policy is called and answers as recorded."""
    name = CONTRACT["method"]
    method = getattr(own, name, None)
    if not inspect.isclass(own) or not callable(method):
        raise ContractError(f"the policy is not a class with {name}")
    check_parameters(method, name, CONTRACT["parameters"])
    returns = inspect.signature(method).return_annotation
    if returns is not inspect.Signature.empty:
        text = returns if isinstance(returns, str) else getattr(returns, "__name__", str(returns))
        if text.rsplit(".", 1)[-1] != CONTRACT["returns"]["annotation"].rsplit(".", 1)[-1]:
            raise ContractError(f"{name} returns {text}, not {CONTRACT['returns']['annotation']}")


def make_policy(own, settings):
    """A policy as the engine's own is, but for where plans come from."""
    bridge = VllmBridge(own, settings)

    def rebalance_experts(
        cls, weight, num_replicas, num_groups, num_nodes, num_ranks, old_global_expert_indices=None
    ):
        return bridge.rebalance(
            weight, num_replicas, num_groups, num_nodes, num_ranks, old_global_expert_indices
        )

    members = {CONTRACT["method"]: classmethod(rebalance_experts)}
    proposed = CONTRACT["proposed"]
    if hasattr(own, proposed["plan"]) and hasattr(own, proposed["committed"]):
        members.update(context_members(own, bridge))
    return type("EplbEnginePolicy", (own,), members)


def context_members(own, bridge):
    """The methods of the proposed contract: a plan from a context, and a call for each layer that is live.

    Forms of the proposal differ in whether a state of the policy goes along, so what is not needed is passed
    on as it is.
    """
    proposed = CONTRACT["proposed"]
    plan_of, committed_of = getattr(own, proposed["plan"]), getattr(own, proposed["committed"])

    def plan_rebalance(self, context, *rest, **named):
        plan = bridge.plan_from(context, own)
        return plan_of(self, context, *rest, **named) if plan is None else plan

    def on_layer_committed(self, *given, **named):
        bridge.layer_committed(*given, **named)
        return committed_of(self, *given, **named)

    return {proposed["plan"]: plan_rebalance, proposed["committed"]: on_layer_committed}


class VllmBridge:
    """Between vLLM's calls and the planner."""

    def __init__(self, own, settings):
        self._own = own
        self._settings = settings
        self._bridge = Bridge("vLLM", settings, find_agreement)
        # Of the last plan that was made from a context.
        self._plan = None
        self._declaration = None
        self._layers = set()

    def rebalance(self, weight, num_replicas, num_groups, num_nodes, num_ranks, old):
        """What the planner says where all ranks have it, else what the engine's own policy says."""
        given = (weight, num_replicas, num_groups, num_nodes, num_ranks, old)
        table = self._bridge.plan(lambda: self._question(*given))
        if table is None:
            return self._own.rebalance_experts(*given)
        return as_tensor(table, old)

    def plan_from(self, context, own):
        """A plan of the engine's kind from its planner context, or None: its own policy plans."""
        self._plan = None

        def question():
            topology = context.topology
            numbers = (topology.num_groups, topology.num_nodes, topology.num_ranks)
            old = context.physical_to_logical_map_cpu
            return self._question(context.load_window_cpu, context.num_replicas, *numbers, old)

        table = self._bridge.plan(question)
        if table is None:
            return None
        try:
            kind = find_plan_class(own)
            field = CONTRACT["proposed"]["field"]
            plan = kind(**{field: as_tensor(table, context.physical_to_logical_map_cpu)})
        except Exception as error:
            # The class is the same on all ranks, so all of them come here.
            say("other plans", f"the engine's plans are of another kind than recorded: {error!r}")
            return None
        self._plan, self._layers = plan, set()
        return plan

    def layer_committed(self, *given, **named):
        """Counts layers; when the last of a plan is live, says so to the planner. Never raises."""
        try:
            given = [*given, *named.values()]
            layer = int(given[-1])
            if self._plan is None or not any(one is self._plan for one in given):
                return
            self._layers.add(layer)
            table = getattr(self._plan, CONTRACT["proposed"]["field"]).numpy().astype(np.int32)
            if len(self._layers) == table.shape[0]:
                self._plan = None
                self._bridge.went_live(self._declaration, table)
        except Exception as error:
            say("commit unknown", f"a commit was not understood: {error!r}")

    def _question(self, weight, num_replicas, num_groups, num_nodes, num_ranks, old):
        # All that decides here whether a rank takes part is equal on all ranks.
        if old is None or weight.dim() not in (2, 3) or tuple(old.shape) != (weight.shape[-2], num_replicas):
            say("other shapes", "weights or mapping are of other shapes than recorded")
            return None
        table = old.detach().to("cpu").numpy().astype(np.int32)
        if table.min() < 0:
            # Ranks are missing: the engine repairs by its own rules.
            return None
        loads = mean_loads(weight)
        sizes = (loads.shape, num_replicas, num_groups, num_nodes, num_ranks)
        self._declaration = declaration_of(*sizes, self._settings.policy)
        return Question(self._declaration, loads, table, num_ranks)


def as_tensor(table, like):
    """A table of NumPy as a CPU tensor of another's kind."""
    import torch

    return torch.from_numpy(table.astype(np.int64)).to(like.dtype)


def find_plan_class(own):
    """The engine's class of plans, from where its policies are."""
    proposed = CONTRACT["proposed"]
    for base in own.__mro__:
        module = importlib.import_module(base.__module__)
        if hasattr(module, proposed["class"]):
            return getattr(module, proposed["class"])
    raise ContractError(f"there is no {proposed['class']}")


def find_agreement():
    """What the ranks are that share experts, and how they get a group of their own."""
    parent = find_group()
    return None if parent is None else (parent, lambda: own_group(parent))


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
