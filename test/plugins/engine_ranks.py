"""Ranks of engines that are not there, over gloo, beside planners of all kinds.

    python3 engine_ranks.py PACKAGE_FOLDER SERVICE_URL SERVICE_PID

The engines are made of the recorded contracts. Prints one line of JSON: of each scenario the digests of what
the ranks got, and where it is from.
"""

import hashlib
import importlib
import json
import logging
import os
import pickle
import signal
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from engine_checks import contract_findings, random_findings
from fake_engines import contract_of, write_ascend, write_sglang, write_vllm
from fake_planner import EXPERTS, LAYERS, RANKS, SLOTS, FakePlanner, answer_bytes, liars, table_of

# Long enough for what is to succeed on a busy machine, and short for what waits for nothing.
PATIENT_MS, IMPATIENT_MS = 10_000, 150
# As many as a node has, three slots each: some scenarios are played by them too.
MANY_RANKS, MANY_SLOTS = 8, 24
ENGINES = ("vllm", "sglang", "vllm_ascend")
POLICIES = {"vllm": "default", "sglang": "default", "vllm_ascend": "adaptive"}


def settings_of(command, rank):
    from eplb_engine.settings import Settings

    return Settings(
        url=command["urls"][rank],
        agreement=command["mode"],
        timeout_ms=command["timeoutMs"],
        group=f"test-{command['engine']}",
        policy=POLICIES[command["engine"]],
    )


class Held:
    """Holds a rank up after a vote, so that it misses its outcome, for as long as the others need or not."""

    def __init__(self, seconds):
        from eplb_engine.agreement import Agreement

        self._kind, self._whole, self._seconds = Agreement, Agreement.all_equal, seconds

    def __enter__(self):
        def missed(agreement, digest):
            self._whole(agreement, digest)
            time.sleep(self._seconds)
            raise RuntimeError("timed out")

        self._kind.all_equal = missed

    def __exit__(self, *_):
        self._kind.all_equal = self._whole


class SharedGroups:
    """Has the plug-ins of one engine use one group, which spares the test time; or each its own."""

    def __init__(self, module):
        self._make, self._made = module.own_group, None
        self.is_shared = True
        module.own_group = self._own_group

    def _own_group(self, parent):
        # A machine may be busy; and a group of its own is waited for in vain.
        groups = importlib.import_module("eplb_engine.groups")
        groups.COLLECTIVE_SECONDS = 30.0 if self.is_shared else 2.0
        if not self.is_shared:
            return self._make(parent)
        if self._made is None:
            self._made = self._make(parent)
        return self._made


def loads_of(command):
    return torch.from_numpy(np.random.default_rng(command["seed"]).integers(0, 1000, (LAYERS, EXPERTS)))


class Vllm:
    """A rank of vLLM."""

    def __init__(self, rank, _):
        from eplb_engine import vllm
        from eplb_engine.vllm import CONTRACT, find_policy, make_policy

        self._groups = SharedGroups(vllm)
        self._rank, self._make = rank, make_policy
        self._state = importlib.import_module(CONTRACT["groups"]["module"])
        self._module, self._own = find_policy()
        self._policies = {}

    def step(self, command):
        self._groups.is_shared = not command.get("ownGroup")
        self._state._COORDINATOR.cpu_group = dist.group.WORLD if command["hasGroup"] else None
        settings = settings_of(command, self._rank)
        if settings not in self._policies:
            self._policies[settings] = self._make(self._own, settings)
        policy = self._policies[settings]
        weight, old = loads_of(command), torch.tensor(command["old"])
        given = (old.shape[1], 1, 1, dist.get_world_size(), old)
        if command.get("context"):
            got = self._from_context(policy, weight, old)
        else:
            got = policy.rebalance_experts(weight, *given)
        plain = self._own.rebalance_experts(weight, *given)
        fits = got.dtype == old.dtype and got.device.type == "cpu" and got.shape == old.shape
        return got.numpy(), plain.numpy(), weight.numpy(), fits

    @staticmethod
    def _from_context(kind, weight, old):
        """A plan by the proposed contract, and the commit of each of its layers."""
        policy = kind()
        topology = SimpleNamespace(num_groups=1, num_nodes=1, num_ranks=dist.get_world_size())
        window = torch.stack([weight + weight, weight - weight])
        context = SimpleNamespace(
            load_window_cpu=window,
            physical_to_logical_map_cpu=old,
            topology=topology,
            num_replicas=old.shape[1],
            cpu_group=None,
        )
        plan = policy.plan_rebalance(context, "state")
        for layer in range(LAYERS):
            policy.on_layer_committed("state", plan, layer)
        assert policy.committed == tuple(range(LAYERS))
        return plan.physical_to_logical_map


class Sglang:
    """A rank of SGLang."""

    def __init__(self, rank, _):
        from eplb_engine import sglang
        from eplb_engine.sglang import CONTRACT, make_hook

        self._groups = SharedGroups(sglang)
        self._rank, self._make = rank, make_hook
        self._algorithms = importlib.import_module(CONTRACT["module"])
        self._location = importlib.import_module(CONTRACT["live"]["module"])
        self._elastic = importlib.import_module(CONTRACT["elastic"]["module"])
        self._hooks = {}

    def step(self, command):
        self._groups.is_shared = not command.get("ownGroup")
        settings = settings_of(command, self._rank)
        if settings not in self._hooks:
            self._hooks[settings] = self._make(settings)
        # Elastic ranks do not all come to plan.
        self._elastic.ElasticEPStateManager._instance = None if command["hasGroup"] else object()
        old = torch.tensor(command["old"])
        self._location._metadata = SimpleNamespace(physical_to_logical_map_cpu=old)
        loads, slots = loads_of(command), old.shape[1]
        named = {
            "tokens_per_expert": torch.stack([loads, loads]),
            "num_physical_experts": slots,
            "num_local_physical_experts": slots // dist.get_world_size(),
            "num_groups": None,
            "num_nodes": 1,
            "algorithm": self._algorithms.EplbAlgorithm.deepseek,
        }
        original = self._algorithms.rebalance_experts
        if not command["hasGroup"] and self._rank != 0:
            got = plain = original(**named)
        else:
            got, plain = self._hooks[settings](original, **named), original(**named)
        shapes = [(LAYERS, slots), (LAYERS, EXPERTS, got[1].shape[2]), (LAYERS, EXPERTS)]
        fits = [tuple(one.shape) for one in got] == shapes and int(got[2].sum()) == LAYERS * slots
        return got[0].numpy(), plain[0].numpy(), loads.numpy(), fits


class Ascend:
    """A rank of vllm-ascend, which plans in a process beside it."""

    def __init__(self, rank, context):
        from eplb_engine.vllm_ascend import CONTRACT, register

        groups = importlib.import_module(CONTRACT["groups"]["module"])
        groups._COORDINATOR.cpu_group = dist.group.WORLD
        register()
        factory = importlib.import_module(CONTRACT["module"]).PolicyFactory
        # As if the planning process were started, and not forked.
        policy = pickle.loads(pickle.dumps(factory.generate_policy(1)))
        self._commands, self._answers = context.Queue(), context.Queue()
        given = (rank, factory, policy, self._commands, self._answers)
        self._process = context.Process(target=self._plan, args=given, daemon=True)
        self._process.start()

    @staticmethod
    def _plan(rank, factory, policy, commands, answers):
        from eplb_engine.vllm_ascend import AgreedPolicy

        # As the engine does: threads of OpenMP are not there after a fork.
        torch.set_num_threads(1)
        # What is made here, where there are no groups, is the engine's own.
        own = factory.generate_policy(1)
        made = {}
        for command in iter(commands.get, None):
            asked = own
            if command["hasGroup"]:
                asked = policy
                if not command.get("asRegistered"):
                    settings = settings_of(command, rank)
                    asked = made.setdefault(settings, AgreedPolicy(own, settings, policy._meeting))
            old = torch.tensor(command["old"]).reshape(LAYERS, len(command["urls"]), -1)
            loads = loads_of(command)
            copies = torch.stack([torch.bincount(row, minlength=EXPERTS) for row in old.reshape(LAYERS, -1)])
            of_slot = (loads / copies).gather(1, old.reshape(LAYERS, -1)).reshape(old.shape)
            changed, priority, got = asked.rebalance_experts(old, of_slot)
            plain = own.rebalance_experts(old, of_slot)[2]
            fits = got.shape == tuple(old.shape) and sorted(priority) == list(range(LAYERS))
            fits = fits and bool(changed) == bool((got != old.numpy()).any())
            answers.put((got.reshape(LAYERS, -1), plain.reshape(LAYERS, -1), loads.numpy(), fits))

    def step(self, command):
        self._commands.put(command)
        return self._answers.get(timeout=60)


def rank_loop(rank, num_ranks, context, paths, init_file, commands, answers):
    sys.path[:0] = paths
    logging.disable(logging.CRITICAL)
    dist.init_process_group("gloo", init_method=f"file://{init_file}", rank=rank, world_size=num_ranks)
    kinds = {"vllm": Vllm, "sglang": Sglang, "vllm_ascend": Ascend}
    engines = {name: kind(rank, context) for name, kind in kinds.items()}
    for command in iter(commands.get, None):
        held = command.get("held") if rank == 1 else None
        with nullcontext() if held is None else Held(held):
            got, plain, loads, fits = engines[command["engine"]].step(command)
        answers.put(
            {
                "rank": rank,
                "digest": hashlib.sha256(got.astype("<i8").tobytes()).hexdigest(),
                "table": got.tolist(),
                "loads": loads.tolist(),
                "own": bool(np.array_equal(got, plain)),
                "fits": bool(fits),
            }
        )
    dist.destroy_process_group()


class Ranks:
    """The ranks, and what they answered."""

    def __init__(self, folder, paths, num_ranks=RANKS, num_slots=SLOTS):
        context = multiprocessing.get_context("fork")
        self._num_ranks, self._num_slots = num_ranks, num_slots
        self._commands = [context.Queue() for _ in range(num_ranks)]
        self._answers = context.Queue()
        shared = (num_ranks, context, paths, f"{folder}/init-{num_ranks}")
        self._workers = [
            context.Process(target=rank_loop, args=(rank, *shared, self._commands[rank], self._answers))
            for rank in range(num_ranks)
        ]
        for worker in self._workers:
            worker.start()
        self.scenarios = []

    def step(self, name, urls, engine="vllm", mode="broadcast", seed=1, old=None, **more):
        command = {"engine": engine, "mode": mode, "seed": seed, "hasGroup": True, "timeoutMs": PATIENT_MS}
        command["urls"] = [urls] * self._num_ranks if isinstance(urls, str) else urls
        first = [[slot % EXPERTS for slot in range(self._num_slots)]] * LAYERS
        command["old"] = first if old is None else old
        command.update(more)
        for queue in self._commands:
            queue.put(command)
        got = sorted((self._answers.get(timeout=60) for _ in range(self._num_ranks)), key=lambda one: one["rank"])
        self.scenarios.append(
            {
                "engine": engine,
                "name": f"{name}, {mode}",
                "digests": [one["digest"] for one in got],
                "own": [one["own"] for one in got],
                "fits": all(one["fits"] for one in got),
                "table": got[0]["table"],
                "loads": got[0]["loads"],
                "old": command["old"],
            }
        )
        return self.scenarios[-1]

    def end(self):
        for queue in self._commands:
            queue.put(None)
        for worker in self._workers:
            worker.join(30)
            worker.kill()


def seen(url, group, condition):
    """The group as the planner sees it, once it is so."""
    from eplb_engine.client import PlannerClient

    client = PlannerClient(url, f"{group}-{LAYERS}x{EXPERTS}x{SLOTS}")
    for _ in range(600):
        view = client.view(10)
        if condition(view):
            break
        time.sleep(0.05)
    client.close()
    return view


def with_service(ranks, url, pid):
    """A service that answers, that is stopped, and that goes on."""
    views = {}
    for engine in ENGINES:
        # A group that the planner does not know is declared beside the serving path.
        ranks.step("unknown group", url, engine, asRegistered=True)
        deadline = time.monotonic() + 30
        while ranks.step("declared", url, engine, asRegistered=True)["own"][0]:
            assert time.monotonic() < deadline, "the group was not declared"
            ranks.scenarios.pop()
            time.sleep(0.05)
        ranks.step("planner", url, engine, "compare")
        live = None
        for seed in range(2, 6):
            live = ranks.step("planner", url, engine, seed=seed, old=live)["table"]
        # What went live is reported beside the serving path.
        views[engine] = seen(
            url, f"test-{engine}", lambda one: one["epoch"] >= 1 and one["counters"]["numSteps"] >= 4
        )
    # By the proposed contract the last layer's commit says that a plan is live.
    planned = ranks.step("planner", url, seed=9, old=live, context=True)["table"]
    digest = hashlib.sha256(answer_bytes(np.array(planned, "<i4")).split(b"\r\n\r\n", 1)[1]).hexdigest()
    views["context"] = seen(url, "test-vllm", lambda one: one["digest"] == digest)["digest"] == digest
    os.kill(pid, signal.SIGSTOP)
    for engine in ENGINES:
        ranks.step("stopped", url, engine, timeoutMs=IMPATIENT_MS)
        ranks.step("stopped", url, engine, "compare", timeoutMs=IMPATIENT_MS)
    os.kill(pid, signal.SIGCONT)
    time.sleep(0.2)
    for engine in ENGINES:
        ranks.step("continued", url, engine, seed=7)
    # Other settings make another plug-in: this one switches itself off.
    for engine in ENGINES:
        ranks.step("no group to agree on", url, engine, hasGroup=False, timeoutMs=PATIENT_MS + 1)
    ranks.step("no group to agree on, and then one", url, timeoutMs=PATIENT_MS + 1)
    return views


def with_fakes(ranks):
    """Planners that lie, are late, or do not answer all ranks alike."""
    good, other = answer_bytes(table_of(1)), answer_bytes(table_of(2))
    nowhere = "http://127.0.0.1:9"
    for name, answer in liars().items():
        planner = FakePlanner(lambda _, answer=answer: answer)
        for engine in ENGINES if name in ("lost expert", "wrong digest") else ENGINES[:1]:
            # This one leaves the connection open, and is waited for in vain.
            limit = IMPATIENT_MS if name == "no HTTP" else PATIENT_MS
            ranks.step(name, planner.url, engine, timeoutMs=limit)
    drips = FakePlanner(lambda _: good, drip=True)
    ranks.step("a byte now and then", drips.url, timeoutMs=IMPATIENT_MS)
    for engine in ENGINES:
        ranks.step("lost expert", FakePlanner(lambda _: liars()["lost expert"]).url, engine, "compare")
        ranks.step("good", FakePlanner(lambda _: good).url, engine)
        ranks.step("good", FakePlanner(lambda _: good).url, engine, "compare")
        late = FakePlanner(lambda _: good, wait=0.3)
        ranks.step("late", late.url, engine, timeoutMs=IMPATIENT_MS)
        ranks.step("late", late.url, engine, "compare", timeoutMs=IMPATIENT_MS)
        mixed = FakePlanner(lambda number: other if number == 2 else good)
        ranks.step("other bytes for one", mixed.url, engine, "compare")
        most = FakePlanner(lambda number: None if number == 2 else good)
        ranks.step("one is not answered", most.url, engine, "compare")
        reached = FakePlanner(lambda _: good).url
        ranks.step("one does not reach it", [reached] * (RANKS - 1) + [nowhere], engine, "compare")
        # Only rank 0 asks then: the others have no need to reach it.
        ranks.step("only the first reaches it", [reached] + [nowhere] * (RANKS - 1), engine)
        ranks.step("the first does not reach it", [nowhere] + [reached] * (RANKS - 1), engine)


def with_many(ranks):
    """A planner that answers seven ranks of eight, and what all ranks do then; and one that answers all."""
    good = answer_bytes(table_of(1, MANY_SLOTS))
    for engine in ENGINES:
        ranks.step("eight are answered", FakePlanner(lambda _: good).url, engine, "compare")
        for missed in (0, 5):
            most = FakePlanner(lambda number, missed=missed: None if number == missed else good)
            ranks.step(f"seven of eight are answered, {missed} is not", most.url, engine, "compare")
        late = FakePlanner(lambda number: time.sleep(0.5 if number == 3 else 0) or good)
        ranks.step("seven of eight are answered in time", late.url, engine, "compare", timeoutMs=300)
        other = answer_bytes(table_of(2, MANY_SLOTS))
        mixed = FakePlanner(lambda number: other if number == 7 else good)
        ranks.step("seven of eight get the same", mixed.url, engine, "compare")


def with_held_ranks(ranks, url):
    """A rank that misses the outcome of a vote does what the others do. Which, depends on who is first."""
    for engine in ("sglang", "vllm"):
        for number, held in enumerate((0, 0.3)):
            more = {"ownGroup": True, "timeoutMs": PATIENT_MS + 2 + number}
            ranks.step(f"held for {held} s", url, engine, seed=7, held=held, **more)
    # The group is of no more use then: the others wait for that rank, once.
    for _ in range(2):
        ranks.step("after that", url, seed=7, **more)


def main(package, service_url, service_pid):
    contracts = {engine: contract_of(package, engine) for engine in ENGINES}
    sys.path.insert(0, package)
    os.environ.update(EPLB_ENGINE_TIMEOUT_MS=str(PATIENT_MS), EPLB_ENGINE_GROUP="test-vllm_ascend")
    with tempfile.TemporaryDirectory() as folder:
        findings = contract_findings(contracts, folder)
        engine = Path(folder, "engine")
        engine.mkdir()
        write_vllm(engine, contracts["vllm"], proposed=True)
        write_sglang(engine, contracts["sglang"])
        write_ascend(engine, contracts["vllm_ascend"])
        os.environ["EPLB_ENGINE_URL"] = service_url
        ranks = Ranks(folder, [package, str(engine)])
        views = with_service(ranks, service_url, int(service_pid))
        with_fakes(ranks)
        with_held_ranks(ranks, service_url)
        os.kill(int(service_pid), signal.SIGKILL)
        for name in ENGINES:
            ranks.step("killed", service_url, name, seed=8)
            ranks.step("killed", service_url, name, "compare", seed=8)
        ranks.end()
        many = Ranks(folder, [package, str(engine)], MANY_RANKS, MANY_SLOTS)
        with_many(many)
        many.end()
        print(
            json.dumps(
                {
                    "contract": findings,
                    "scenarios": ranks.scenarios + many.scenarios,
                    "views": views,
                    "random": random_findings(),
                }
            )
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
