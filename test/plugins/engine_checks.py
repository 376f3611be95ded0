"""What plug-ins make of engines that differ, and tables that they have to bring into another form."""

import importlib
import logging
import os
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np

from fake_engines import write_ascend, write_sglang, write_vllm

GROUPS = {
    "vllm": "vllm.general_plugins",
    "sglang": "sglang.srt.plugins",
    "vllm_ascend": "vllm.general_plugins",
}
NAMES = {"vllm": "eplb_engine", "sglang": "eplb_engine", "vllm_ascend": "eplb_engine_ascend"}
VARIANTS = [
    ("vllm", "as recorded", {}),
    ("vllm", "no url", {}),
    ("vllm", "fewer parameters", {"leave_out": 1, "returns": ""}),
    ("vllm", "three tables", {"returns": " -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]"}),
    ("sglang", "as recorded", {}),
    ("sglang", "no url", {}),
    ("sglang", "fewer parameters", {"leave_out": 1}),
    ("sglang", "other hooks", {"hook_type": "WRAP"}),
    ("vllm_ascend", "as recorded", {}),
    ("vllm_ascend", "older", {"variant": 1}),
    ("vllm_ascend", "no url", {}),
    ("vllm_ascend", "other policies", {"policy_parameters": ["current_expert_table"]}),
]
WRITERS = {"vllm": write_vllm, "sglang": write_sglang, "vllm_ascend": write_ascend}


def contract_findings(contracts, folder):
    """Of each variant whether the plug-in is in, and what it said."""
    found = []
    for number, (engine, name, options) in enumerate(VARIANTS):
        own = Path(folder, f"variant-{number}")
        own.mkdir()
        WRITERS[engine](own, contracts[engine], **options)
        sys.path.insert(0, str(own))
        importlib.invalidate_caches()
        os.environ["EPLB_ENGINE_URL"] = "" if name == "no url" else "unix:/nowhere"
        messages = []
        handler = logging.Handler()
        handler.emit = lambda record: messages.append((record.levelname, record.getMessage()))
        logging.getLogger("eplb_engine").addHandler(handler)
        (point,) = [one for one in entry_points(group=GROUPS[engine]) if one.name == NAMES[engine]]
        point.load()()
        is_in = IS_IN[engine](contracts[engine], **options)
        found.append({"engine": engine, "name": name, "isIn": is_in, "messages": messages})
        logging.getLogger("eplb_engine").removeHandler(handler)
        sys.path.remove(str(own))
        for module in [one for one in sys.modules if one.split(".")[0] in WRITERS]:
            del sys.modules[module]
    return found


def vllm_is_in(contract, **_):
    policy = importlib.import_module(contract["modules"][0])
    replaced = policy.EPLB_POLICIES["default"]
    assert issubclass(replaced, policy.DefaultEplbPolicy)
    return replaced is not policy.DefaultEplbPolicy


def sglang_is_in(contract, **_):
    """Applies the hooks, and calls the algorithm as a process that has no ranks: its own answers."""
    import torch

    algorithms = importlib.import_module(contract["module"])
    registry = importlib.import_module(contract["hooks"]["module"]).HookRegistry
    own = algorithms.rebalance_experts
    if registry.hooks:
        registry.apply_hooks()
        given = (torch.ones(2, 3, 8), 12, 3, None, 1, algorithms.EplbAlgorithm.deepseek)
        for got, plain in zip(algorithms.rebalance_experts(*given), own(*given)):
            assert torch.equal(got, plain)
    return algorithms.rebalance_experts is not own


def ascend_is_in(contract, variant=0, **_):
    """Makes a policy in a process that has no ranks: the engine's own."""
    module = importlib.import_module(contract["module"])
    factory = module.PolicyFactory
    is_in = factory.generate_policy.__module__ != module.__name__
    given = [1, None][: len(contract["parameters"][variant])]
    assert type(factory.generate_policy(*given)) is module.Policy
    return is_in


IS_IN = {"vllm": vllm_is_in, "sglang": sglang_is_in, "vllm_ascend": ascend_is_in}


def random_findings():
    """Random tables in the forms of the engines; how often each case came up."""
    from eplb_engine.client import PlannerError
    from eplb_engine.sglang import three_tables
    from eplb_engine.vllm_ascend import fit_to, has_doubles

    rng = np.random.default_rng(5)
    found = {"tables": 0, "reordered": 0, "kept": 0, "refused": 0}
    for _ in range(300):
        layers, ranks, slots = rng.integers(1, 4), rng.integers(1, 5), rng.integers(1, 5)
        experts = int(rng.integers(1, ranks * slots + 1))
        old, new = (random_table(rng, layers, experts, ranks * slots) for _ in range(2))
        check_three(three_tables(new, experts), new, experts)
        found["tables"] += 1
        before = old.reshape(layers, ranks, slots)
        try:
            fitted = fit_to(new, old, ranks).reshape(before.shape)
        except PlannerError:
            found["refused"] += 1
            doubled = [has_doubles(a) and has_doubles(b) for a, b in zip(new.reshape(before.shape), before)]
            assert any(doubled)
            continue
        for layer, planned in enumerate(new.reshape(before.shape)):
            assert not has_doubles(fitted[layer])
            if has_doubles(planned):
                assert np.array_equal(fitted[layer], before[layer])
                found["kept"] += 1
                continue
            assert np.array_equal(np.sort(fitted[layer], axis=1), np.sort(planned, axis=1))
            found["reordered"] += not np.array_equal(fitted[layer], planned)
            for rank in range(ranks):
                for expert in np.intersect1d(fitted[layer, rank], before[layer, rank]):
                    at = np.flatnonzero(fitted[layer, rank] == expert)[0]
                    assert before[layer, rank, at] == expert
    return found


def random_table(rng, layers, experts, slots):
    more = rng.integers(0, experts, (layers, slots - experts))
    rows = [rng.permutation(np.concatenate([np.arange(experts), row])) for row in more]
    return np.stack(rows).astype(np.int32)


def check_three(tables, table, experts):
    p2l, l2p, counts = (one.numpy() for one in tables)
    assert np.array_equal(p2l, table)
    for layer, row in enumerate(table):
        for expert in range(experts):
            places = np.flatnonzero(row == expert).tolist()
            assert counts[layer, expert] == len(places)
            padding = [-1] * (l2p.shape[2] - len(places))
            assert l2p[layer, expert].tolist() == places + padding
    assert l2p.shape[2] == counts.max()
