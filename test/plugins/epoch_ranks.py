"""Ranks of `eplb_engine` beside a service, and its machine beside what the library's machine did.

    epoch_ranks.py PACKAGE machine FILE      replays what RankMachine of the library was given
    epoch_ranks.py PACKAGE ranks URL GROUP   an engine of three ranks, as threads, whose weights are texts
"""

import json
import sys
import threading
import time

sys.path.insert(0, sys.argv[1])
from eplb_engine.epochs import EpochClient, EpochError, Refused  # noqa: E402
from eplb_engine.rank import Rank  # noqa: E402
from eplb_engine.rank_machine import RankMachine  # noqa: E402

CALLS = {
    "receive": "receive", "tick": "tick", "prepared": "prepared", "refused": "refused", "swapped": "swapped",
    "failed": "failed", "restored": "restored", "notRestored": "not_restored", "beginStep": "begin_step",
}


def replay(path):
    """Of each run, the outputs of all its calls."""
    runs = []
    with open(path, encoding="utf-8") as file:
        recorded = json.load(file)
    for run in recorded:
        machine = RankMachine(run["incarnation"], run["holds"], run["leadSteps"])
        outputs = []
        for call, args in run["calls"]:
            output = getattr(machine, CALLS[call])(*args)
            answer = None
            if call == "beginStep":
                answer, output = output
            messages, actions = output
            outputs.append({"answer": answer, "messages": messages, "actions": actions})
        runs.append(outputs)
    json.dump(runs, sys.stdout)


class Host:
    """Weights as one text a layer."""

    def __init__(self, digest):
        self.slots = [digest, digest]
        self.buffers = {}
        self.refuses = False

    def prepare(self, epoch, digest, layers, done, wanted):
        if self.refuses:
            raise MemoryError("no room")
        for layer in layers:
            self.buffers[layer] = digest
            done(layer)

    def swap(self, epoch, digest, layers):
        for layer in layers:
            self.slots[layer] = self.buffers[layer]
        # A layer that does not change is the same in both mappings.
        self.slots = [digest, digest]

    def drop(self):
        self.buffers.clear()

    def restore(self, epoch, digest):
        self.slots = [digest, digest]


class Engine:
    """Joint steps: each is served by all ranks that are admitted, or waited for."""

    def __init__(self, url, group):
        self.client = EpochClient(url, group)
        view = self.client.view()
        self.holds = {"epoch": view["epoch"], "digest": view["digest"]}
        self.hosts = [Host(view["digest"]) for _ in range(3)]
        self.incarnations = [1, 1, 1]
        self.url, self.group = url, group
        self.ranks = [self.start(rank, self.holds) for rank in range(3)]
        self.step = 0
        self.served = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def start(self, rank, holds):
        def make():
            return EpochClient(self.url, self.group)

        return Rank(
            make, rank, self.incarnations[rank], holds, self.hosts[rank], lead_steps=4, ttl_ms=600
        )

    def run(self):
        while not self.ended.is_set():
            self.step += 1
            epochs = set()
            for rank in self.ranks:
                answer = rank.begin_step(self.step, 0.02)
                if answer["status"] == "serve":
                    host = self.hosts[self.ranks.index(rank)]
                    epochs.add((answer["epoch"], answer["digest"], *host.slots))
            if epochs:
                self.served.append(sorted(epochs))
            time.sleep(0.002)

    def until(self, holds, seconds=20.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            view = self.client.view()
            if holds(view):
                return view
            time.sleep(0.01)
        raise TimeoutError(json.dumps(view))


def ranks(url, group):
    engine = Engine(url, group)
    client = engine.client
    found = {}
    engine.until(lambda view: view["ranks"]["serving"] == 3)

    def plan(loads):
        return client._ask("POST", "/plan", {"loads": loads})["digest"]

    digest = plan([[9, 1, 4, 2], [1, 2, 3, 40]])
    client.offer(digest, activation="whenPrepared", operationId="first")
    engine.until(lambda view: view["epoch"] == 1 and view["ranks"]["serving"] == 3)
    found["active"] = client.epoch(1)["state"]
    engine.hosts[1].refuses = True
    client.offer(plan([[2, 4, 1, 9], [40, 3, 2, 1]]), activation="whenPrepared", operationId="second")
    engine.until(lambda view: view["underWay"] is None)
    found["refused"] = client.epoch(2)["reason"]
    engine.hosts[1].refuses = False
    # A rank that is silent loses its lease, the others go on without it, and it comes back.
    engine.ranks[2].close()
    engine.until(lambda view: view["ranks"]["dead"] == 1 and view["epoch"] == 2)
    found["silent"] = engine.ranks[2].try_step(10**6)["status"]
    engine.incarnations[2] = 2
    engine.ranks[2] = engine.start(2, None)
    view = engine.until(lambda view: view["epoch"] == 3 and view["ranks"]["serving"] == 3)
    try:
        client.ack(3, 0)
    except Refused as refusal:
        found["refusal"] = [refusal.status, refusal.code]
    try:
        EpochClient("http://127.0.0.1:9", group, timeout=0.2).view()
    except EpochError as error:
        found["unreachable"] = type(error).__name__
    engine.ended.set()
    engine.thread.join()
    found["digest"] = view["digest"]
    found["slots"] = [host.slots for host in engine.hosts]
    found["mixed"] = [step for step in engine.served if len(step) > 1]
    found["wrong"] = [one for step in engine.served for one in step if {one[1]} != set(one[2:])]
    found["epochs"] = sorted({one[0] for step in engine.served for one in step})
    json.dump(found, sys.stdout)


if sys.argv[2] == "machine":
    replay(sys.argv[3])
else:
    ranks(sys.argv[3], sys.argv[4])
