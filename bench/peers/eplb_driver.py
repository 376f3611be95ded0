"""Times rebalance_experts of a given file, for bench/peers.ts.

The file's path is the argument. Every line on standard input is a job as JSON: a file of float32 loads
[layers x experts], the sizes, and how often to plan. Every line on standard output answers one: the
milliseconds of each run and, as a file of int32, the last placement [layers x slots]. The first line says
what runs here.
"""

import importlib.util
import json
import sys
import time

import numpy
import torch


def load_module(path):
    spec = importlib.util.spec_from_file_location("published_eplb", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plan(module, job):
    shape = (job["numLayers"], job["numExperts"])
    weight = torch.from_numpy(numpy.fromfile(job["loads"], dtype=numpy.float32).reshape(shape))
    sizes = (job["numPhysicalExperts"], job["numGroups"], job["numNodes"], job["numRanks"])
    times = []
    for _ in range(job["runs"]):
        start = time.perf_counter()
        phy_to_log, _, count = module.rebalance_experts(weight, *sizes)
        times.append((time.perf_counter() - start) * 1000)
    phy_to_log.numpy().astype(numpy.int32).tofile(job["placement"])
    return {"times": times, "replicas": int(count.sum())}


def main():
    module = load_module(sys.argv[1])
    python = sys.version.split()[0]
    answer({"python": python, "torch": torch.__version__, "threads": torch.get_num_threads()})
    for line in sys.stdin:
        answer(plan(module, json.loads(line)))


def answer(message):
    print(json.dumps(message), flush=True)


main()
