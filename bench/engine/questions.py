"""Asks a planner as an engine's plug-in does, and prints what that took: one line of JSON.

    python3 questions.py PACKAGE_FOLDER URL times N CONTROL_URL   round trips: new loads, the same again, and
                                                                  the same to a server that plans nothing
    python3 questions.py PACKAGE_FOLDER URL steps N MS STEP_MS   N questions within MS each, STEP_MS apart
"""

import json
import sys
import time

import numpy as np

LAYERS, EXPERTS, SLOTS, RANKS = 58, 256, 288, 32


def main(package, url, what, count, *more):
    sys.path.insert(0, package)
    from eplb_engine.client import NoGroup, PlannerClient, PlannerError

    client = PlannerClient(url, "bench")
    rng = np.random.default_rng(1)
    old = np.array([[slot % EXPERTS for slot in range(SLOTS)]] * LAYERS, dtype=np.int32)
    declaration = {
        "numLayers": LAYERS,
        "numLogicalExperts": EXPERTS,
        "numPhysicalExperts": SLOTS,
        "numRanks": RANKS,
        "numNodes": 4,
        "numGroups": 8,
    }
    def loads():
        return rng.gamma(0.8, 100, (LAYERS, EXPERTS)).astype(np.float32)

    if what == "times":
        try:
            client.view(10)
        except NoGroup:
            client.declare(declaration, 10)
        control = PlannerClient(more[0], "bench")
        for _ in range(50):
            for one in (client, control):
                one.plan(loads(), old, SLOTS, 10)
        clients = {"new": client, "repeated": client, "control": control}
        times = {kind: [] for kind in clients}
        for _ in range(int(count)):
            asked = loads()
            for kind, one in clients.items():
                begun = time.perf_counter()
                one.plan(asked, old, SLOTS, 10)
                times[kind].append((time.perf_counter() - begun) * 1000)
        print(json.dumps(times))
        return
    timeout_ms, step_ms = more
    seconds = float(timeout_ms) / 1000
    longest, late, plans, refused = 0.0, 0, 0, {}
    for _ in range(int(count)):
        asked = loads()
        begun = time.perf_counter()
        try:
            table = client.plan(asked, old, SLOTS, seconds).table
            plans += 1
            assert table.shape == old.shape
        except PlannerError as error:
            reason = str(error).split(":")[0][:60]
            refused[reason] = refused.get(reason, 0) + 1
        took = time.perf_counter() - begun
        longest = max(longest, took)
        # A wait ends when the system runs this process again: what is beyond that is a fault.
        late += took > seconds * 1.5
        # As an engine that goes through steps between two plans.
        time.sleep(float(step_ms) / 1000)
    figures = {"plans": plans, "refused": refused, "late": late, "longestMs": longest * 1000}
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
