"""Four ranks of an engine that is not there, over gloo, beside planners of all kinds.

    python3 vllm_ranks.py PACKAGE_FOLDER SERVICE_URL SERVICE_PID

The engine is made of the recorded contract. Prints one line of JSON: of each scenario the digests of what the
ranks got, and where it is from.
"""

import hashlib
import importlib
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

RANKS, LAYERS, EXPERTS, SLOTS = 4, 3, 8, 12
# Long enough for what is to succeed on a busy machine, and short for what waits for nothing.
PATIENT_MS, IMPATIENT_MS = 10_000, 150

POLICY = '''
import torch

class DefaultEplbPolicy:
    @classmethod
    def rebalance_experts(cls{parameters}){returns}:
        weight, num_replicas = ({names})[:2]
        layers, experts = weight.shape
        # Like nothing that a planner answers here.
        row = [(slot * 3 + 1) % experts for slot in range(num_replicas)]
        return torch.tensor([row] * layers, dtype=torch.int64)

EPLB_POLICIES = {{"default": DefaultEplbPolicy}}
'''

GROUPS = '''
class Coordinator:
    cpu_group = None

_COORDINATOR = Coordinator()

def {getter}():
    assert _COORDINATOR.cpu_group is not None, "the group is not initialized"
    return _COORDINATOR
'''


def write_engine(folder, contract, leave_out=0, returns=" -> torch.Tensor"):
    """An engine's modules, as the contract says, or with fewer parameters."""
    parameters = contract["parameters"][: len(contract["parameters"]) - leave_out]
    text = "".join(f", {one['name']}" + ("=None" if "default" in one else "") for one in parameters)
    names = ", ".join(one["name"] for one in parameters)
    module = contract["modules"][0].split(".")
    for depth in range(1, len(module)):
        package = Path(folder, *module[:depth])
        package.mkdir(exist_ok=True)
        (package / "__init__.py").touch()
    policy = Path(folder, *module[:-1], module[-1] + ".py")
    policy.write_text(POLICY.format(parameters=text, names=names, returns=returns))
    group = contract["groups"]["module"].split(".")
    Path(folder, *group[:-1], group[-1] + ".py").write_text(
        GROUPS.format(getter=contract["groups"]["getters"][0])
    )


def table_of(kind):
    """A valid table, another one for each kind."""
    rows = np.array([[(slot + kind + layer) % EXPERTS for slot in range(SLOTS)] for layer in range(LAYERS)])
    return rows.astype("<i4")


def answer_bytes(table, digest=None, status="planned", length=None):
    head = b"EPLB" + np.array([1, LAYERS, SLOTS, EXPERTS], "<u4").tobytes()
    body = head + table.tobytes()
    digest = hashlib.sha256(body).hexdigest() if digest is None else digest
    lines = ["HTTP/1.1 200 OK", f"content-length: {len(body) if length is None else length}"]
    lines += [f"eplb-digest: {digest}", f"eplb-status: {status}", "eplb-epoch: 0"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class FakePlanner:
    """Answers every question of any connection as it is told: what(number of the connection) -> bytes."""

    def __init__(self, what, wait=0.0, drip=False):
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._what, self._wait, self._drip = what, wait, drip
        self._count = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            connection, _ = self._server.accept()
            number, self._count = self._count, self._count + 1
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection, number):
        try:
            while True:
                text = b""
                while b"\r\n\r\n" not in text:
                    part = connection.recv(65536)
                    if not part:
                        return
                    text += part
                head, body = text.split(b"\r\n\r\n", 1)
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                while len(body) < length:
                    body += connection.recv(65536)
                time.sleep(self._wait)
                answer = self._what(number)
                if answer is None:
                    connection.close()
                    return
                for part in [answer[i : i + 1] for i in range(len(answer))] if self._drip else [answer]:
                    connection.sendall(part)
                    if self._drip:
                        time.sleep(0.02)
        except OSError:
            pass


def rank_loop(rank, paths, init_file, commands, answers):
    sys.path[:0] = paths
    logging.disable(logging.CRITICAL)
    dist.init_process_group("gloo", init_method=f"file://{init_file}", rank=rank, world_size=RANKS)
    from eplb_engine.settings import Settings
    from eplb_engine.vllm import CONTRACT, find_policy, make_policy

    state = importlib.import_module(CONTRACT["groups"]["module"])
    _, own = find_policy()
    policies = {}
    while True:
        command = commands.get()
        if command is None:
            break
        state._COORDINATOR.cpu_group = dist.group.WORLD if command["has_group"] else None
        settings = Settings(
            url=command["urls"][rank],
            agreement=command["mode"],
            timeout_ms=command["timeoutMs"],
            group="test",
        )
        if settings not in policies:
            policies[settings] = make_policy(own, settings)
        rng = np.random.default_rng(command["seed"])
        weight = torch.from_numpy(rng.integers(0, 1000, (LAYERS, EXPERTS)))
        old = torch.tensor(command["old"])
        got = policies[settings].rebalance_experts(weight, SLOTS, 1, 1, RANKS, old)
        plain = own.rebalance_experts(weight, SLOTS, 1, 1, RANKS, old)
        answers.put(
            {
                "rank": rank,
                "digest": hashlib.sha256(got.numpy().tobytes()).hexdigest(),
                "table": got.tolist(),
                "loads": weight.tolist(),
                "own": bool(torch.equal(got, plain)),
                "fits": got.dtype == old.dtype and got.device.type == "cpu" and got.shape == old.shape,
            }
        )
    dist.destroy_process_group()


def contract_findings(package, contract, folder):
    """What the plug-in makes of engines that differ: it leaves them as they are, and says so."""
    sys.path.insert(0, package)
    found = {}
    variants = {
        "as recorded": {},
        "fewer parameters": {"leave_out": 1, "returns": ""},
        "three tables": {"returns": " -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]"},
        "no url": {},
    }
    for name, options in variants.items():
        own = Path(folder, name.replace(" ", "-"))
        own.mkdir()
        write_engine(own, contract, **options)
        sys.path.insert(0, str(own))
        for module in [one for one in sys.modules if one.split(".")[0] == "vllm"]:
            del sys.modules[module]
        importlib.invalidate_caches()
        os.environ["EPLB_ENGINE_URL"] = "" if name == "no url" else "unix:/nowhere"
        messages = []
        handler = logging.Handler()
        handler.emit = lambda record: messages.append((record.levelname, record.getMessage()))
        logging.getLogger("eplb_engine").addHandler(handler)
        (point,) = [
            one for one in entry_points().get("vllm.general_plugins", []) if one.name == "eplb_engine"
        ]
        point.load()()
        policy = importlib.import_module(contract["modules"][0])
        replaced = policy.EPLB_POLICIES["default"] is not policy.DefaultEplbPolicy
        is_kind = issubclass(policy.EPLB_POLICIES["default"], policy.DefaultEplbPolicy)
        found[name] = {"replaced": replaced, "isKind": is_kind, "messages": messages}
        logging.getLogger("eplb_engine").removeHandler(handler)
        sys.path.remove(str(own))
    return found


def seen(url, condition):
    """The group as the planner sees it, once it is so."""
    from eplb_engine.client import PlannerClient

    client = PlannerClient(url, f"test-{LAYERS}x{EXPERTS}x{SLOTS}")
    for _ in range(600):
        view = client.view(10)
        if condition(view):
            break
        time.sleep(0.05)
    client.close()
    return view


def main(package, service_url, service_pid):
    contract = json.loads(Path(package, "eplb_engine", "contracts", "vllm.json").read_text())
    service_pid = int(service_pid)
    with tempfile.TemporaryDirectory() as folder:
        findings = contract_findings(package, contract, folder)
        engine = Path(folder, "engine")
        engine.mkdir()
        write_engine(engine, contract)
        context = multiprocessing.get_context("fork")
        commands = [context.Queue() for _ in range(RANKS)]
        answers = context.Queue()
        paths = [package, str(engine)]
        workers = [
            context.Process(target=rank_loop, args=(rank, paths, f"{folder}/init", commands[rank], answers))
            for rank in range(RANKS)
        ]
        for worker in workers:
            worker.start()
        scenarios = []

        first = [[slot % EXPERTS for slot in range(SLOTS)]] * LAYERS

        def step(name, urls, mode="broadcast", seed=1, has_group=True, old=first, timeout_ms=PATIENT_MS):
            urls = [urls] * RANKS if isinstance(urls, str) else urls
            command = {"urls": urls, "mode": mode, "seed": seed, "has_group": has_group, "old": old}
            command["timeoutMs"] = timeout_ms
            for queue in commands:
                queue.put(command)
            got = sorted((answers.get(timeout=60) for _ in range(RANKS)), key=lambda one: one["rank"])
            scenarios.append(
                {
                    "name": f"{name}, {mode}",
                    "digests": [one["digest"] for one in got],
                    "own": [one["own"] for one in got],
                    "fits": all(one["fits"] for one in got),
                    "table": got[0]["table"],
                    "loads": got[0]["loads"],
                    "old": old,
                }
            )
            return scenarios[-1]

        # A group that the planner does not know is declared beside the serving path.
        step("unknown group", service_url)
        deadline = time.monotonic() + 30
        while step("declared", service_url)["own"][0] and time.monotonic() < deadline:
            scenarios.pop()
            time.sleep(0.05)
        step("planner", service_url, "compare")
        live = first
        for seed in range(2, 6):
            live = step("planner", service_url, seed=seed, old=live)["table"]
        # What went live is reported beside the serving path.
        view = seen(service_url, lambda one: one["epoch"] >= 3 and one["counters"]["numSteps"] >= 4)
        os.kill(service_pid, signal.SIGSTOP)
        step("stopped", service_url, timeout_ms=IMPATIENT_MS)
        step("stopped", service_url, "compare", timeout_ms=IMPATIENT_MS)
        os.kill(service_pid, signal.SIGCONT)
        time.sleep(0.2)
        step("continued", service_url, seed=7)
        no_group = service_url.replace("127.0.0.1", "localhost")
        step("no group to agree on", no_group, has_group=False)
        step("no group to agree on, and then one", no_group, has_group=True)

        good = answer_bytes(table_of(1))
        missing = table_of(1)
        missing[missing == 5] = 4
        outside = table_of(1)
        outside[0, 0] = EXPERTS
        liars = {
            "lost expert": answer_bytes(missing),
            "no such expert": answer_bytes(outside),
            "wrong digest": answer_bytes(table_of(1), digest="0" * 64),
            "keeps another": answer_bytes(table_of(1), status="kept"),
            "half": answer_bytes(table_of(1)[:1]),
            "too long": answer_bytes(table_of(1), length=10**12),
            "chunked": good.replace(b"content-length", b"transfer-encoding: chunked\r\ncontent-length"),
            "no HTTP": b"\x00" * 400,
            "endless head": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 9000,
            "closes": None,
        }
        for name, answer in liars.items():
            planner = FakePlanner(lambda _, answer=answer: answer)
            step(name, planner.url)
        step("lost expert", FakePlanner(lambda _: liars["lost expert"]).url, "compare")
        step("good", FakePlanner(lambda _: good).url)
        step("good", FakePlanner(lambda _: good).url, "compare")
        step("late", FakePlanner(lambda _: good, wait=0.3).url, timeout_ms=IMPATIENT_MS)
        step("late", FakePlanner(lambda _: good, wait=0.3).url, "compare", timeout_ms=IMPATIENT_MS)
        step("a byte now and then", FakePlanner(lambda _: good, drip=True).url, timeout_ms=IMPATIENT_MS)
        other = answer_bytes(table_of(2))
        step("other bytes for one", FakePlanner(lambda number: other if number == 2 else good).url, "compare")
        step("one is not answered", FakePlanner(lambda number: None if number == 2 else good).url, "compare")
        nowhere = "http://127.0.0.1:9"
        step("one does not reach it", [FakePlanner(lambda _: good).url] * (RANKS - 1) + [nowhere], "compare")
        # Only rank 0 asks then: the others have no need to reach it.
        step("only the first reaches it", [FakePlanner(lambda _: good).url] + [nowhere] * (RANKS - 1))
        step("the first does not reach it", [nowhere] + [FakePlanner(lambda _: good).url] * (RANKS - 1))
        os.kill(service_pid, signal.SIGKILL)
        step("killed", service_url, seed=8)
        step("killed", service_url, "compare", seed=8)
        for queue in commands:
            queue.put(None)
        for worker in workers:
            worker.join(30)
            worker.kill()
    print(json.dumps({"contract": findings, "scenarios": scenarios, "view": view}))


if __name__ == "__main__":
    main(*sys.argv[1:])
