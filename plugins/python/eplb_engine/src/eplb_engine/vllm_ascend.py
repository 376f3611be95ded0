"""The plug-in for vllm-ascend's model runner V1: stands around the policies that its factory makes.

vllm-ascend is a plug-in of vLLM itself, so this one comes by the same entry point. The policy is made in each
rank, and plans in a process beside it, which must not use the rank's groups: the ranks arrange where those
processes meet. Model runner V2 plans as vLLM does, with the plug-in for vLLM. What is relied on is recorded
in contracts/vllm_ascend.json.
"""

import importlib
import importlib.util
import inspect
import os

import numpy as np

from .bridge import Bridge
from .client import PlannerError
from .contract import ContractError, check_parameters, enter, import_first, read_contract
from .log import LOGGER, say
from .meeting import arrange
from .question import Question, declaration_of
from .settings import read_settings

CONTRACT = read_contract("vllm_ascend")
BY_ITSELF = "vllm-ascend plans by itself"


def register() -> None:
    """The entry point. Never raises."""
    # vLLM on other devices loads it too.
    if importlib.util.find_spec(CONTRACT["package"]) is not None:
        enter("vllm-ascend", CONTRACT, _switch_on)


def _switch_on() -> None:
    # 'adaptive' avoids two copies of an expert on one rank, which the engine refuses.
    settings = read_settings("vllm-ascend", "adaptive")
    if settings is None:
        LOGGER.info("EPLB_ENGINE_URL is not set: vllm-ascend plans by itself")
        return
    factory = getattr(import_first([CONTRACT["module"]]), CONTRACT["factory"], None)
    make = getattr(factory, CONTRACT["method"], None)
    check_parameters(make, CONTRACT["method"], *CONTRACT["parameters"])
    setattr(factory, CONTRACT["method"], staticmethod(make_factory(make, settings)))
    LOGGER.info("plans come from %s, with vllm-ascend's own as fall-back", settings.url)


def make_factory(make, settings):
    """In place of the engine's method that makes policies: the first one of a rank asks the planner."""
    state = {"pid": os.getpid(), "used": False}

    def generate_policy(policy_type, *given, **named):
        own = make(policy_type, *given, **named)
        # A process that was forked from a rank has no groups to arrange anything with.
        if policy_type not in CONTRACT["policyTypes"] or state["used"] or state["pid"] != os.getpid():
            return own
        try:
            check_policy(own)
            group = find_group()
            if group is None:
                LOGGER.error("disabled: there is no group of ranks to agree on; %s", BY_ITSELF)
                return own
            state["used"] = True
            meeting = arrange(group)
            if meeting is None:
                LOGGER.error("disabled: the ranks' planning processes cannot meet; %s", BY_ITSELF)
                return own
            return AgreedPolicy(own, settings, meeting)
        except ContractError as error:
            LOGGER.error("disabled: %s; recorded was vllm-ascend %s", error, CONTRACT["recorded"])
        except Exception as error:
            LOGGER.error("disabled: %r", error)
        return own

    return generate_policy


def check_policy(own) -> None:
    """Raises ContractError unless a policy is called as recorded: with two arguments by place."""
    method = getattr(own, CONTRACT["policyMethod"], None)
    if not callable(method):
        raise ContractError(f"the policy has no {CONTRACT['policyMethod']}")
    try:
        inspect.signature(method).bind(*CONTRACT["policyParameters"])
    except TypeError as error:
        raise ContractError(f"{CONTRACT['policyMethod']} is called with other arguments") from error


def find_group():
    """The engine's group of the ranks that share experts, for the CPU; None where there is none."""
    names = CONTRACT["groups"]
    try:
        module = importlib.import_module(names["module"])
        return getattr(getattr(module, names["getter"])(), names["attribute"], None)
    except (ImportError, AttributeError, AssertionError):
        return None


class AgreedPolicy:
    """As a policy of the engine is, but for where plans come from.

    It can be pickled until its first plan: the engine may start its planning process by that.
    """

    def __init__(self, own, settings, meeting):
        self._own = own
        self._settings = settings
        self._meeting = meeting
        self._bridge = None
        self._is_scaled = False

    def __getattr__(self, name):
        if name.startswith("__") or name == "_own":
            raise AttributeError(name)
        return getattr(self._own, name)

    def set_new_ep_size(self, new_ep_size):
        """The engine is scaled: the ranks that met are no longer those that plan."""
        self._is_scaled = True
        return self._own.set_new_ep_size(new_ep_size)

    def rebalance_experts(self, current_expert_table, expert_workload):
        """(changed, layers by priority, [layers, ranks, slots])"""
        if self._bridge is None:
            meeting = self._meeting
            self._bridge = Bridge("vllm-ascend", self._settings, lambda: (meeting, meeting.join))
        table = None
        if not self._is_scaled:
            table = self._bridge.plan(lambda: self._question(current_expert_table, expert_workload))
        if table is None:
            return self._own.rebalance_experts(current_expert_table, expert_workload)
        old = np.asarray(current_expert_table)
        new = table.reshape(old.shape).astype(np.int64)
        moves = (new != old).sum(axis=(1, 2))
        return int(moves.any()), np.argsort(-moves, kind="stable"), new

    def _question(self, current_expert_table, expert_workload):
        # All that decides here whether a rank takes part is equal on all ranks.
        old, loads = np.asarray(current_expert_table), np.asarray(expert_workload, dtype=np.float64)
        if loads.ndim == 4:
            loads = loads.mean(axis=0)
        if old.ndim != 3 or old.shape != loads.shape or loads.min() < 0:
            say("other shapes", "placement or loads are of other shapes than recorded")
            return None
        if old.min() < 0:
            # Slots are empty: the engine goes on by its own rules.
            return None
        layers, ranks, slots_of_rank = old.shape
        table = old.reshape(layers, -1).astype(np.int32)
        of_expert = np.zeros((layers, int(table.max()) + 1))
        np.add.at(of_expert, (np.arange(layers)[:, None], table), loads.reshape(layers, -1))
        declaration = declaration_of(
            of_expert.shape, ranks * slots_of_rank, None, 1, ranks, self._settings.policy
        )

        def fit(new):
            return fit_to(new, table, ranks)

        return Question(declaration, of_expert.astype(np.float32), table, ranks, fit)


def fit_to(new: np.ndarray, old: np.ndarray, ranks: int) -> np.ndarray:
    """A table [layers, slots] as the engine takes it.

    Experts that stay on a rank keep their slot. A layer with two copies of an expert on one rank stays as it
    was, and raises PlannerError where it was so before.
    """
    layers = new.shape[0]
    fitted = new.reshape(layers, ranks, -1).copy()
    before = old.reshape(fitted.shape)
    for layer in range(layers):
        if has_doubles(fitted[layer]):
            if has_doubles(before[layer]):
                raise PlannerError(f"layer {layer}: a rank has two copies of an expert")
            say("doubles", "a plan has two copies of an expert on one rank: such layers stay as they are")
            fitted[layer] = before[layer]
            continue
        for rank in range(ranks):
            fitted[layer, rank] = in_old_slots(fitted[layer, rank], before[layer, rank])
    return fitted.reshape(new.shape)


def has_doubles(placement: np.ndarray) -> bool:
    """Whether any rank of [ranks, slots] has an expert twice."""
    ordered = np.sort(placement, axis=1)
    return bool((ordered[:, 1:] == ordered[:, :-1]).any())


def in_old_slots(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """The experts of a rank, those that stay where they were and the others in their order between them."""
    first = np.zeros(old.shape, dtype=bool)
    first[np.unique(old, return_index=True)[1]] = True
    stays = first & np.isin(old, new)
    result = np.where(stays, old, -1)
    result[~stays] = new[~np.isin(new, old)]
    return result
