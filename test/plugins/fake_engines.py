"""Engines that are not there: modules made of the recorded contracts, with algorithms of their own."""

import json
from pathlib import Path

VLLM_POLICY = '''
import torch
from dataclasses import dataclass

@dataclass(frozen=True)
class EplbPlan:
    physical_to_logical_map: torch.Tensor

class DefaultEplbPolicy:
    committed = ()

    @classmethod
    def rebalance_experts(cls{parameters}){returns}:
        weight, num_replicas = ({names})[:2]
        layers, experts = weight.shape
        # Like nothing that a planner answers here.
        row = [(slot * 3 + 1) % experts for slot in range(num_replicas)]
        return torch.tensor([row] * layers, dtype=torch.int64)
{proposed}
EPLB_POLICIES = {{"default": DefaultEplbPolicy}}
'''

VLLM_PROPOSED = '''
    def plan_rebalance(self, context, policy_state=None):
        topology = context.topology
        return EplbPlan(self.rebalance_experts(
            context.load_window_cpu.sum(dim=0), context.num_replicas, topology.num_groups,
            topology.num_nodes, topology.num_ranks, context.physical_to_logical_map_cpu))

    def on_layer_committed(self, policy_state, plan, layer_idx):
        self.committed = (*self.committed, layer_idx)
'''

VLLM_GROUPS = '''
class Coordinator:
    cpu_group = None

_COORDINATOR = Coordinator()

def {getter}():
    assert _COORDINATOR.cpu_group is not None, "the group is not initialized"
    return _COORDINATOR
'''

SGLANG_ALGORITHMS = '''
import torch
from enum import Enum, auto

class EplbAlgorithm(Enum):
    deepseek = auto()
    deepseek_hierarchical = auto()
    elasticity_aware = auto()

def rebalance_experts({parameters}):
    tokens, slots = ({names})[:2]
    _, layers, experts = tokens.shape
    row = [(slot * 3 + 1) % experts for slot in range(slots)]
    places = [[slot for slot in range(slots) if row[slot] == expert] for expert in range(experts)]
    most = max(map(len, places))
    padded = [one + [-1] * (most - len(one)) for one in places]
    return tuple(torch.tensor([one] * layers) for one in (row, padded, list(map(len, places))))
'''

SGLANG_LOCATION = '''
_metadata = None

def {getter}():
    return _metadata
'''

SGLANG_ELASTIC = '''
class {manager}:
    _instance = None

    @classmethod
    def instance(cls):
        return cls._instance
'''

SGLANG_HOOKS = '''
import importlib
from enum import Enum

class {types}(Enum):
    AFTER = "after"
    {type} = "around"

class {registry}:
    hooks = []

    @classmethod
    def register({parameters}):
        cls.hooks.append((target, hook, hook_type))

    @classmethod
    def apply_hooks(cls):
        for target, hook, kind in cls.hooks:
            assert kind is {types}.{type}
            name, _, attribute = target.rpartition(".")
            module = importlib.import_module(name)
            original = getattr(module, attribute)

            def wrapper(*args, _hook=hook, _original=original, **kwargs):
                return _hook(_original, *args, **kwargs)

            setattr(module, attribute, wrapper)
'''

ASCEND_FACTORY = '''
import numpy as np

class Policy:
    new_ep_size = None

    def set_new_ep_size(self, new_ep_size):
        self.new_ep_size = new_ep_size

    def rebalance_experts(self, {policy_parameters}):
        # The experts of each rank in the order of the ranks after it: no doubles, and nothing stays.
        new = np.roll(np.asarray(current_expert_table), -1, axis=1)
        return 1, np.arange(len(new)), new

class {factory}:
    @staticmethod
    def {method}({parameters}):
        return Policy()
'''


def contract_of(package, engine):
    return json.loads(Path(package, "eplb_engine", "contracts", f"{engine}.json").read_text())


def parameters_of(recorded):
    return ", ".join(one["name"] + ("=None" if "default" in one else "") for one in recorded)


def write_module(folder, name, text):
    parts = name.split(".")
    for depth in range(1, len(parts)):
        package = Path(folder, *parts[:depth])
        package.mkdir(exist_ok=True)
        (package / "__init__.py").touch()
    module = Path(folder, *parts[:-1], parts[-1] + ".py")
    if Path(folder, *parts).is_dir():
        module = Path(folder, *parts, "__init__.py")
    module.write_text(text)


def write_vllm(folder, contract, leave_out=0, returns=" -> torch.Tensor", proposed=False):
    """vLLM's modules, as the contract says, or with fewer parameters."""
    recorded = contract["parameters"][: len(contract["parameters"]) - leave_out]
    text = VLLM_POLICY.format(
        parameters=", " + parameters_of(recorded),
        names=", ".join(one["name"] for one in recorded),
        returns=returns,
        proposed=VLLM_PROPOSED if proposed else "",
    )
    write_module(folder, contract["modules"][0], text)
    groups = contract["groups"]
    write_module(folder, groups["module"], VLLM_GROUPS.format(getter=groups["getters"][0]))


def write_sglang(folder, contract, leave_out=0, hook_type="AROUND"):
    """SGLang's modules."""
    recorded = contract["parameters"][: len(contract["parameters"]) - leave_out]
    names = ", ".join(one["name"] for one in recorded)
    text = SGLANG_ALGORITHMS.format(parameters=parameters_of(recorded), names=names)
    write_module(folder, contract["module"], text)
    write_module(folder, contract["live"]["module"], SGLANG_LOCATION.format(**contract["live"]))
    write_module(folder, contract["elastic"]["module"], SGLANG_ELASTIC.format(**contract["elastic"]))
    hooks = {**contract["hooks"], "type": hook_type}
    register = [{"name": "cls"}, *contract["hooks"]["register"]]
    text = SGLANG_HOOKS.format(parameters=parameters_of(register), **hooks)
    write_module(folder, hooks["module"], text)


def write_ascend(folder, contract, variant=0, policy_parameters=None):
    """vllm-ascend's modules. variant: which of the recorded lists of parameters."""
    names = contract["policyParameters"] if policy_parameters is None else policy_parameters
    text = ASCEND_FACTORY.format(
        factory=contract["factory"],
        method=contract["method"],
        parameters=parameters_of(contract["parameters"][variant]),
        policy_parameters=", ".join(names),
    )
    write_module(folder, contract["module"], text)
    groups = contract["groups"]
    write_module(folder, groups["module"], VLLM_GROUPS.format(getter=groups["getter"]))
