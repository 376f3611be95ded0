#!/usr/bin/env python3
"""Executes transfer plans on this machine's GPUs, over NCCL, and compares times with the plans' forecasts.

    python3 bench/gpu/transfer_test.py build/gpu/transfers.json -o transfers.json

The plans come from bench/gpu/transfers.mjs, for as many ranks as there are GPUs to be used. Every slot's weights
are compared after the first pass. Needs PyTorch; without enough GPUs it says that it was skipped, and ends with
0. With --dry-run it moves small experts on the CPU over gloo: its times say nothing.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "plugins", "python"))


def parse_args(args):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("transfers", help="file of bench/gpu/transfers.mjs")
    add("--passes", type=int, default=7)
    add("--dry-run", action="store_true", help="small experts, on the CPU")
    add("-o", "--output", required=True)
    return parser.parse_args(args)


def worker(rank, ranks, transfers, folder, options):
    import torch
    import torch.distributed as dist

    import eplb_torch

    device = torch.device("cpu")
    if not options.dry_run:
        torch.cuda.set_device(rank)
        device = torch.device("cuda", rank)
    os.environ.setdefault("NCCL_NVLS_ENABLE", "0")
    dist.init_process_group(
        "gloo" if options.dry_run else "nccl", init_method="file://%s/meet" % folder, rank=rank, world_size=ranks
    )

    def settled():
        if not options.dry_run:
            torch.cuda.synchronize()
        dist.barrier()
        return time.perf_counter()

    def marked():
        if options.dry_run:
            return time.perf_counter()
        mark = torch.cuda.Event(enable_timing=True)
        mark.record()
        return mark

    class Timed(eplb_torch._Mover):
        """Marks what the links take, apart from copies within the rank, without waiting for them."""

        def __init__(self, *parts):
            super().__init__(*parts)
            self.marks = []

        def _exchange(self, rounds, own, spare):
            begin = marked()
            super()._exchange(rounds, own, spare)
            self.marks.append((begin, marked()))

        def on_links(self):
            if options.dry_run:
                return sum(end - begin for begin, end in self.marks)
            return sum(begin.elapsed_time(end) for begin, end in self.marks) / 1e3

    results = []
    for transfer in transfers:
        plan = transfer["plan"]
        slots = plan["numPhysicalExperts"] // plan["numRanks"]
        numbers = plan["bytesPerExpert"] // 2 if not options.dry_run else 64
        if options.dry_run:
            plan = dict(plan, bytesPerExpert=0)

        def held(rows):
            made = []
            for row in rows:
                own = torch.empty((slots, numbers), dtype=torch.bfloat16, device=device)
                for slot in range(slots):
                    own[slot] = row[rank * slots + slot]
                made.append(own)
            return made

        tensors = held(transfer["from"])
        times, links, wrong = [], [], 0
        for index in range(options.passes + 1):
            mover = Timed(plan, tensors, None, None, None)
            if index == 0:
                mover.agree()
            begin = settled()
            for layer in plan["layers"]:
                mover.move(layer)
            took = settled() - begin
            if index > 0:
                times.append(took)
                links.append(mover.on_links())
                continue
            for layer, row in enumerate(transfer["to"]):
                for slot in range(slots):
                    expert = row[rank * slots + slot]
                    wrong += int(expert >= 0 and bool((tensors[layer][slot] != expert).any()))
        results.append(
            {"seconds": statistics.median(times), "linkSeconds": statistics.median(links), "wrongSlots": wrong}
        )
        del tensors
    with open(os.path.join(folder, "%d.json" % rank), "w") as file:
        json.dump(results, file)
    dist.destroy_process_group()


def main(args):
    options = parse_args(args)
    with open(options.transfers) as file:
        document = json.load(file)
    transfers = document["transfers"]
    ranks = transfers[0]["plan"]["numRanks"]
    try:
        import torch
    except ImportError:
        print("transfer_test: skipped: no PyTorch")
        return 0
    if not options.dry_run and torch.cuda.device_count() < ranks:
        print("transfer_test: skipped: %d GPUs for %d ranks" % (torch.cuda.device_count(), ranks))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(worker, args=(ranks, transfers, folder, options), nprocs=ranks)
        by_rank = []
        for rank in range(ranks):
            with open(os.path.join(folder, "%d.json" % rank)) as file:
                by_rank.append(json.load(file))
    rows = []
    for index, transfer in enumerate(transfers):
        plan = transfer["plan"]
        own = [results[index] for results in by_rank]
        rows.append(
            {
                "name": transfer["name"],
                "numRounds": plan["numRounds"],
                "numTransfers": plan["numTransfers"],
                "bytes": plan["bytes"],
                "forecast": plan["seconds"],
                "seconds": max(one["seconds"] for one in own),
                "linkSeconds": max(one["linkSeconds"] for one in own),
                "wrongSlots": sum(one["wrongSlots"] for one in own),
            }
        )
    device = "CPU" if options.dry_run else torch.cuda.get_device_name(0)
    with open(options.output, "w") as file:
        json.dump({"device": device, "torch": torch.__version__, "cost": document["cost"], "rows": rows}, file)
    print("| plan | transfers | rounds | links, ms | forecast, ms | off | with copies, ms | wrong slots |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        links, forecast = 1e3 * row["linkSeconds"], 1e3 * row["forecast"]
        off = 0 if links == 0 else 100 * (forecast / links - 1)
        print(
            "| %s | %d | %d | %.2f | %.2f | %+.0f %% | %.2f | %d |"
            % (
                *(row["name"], row["numTransfers"], row["numRounds"], links, forecast, off),
                *(1e3 * row["seconds"], row["wrongSlots"]),
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
