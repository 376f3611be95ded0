#!/usr/bin/env python3
"""Measures MoE layers on this machine's GPUs: what the slowest rank takes for its experts, and a whole layer.

    python3 bench/gpu/layer_test.py build/gpu/cases.json -o layers.json

Cases come from bench/gpu/cases.mjs: tokens of each slot of each rank, of recorded routes under planned
placements. On each GPU, ranks are emulated one after the other, and the slowest counts. Cases with as many
ranks as there are GPUs also run whole: dispatch, experts and combine, over NCCL. Needs PyTorch. Without a GPU
it says that it was skipped, and ends with 0; with --dry-run it runs small experts on the CPU, to see that the
script works: its times say nothing.
"""

import argparse
import datetime
import json
import os
import random
import statistics
import subprocess
import sys

FORMAT = "eplb-layer-times"
FLUSH_BYTES = 512 * 2**20


def say(text):
    print("layer_test: " + text, file=sys.stderr, flush=True)


def parse_args(args):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("cases", help="file of bench/gpu/cases.mjs")
    add("--hidden", type=int, default=7168)
    add("--intermediate", type=int, default=2048)
    add("--passes", type=int, default=5, help="times that every case is measured")
    add("--ranks", help="only cases of these numbers of ranks, as 4,16")
    add("--seconds", type=float, default=120, help="no pass begins after so many seconds, but the first")
    add("--seed", type=int, default=0)
    add("--dry-run", action="store_true", help="small experts, on the CPU")
    add("-o", "--output", required=True)
    return parser.parse_args(args)


def slots_of(case, rank, counts):
    """Tokens of each slot of a rank, from all ranks together."""
    width = case["slotsPerRank"]
    return [sum(row[slot] for row in counts) for slot in range(rank * width, (rank + 1) * width)]


class Clock:
    """Microseconds of what runs between two marks."""

    def __init__(self, torch, device):
        self.torch, self.on_gpu = torch, device.type == "cuda"

    def mark(self):
        if not self.on_gpu:
            import time

            return time.perf_counter()
        event = self.torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, begin, end):
        return begin.elapsed_time(end) * 1e3 if self.on_gpu else (end - begin) * 1e6

    def wait(self):
        if self.on_gpu:
            self.torch.cuda.synchronize()


class Experts:
    """Weights of many slots, of which each rank uses its own."""

    def __init__(self, torch, device, slots, hidden, inner):
        self.torch = torch
        make = lambda *shape: torch.empty(*shape, device=device, dtype=torch.bfloat16).normal_(0, 0.02)
        self.first, self.second = make(slots, hidden, 2 * inner), make(slots, inner, hidden)
        self.grouped = self.kernel(torch, device)
        self.name = "torch grouped_mm" if self.grouped else "a matrix product for each slot"

    def kernel(self, torch, device):
        for function in (
            getattr(torch.nn.functional, "grouped_mm", None),
            getattr(torch, "_grouped_mm", None),
        ):
            if function is None or device.type != "cuda":
                continue
            try:
                probe = torch.zeros(16, self.first.shape[1], device=device, dtype=torch.bfloat16)
                ends = torch.full((self.first.shape[0],), 16, device=device, dtype=torch.int32)
                function(probe, self.first, offs=ends)
                return function
            except (RuntimeError, NotImplementedError, TypeError):
                continue
        return None

    def product(self, rows, weights, ends, counts):
        if self.grouped:
            return self.grouped(rows, weights, offs=ends)
        parts = [part @ weights[i] for i, part in enumerate(rows[: sum(counts)].split(counts)) if len(part)]
        return self.torch.cat(parts) if parts else rows.new_zeros(len(rows), weights.shape[2])

    def run(self, rows, first_slot, ends, counts):
        own = slice(first_slot, first_slot + len(counts))
        gate, up = self.product(rows, self.first[own], ends, counts).chunk(2, -1)
        inner = self.torch.nn.functional.silu(gate) * up
        return self.product(inner, self.second[own], ends, counts)


def passes_of(work, options, run, quiet=False):
    """Runs all of the work in a random order, pass by pass, while there is time."""
    import time

    begun = time.monotonic()
    shuffled = random.Random(options.seed)
    order = list(range(len(work)))
    done = 0
    while done < options.passes and (done == 0 or time.monotonic() - begun < options.seconds):
        shuffled.shuffle(order)
        for index in order:
            run(index)
        done += 1
        if not quiet:
            say("pass %d of %d, %.0f s" % (done, options.passes, time.monotonic() - begun))
    return done


def measure_ranks(torch, device, options, cases):
    """Microseconds of each rank, emulated one after the other: of a case [layers and steps][ranks]."""
    slots = max(case["numRanks"] * case["slotsPerRank"] for case in cases)
    experts = Experts(torch, device, slots, options.hidden, options.intermediate)
    clock = Clock(torch, device)
    work, most = [], 1
    for at, case in enumerate(cases):
        for layer, counts in enumerate(case["counts"]):
            for rank in range(case["numRanks"]):
                own = slots_of(case, rank, counts)
                most = max(most, sum(own))
                work.append((at, layer, rank, own))
    pool = torch.empty(most, options.hidden, device=device, dtype=torch.bfloat16).normal_()
    flush = torch.empty(FLUSH_BYTES if device.type == "cuda" else 1, device=device, dtype=torch.int8)
    times = [[] for _ in work]

    def run(index):
        at, _, rank, own = work[index]
        ends = torch.tensor(own, device=device, dtype=torch.int32).cumsum(0, dtype=torch.int32)
        rows = pool[: max(1, sum(own))]
        flush.zero_()
        begin = clock.mark()
        experts.run(rows, rank * cases[at]["slotsPerRank"], ends, own)
        end = clock.mark()
        clock.wait()
        times[index].append(clock.between(begin, end))

    for index in range(0, len(work), max(1, len(work) // 50)):
        run(index)
    for own in times:
        own.clear()
    passes = passes_of(work, options, run)
    results = [[[None] * case["numRanks"] for _ in case["counts"]] for case in cases]
    for (at, layer, rank, _), own in zip(work, times):
        results[at][layer][rank] = round(statistics.median(own), 2)
    return results, experts.name, passes


def layer_worker(rank, ranks, options, cases, path, dry):
    """One process a GPU: dispatch, experts and combine of each layer."""
    import torch
    import torch.distributed as dist

    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29519")
    device = torch.device("cpu") if dry else torch.device("cuda", rank)
    if not dry:
        torch.cuda.set_device(rank)
    limit = datetime.timedelta(seconds=60)
    dist.init_process_group("gloo" if dry else "nccl", rank=rank, world_size=ranks, timeout=limit)
    torch.manual_seed(rank)
    width = cases[0]["slotsPerRank"]
    experts = Experts(torch, device, width, options.hidden, options.intermediate)
    clock = Clock(torch, device)
    work = [(at, layer) for at, case in enumerate(cases) for layer in range(len(case["counts"]))]
    plans = []
    for at, layer in work:
        counts = cases[at]["counts"][layer]
        sizes = [[sum(row[to * width : (to + 1) * width]) for to in range(ranks)] for row in counts]
        plans.append((sizes[rank], [row[rank] for row in sizes], slots_of(cases[at], rank, counts)))
    most = max(max(sum(sent), sum(received)) for sent, received, _ in plans)
    pool = torch.empty(max(1, most), options.hidden, device=device, dtype=torch.bfloat16).normal_()
    arrived, back = torch.empty_like(pool), torch.empty_like(pool)
    flush = torch.empty(1 if dry else FLUSH_BYTES, device=device, dtype=torch.int8)
    meeting = torch.zeros(1, device=device)
    # Made before anything is timed: a copy from the host would make the device wait for it.
    ends_of = [
        torch.tensor(own, device=device, dtype=torch.int32).cumsum(0, dtype=torch.int32) for _, _, own in plans
    ]
    times = [[] for _ in work]

    def run(index):
        sent, received, own = plans[index]
        rows_in, rows_out = sum(received), sum(sent)
        dist.barrier()
        clock.wait()
        # The devices are held up until the host has started all, then until the last of them has come.
        for _ in range(2):
            flush.zero_()
        dist.all_reduce(meeting)
        marks = [clock.mark()]
        exchange(dist, arrived[:rows_in], pool[:rows_out], received, sent, dry)
        marks.append(clock.mark())
        result = experts.run(arrived[: max(1, rows_in)], 0, ends_of[index], own)
        marks.append(clock.mark())
        exchange(dist, back[:rows_out], result[:rows_in].contiguous(), sent, received, dry)
        marks.append(clock.mark())
        clock.wait()
        own_times = [clock.between(marks[1], marks[2]), clock.between(marks[0], marks[3])]
        slowest = torch.tensor(own_times, device=device)
        dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
        times[index].append(slowest.tolist())

    for index in range(len(work)):
        run(index)
    for own in times:
        own.clear()
    if rank == 0:
        say("%d layers on %d devices, warmed up" % (len(work), ranks))
    # Every process has to stop at the same pass: no clock ends it.
    options.seconds = float("inf")
    passes_of(work, options, run, quiet=rank > 0)
    if rank == 0:
        results = [[None] * len(case["counts"]) for case in cases]
        for (at, layer), own in zip(work, times):
            slowest = [round(statistics.median(part), 2) for part in zip(*own)]
            results[at][layer] = {"expertsMicroseconds": slowest[0], "layerMicroseconds": slowest[1]}
        with open(path, "w") as file:
            json.dump(results, file)
    dist.barrier()
    dist.destroy_process_group()


def exchange(dist, into, rows, received, sent, dry):
    if not dry:
        dist.all_to_all_single(into, rows, received, sent)
        return
    # Gloo has no all-to-all: pairs, one after the other.
    rank, ranks = dist.get_rank(), dist.get_world_size()
    parts, places = list(rows.split(sent)), list(into.split(received))
    places[rank].copy_(parts[rank])
    for source in range(ranks):
        for target in range(ranks):
            if source == target or (rank != source and rank != target):
                continue
            if rank == source and len(parts[target]):
                dist.send(parts[target].contiguous().float(), target)
            elif rank == target and len(places[source]):
                buffer = places[source].float()
                dist.recv(buffer, source)
                places[source].copy_(buffer)


def measure_layers(torch, options, cases, ranks):
    import tempfile

    import torch.multiprocessing as processes

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "layers.json")
        processes.spawn(layer_worker, args=(ranks, options, cases, path, options.dry_run), nprocs=ranks)
        with open(path) as file:
            return json.load(file)


def driver_version():
    try:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return None


def chosen_cases(document, options):
    cases = document["cases"]
    if options.ranks is not None:
        wanted = {int(part) for part in options.ranks.split(",")}
        cases = [case for case in cases if case["numRanks"] in wanted]
    if not cases:
        sys.exit("layer_test: no case of --ranks %s" % options.ranks)
    if not options.dry_run:
        return cases
    options.hidden, options.intermediate, options.passes = 32, 16, 1
    return [{**case, "counts": case["counts"][:1]} for case in cases if case["tokensPerRank"] <= 32]


def main(args):
    options = parse_args(args)
    with open(options.cases) as file:
        document = json.load(file)
    if document.get("format") != "eplb-layer-cases":
        sys.exit("layer_test: %s is no file of bench/gpu/cases.mjs" % options.cases)
    try:
        import torch
    except ImportError:
        say("skipped: there is no PyTorch")
        return
    if not torch.cuda.is_available() and not options.dry_run:
        say("skipped: PyTorch sees no GPU")
        return
    torch.manual_seed(options.seed)
    device = torch.device("cpu") if options.dry_run else torch.device("cuda", 0)
    gpus = 2 if options.dry_run else torch.cuda.device_count()
    cases = chosen_cases(document, options)
    with torch.inference_mode():
        times, kernel, passes = measure_ranks(torch, device, options, cases)
    if not options.dry_run:
        torch.cuda.empty_cache()
    keys = ("policy", "numRanks", "slotsPerRank", "tokensPerRank", "enlarged")
    results = [
        {**{key: case[key] for key in keys}, "counts": case["counts"], "rankMicroseconds": own}
        for case, own in zip(cases, times)
    ]
    answer = {
        "format": FORMAT,
        "version": 1,
        "device": "the CPU: a dry run" if options.dry_run else torch.cuda.get_device_name(0),
        "numGpus": 0 if options.dry_run else gpus,
        "driver": driver_version(),
        "torch": torch.__version__,
        "kernel": kernel,
        "date": datetime.date.today().isoformat(),
        "hiddenSize": options.hidden,
        "expertSize": options.intermediate,
        "passes": passes,
        "recordings": document["recordings"],
        "results": results,
    }
    write(options.output, answer)
    say("%s: ranks of %d cases on %s" % (options.output, len(results), answer["device"]))
    whole = [at for at, case in enumerate(cases) if case["numRanks"] == gpus]
    if gpus < 2 or not whole:
        return
    # What was measured of ranks is written: a fault of the links does not lose it.
    layers = measure_layers(torch, options, [cases[at] for at in whole], gpus)
    for at, own in zip(whole, layers):
        results[at]["layers"] = own
    write(options.output, answer)
    say("%s: whole layers of %d cases on %d devices" % (options.output, len(whole), gpus))


def write(path, answer):
    with open(path, "w") as file:
        json.dump(answer, file)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1:])
