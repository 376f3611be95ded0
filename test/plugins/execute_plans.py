"""Executes transfer plans in four processes over gloo, and compares every tensor.

    python3 execute_plans.py PLUGIN_FOLDER PROBLEMS.json

Each problem has a plan, and the experts of all slots before and after. Prints one line of JSON.
"""

import json
import os
import sys
import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

SHAPES = ((3,), (2, 4), ())
TYPES = (torch.float32, torch.int8, torch.int64)


def weights(layer, expert):
    """The tensors of an expert: unlike those of any other."""
    made = []
    for index, (shape, dtype) in enumerate(zip(SHAPES, TYPES)):
        base = (layer * 31 + expert * 7 + index * 3) % 100
        count = 1
        for size in shape:
            count *= size
        made.append((torch.arange(count, dtype=torch.int64) + base).reshape(shape).to(dtype))
    return made


def held(rows, rank, slots):
    """A rank's tensors by a table [layers][slots of all ranks]; slots that hold nothing have -1."""
    layers = []
    for layer, row in enumerate(rows):
        own = [torch.full((slots,) + shape, -1).to(dtype) for shape, dtype in zip(SHAPES, TYPES)]
        for slot in range(slots):
            expert = row[rank * slots + slot]
            if expert >= 0:
                for tensor, weight in zip(own, weights(layer, expert)):
                    tensor[slot] = weight
        layers.append(own)
    return layers


def compare(problem, tensors, rank, slots):
    wrong = []
    for moved in problem["plan"]["layers"]:
        layer = moved["layer"]
        undone = {(one["targetRank"], one["targetSlot"]) for one in moved["undone"]}
        wanted = held(problem["to"], rank, slots)[layer]
        for slot in range(slots):
            if problem["to"][layer][rank * slots + slot] < 0 or (rank, slot) in undone:
                continue
            if not all(torch.equal(own[slot], want[slot]) for own, want in zip(tensors[layer], wanted)):
                wrong.append([layer, rank, slot])
    return wrong


def run(process, size, folder, problems, plugin):
    sys.path.insert(0, plugin)
    import eplb_torch

    dist.init_process_group("gloo", init_method="file://%s/meet" % folder, rank=process, world_size=size)
    wrong = []
    refused = []
    for index, problem in enumerate(problems):
        plan = problem["plan"]
        live = [rank for rank in range(plan["numRanks"]) if rank not in plan["deadRanks"]]
        group = dist.new_group(list(range(len(live))))
        if process >= len(live):
            continue
        rank = live[process]
        slots = plan["numPhysicalExperts"] // plan["numRanks"]
        tensors = held(problem["from"], rank, slots)
        eplb_torch.execute(plan, tensors, group, load_expert=weights)
        wrong += [[index] + where for where in compare(problem, tensors, rank, slots)]
    # A plan that one rank has another of is refused by all, and nothing moves.
    problem = problems[0]
    plan = dict(problem["plan"])
    if process == 1:
        plan["cost"] = "another"
    slots = plan["numPhysicalExperts"] // plan["numRanks"]
    tensors = held(problem["from"], process, slots)
    try:
        eplb_torch.execute(plan, tensors)
    except ValueError as error:
        refused.append(str(error))
    before = held(problem["from"], process, slots)
    same = all(torch.equal(a, b) for own, want in zip(tensors, before) for a, b in zip(own, want))
    with open(os.path.join(folder, "%d.json" % process), "w") as file:
        json.dump({"wrong": wrong, "refused": refused, "same": same}, file)
    dist.destroy_process_group()


def main(plugin, path):
    with open(path) as file:
        problems = json.load(file)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.start_processes(
            run, args=(4, folder, problems, plugin), nprocs=4, start_method="fork"
        )
        answers = []
        for process in range(4):
            with open(os.path.join(folder, "%d.json" % process)) as file:
                answers.append(json.load(file))
    print(json.dumps({"torch": torch.__version__, "answers": answers}))


if __name__ == "__main__":
    main(*sys.argv[1:])
