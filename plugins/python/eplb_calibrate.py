#!/usr/bin/env python3
"""Measures what a rank's experts take on this machine's GPU, and its links when there are several.

    python3 eplb_calibrate.py --hidden 7168 --intermediate 2048 --slots 20 -o measured.json
    eplb calibrate measured.json -o cost.json

Needs PyTorch and nothing else, and about half a minute. A cell is a rank with so many tokens in each of its
slots. Most have loads that are drawn, as a balanced rank's or as a hot one's, on ranks of three sizes: a kernel
may choose its tiles by the mean of a rank's slots, so that what fits a rank is learnt from ranks. The device is warmed up first. Every time is the
median of many passes over all cells, each pass in a random order of its own, so that a device that slows down
does so for all cells; how far a cell's passes differ, and how far late ones differ from early ones, is written
too. Before each run a buffer larger than the caches is written, so that weights come from memory as they do in
a model of many layers, and so that the host is done with starting kernels when the device begins, as with a
recorded graph.
"""

import argparse
import datetime
import json
import math
import os
import random
import statistics
import sys
import time

FORMAT = "eplb-calibration"
VERSION = 1
PRECISIONS = ("bf16", "fp16", "fp8")
# Of all slots alike. None just above a whole tile: there all take a tile more, as drawn loads never do.
TOKENS = (1, 4, 16, 64, 96, 128, 160, 192, 224, 256, 320, 384, 512, 768, 1024, 2048)
FEW_TOKENS = (1, 4, 16)
# Loads that are drawn: how far the shares of the slots differ, and the most tokens of a slot in the mean.
SKEWS = (0.25, 0.6, 1.2)
MOST_MEAN_TOKENS = 1024
EXCHANGE_ROWS = (16, 64, 256, 1024, 2048, 4096, 8192, 16384)
EXPERTS_AT_ONCE = 4
FLUSH_BYTES = 512 * 2**20
WARM_UP_SECONDS = 2
LINK_TIMEOUT_SECONDS = 40


def whole_numbers(text):
    """Reads '1,2,3'."""
    values = [int(part) for part in text.split(",")]
    if not values or any(value < 0 for value in values):
        raise argparse.ArgumentTypeError("not a list of whole numbers >= 0: %r" % text)
    return values


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("not at least 1: %r" % text)
    return value


def parse_args(args):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--hidden", type=positive, required=True, help="width of what an expert reads and writes")
    add("--intermediate", type=positive, required=True, help="width inside an expert")
    add("--precision", choices=PRECISIONS, default="bf16")
    add("--slots", type=positive, default=20, help="experts on a rank")
    add("--tokens", type=whole_numbers, default=list(TOKENS), help="tokens of each slot, where all have as many")
    add("--passes", type=positive, default=15, help="times that every cell is measured")
    add("--seconds", type=float, default=30, help="no pass begins after so many seconds, but the first three")
    add("--seed", type=int, default=0)
    add("--no-links", action="store_true", help="leave the links out")
    add("-o", "--output", default="-", help="file to write; standard output when left out")
    return parser.parse_args(args)


def rank_sizes(slots):
    """All slots, half and a quarter of them: what a rank takes anyway shows beside what its slots take."""
    return sorted({max(1, slots // part) for part in (1, 2, 4)}, reverse=True)


def slot_cells(slots, tokens, seed):
    """Tokens of each slot, a list a cell; a shorter list is a rank of fewer slots."""
    sizes = rank_sizes(slots)
    cells = [[0] * slots]
    cells += [[each] * slots for each in tokens if each > 0]
    # As in decode, where not every expert gets a token.
    for active in sorted({1, 2} | {slots * part // 4 for part in (1, 2, 3)}):
        if 0 < active < slots:
            cells += [[each] * active + [0] * (slots - active) for each in FEW_TOKENS]
    draw = random.Random(seed)
    for size in sizes:
        for step in range(2 * int(math.log2(MOST_MEAN_TOKENS)) + 1):
            for skew in SKEWS:
                cells.append(drawn_cell(draw, size, 2 ** (step / 2), skew))
    return cells


def drawn_cell(draw, size, mean, skew):
    """Tokens that choose one of a rank's slots, some slots being chosen more often than others."""
    shares = [math.exp(draw.gauss(0, skew)) for _ in range(size)]
    cell = [0] * size
    for slot in draw.choices(range(size), shares, k=max(1, round(mean * size))):
        cell[slot] += 1
    return cell


def transfer_patterns(ranks):
    """Moves of weights: (name, rounds), a round being pairs (from, to) that go at once."""
    ring = [(rank, (rank + 1) % ranks) for rank in range(ranks)]
    rings = [[(rank, (rank + by) % ranks) for rank in range(ranks)] for by in range(1, ranks)]
    patterns = [
        ("pair", [[(0, 1)]]),
        ("pair, several at once", [[(0, 1)] * EXPERTS_AT_ONCE]),
        ("ring", [ring]),
        ("ring, several at once", [ring * EXPERTS_AT_ONCE]),
        ("ring, several rounds", [ring] * EXPERTS_AT_ONCE),
    ]
    if ranks > 2:
        patterns.append(("batch of all pairs", [[pair for one in rings for pair in one]]))
        patterns.append(("all pairs in rounds", rings))
        patterns.append(("one source", [[(0, rank) for rank in range(1, ranks)] * 2]))
        patterns.append(("one sink", [[(rank, 0) for rank in range(1, ranks)] * 2]))
    return patterns


def busiest(rounds, ranks):
    """The most transfers that one rank sends, or receives, added over the rounds."""
    total = 0
    for pairs in rounds:
        sent = [sum(1 for source, _ in pairs if source == rank) for rank in range(ranks)]
        received = [sum(1 for _, target in pairs if target == rank) for rank in range(ranks)]
        total += max(sent + received)
    return total


def document(options, facts, cells, times, links):
    """All that was measured. times: of each cell, a list of microseconds, one a pass."""
    return {
        "format": FORMAT,
        "version": VERSION,
        **facts,
        "hiddenSize": options.hidden,
        "expertSize": options.intermediate,
        "precision": options.precision,
        "numSlots": options.slots,
        "slots": [
            {
                "tokensPerSlot": cell,
                "seconds": statistics.median(own) * 1e-6,
                "fastestSeconds": min(own) * 1e-6,
                "slowestSeconds": max(own) * 1e-6,
                "passes": len(own),
            }
            for cell, own in zip(cells, times)
        ],
        "drift": drift(times),
        **links,
    }


def drift(times):
    """How much longer the later half of the passes took than the earlier half, as a share: median of cells."""
    shares = []
    for own in times:
        half = len(own) // 2
        if half > 0:
            shares.append(statistics.median(own[-half:]) / statistics.median(own[:half]) - 1)
    return statistics.median(shares) if shares else 0.0


# From here on it needs PyTorch, which is imported only where a device is used.


class Experts:
    """Gate, up and down of all slots of a rank: a grouped matrix product for the first two, and the last."""

    def __init__(self, torch, device, options):
        self.torch = torch
        self.device = device
        self.kind = torch.float16 if options.precision == "fp16" else torch.bfloat16
        slots, hidden, inner = options.slots, options.hidden, options.intermediate
        make = lambda *shape: torch.randn(*shape, device=device, dtype=self.kind) * 0.02
        self.first, self.second = make(slots, hidden, 2 * inner), make(slots, inner, hidden)
        self.first_scale = self.second_scale = None
        self.kernel = self.choose(options.precision)

    def choose(self, precision):
        torch = self.torch
        if precision == "fp8":
            self.first, self.first_scale = self.quantize(self.first)
            self.second, self.second_scale = self.quantize(self.second)
            return "torch._scaled_grouped_mm"
        for name, function in (
            ("torch.nn.functional.grouped_mm", getattr(torch.nn.functional, "grouped_mm", None)),
            ("torch._grouped_mm", getattr(torch, "_grouped_mm", None)),
        ):
            if function is None:
                continue
            try:
                probe = torch.zeros(16, self.first.shape[1], device=self.device, dtype=self.kind)
                ends = torch.full((self.first.shape[0],), 16, device=self.device, dtype=torch.int32)
                function(probe, self.first, offs=ends)
            except (RuntimeError, NotImplementedError, TypeError):
                continue
            self.grouped = function
            return name
        return "a matrix product for each slot"

    def quantize(self, weights):
        """Weights [slots, k, n] in fp8, column-major as the kernel wants them, with a scale for each column."""
        torch = self.torch
        scale = weights.abs().amax(dim=1, keepdim=True).float().clamp(min=1e-6) / 448
        quantized = (weights.float() / scale).to(torch.float8_e4m3fn)
        return quantized.transpose(1, 2).contiguous().transpose(1, 2), scale.squeeze(1).contiguous()

    def product(self, rows, weights, scale, ends, counts):
        torch = self.torch
        weights = weights[: len(counts)]
        if self.kernel == "torch._scaled_grouped_mm":
            row_scale = rows.abs().amax(dim=1).float().clamp(min=1e-6) / 448
            quantized = (rows.float() / row_scale[:, None]).to(torch.float8_e4m3fn)
            return torch._scaled_grouped_mm(
                quantized, weights, row_scale, scale[: len(counts)], offs=ends, out_dtype=torch.bfloat16
            )
        if self.kernel.startswith("torch"):
            return self.grouped(rows, weights, offs=ends)
        split = rows[: sum(counts)].split(counts)
        parts = [part @ weights[slot] for slot, part in enumerate(split) if part.shape[0] > 0]
        return torch.cat(parts) if parts else rows.new_zeros(rows.shape[0], weights.shape[2])

    def run(self, rows, ends, counts):
        torch = self.torch
        gate, up = self.product(rows, self.first, self.first_scale, ends, counts).chunk(2, -1)
        inner = torch.nn.functional.silu(gate) * up
        return self.product(inner, self.second, self.second_scale, ends, counts)


def measure_slots(torch, device, options, cells, say):
    """Microseconds of each cell, a list with one a pass; and the kernel that was used."""
    experts = Experts(torch, device, options)
    most = max(1, max(sum(cell) for cell in cells))
    pool = torch.randn(most, options.hidden, device=device, dtype=experts.kind)
    flush = torch.empty(FLUSH_BYTES, device=device, dtype=torch.int8)
    work = []
    for cell in cells:
        ends = torch.tensor(cell, device=device, dtype=torch.int32).cumsum(0, dtype=torch.int32)
        # A rank without tokens still starts its kernels: on one row that belongs to no slot.
        rows = pool[: max(1, sum(cell))]
        work.append((rows, ends, cell))
        experts.run(*work[-1])
    torch.cuda.synchronize()
    warm_up(torch, lambda: experts.run(*work[len(work) // 2]))
    times = [[] for _ in cells]
    order = list(range(len(cells)))
    shuffled = random.Random(options.seed)
    begun = time.monotonic()
    for turn in range(options.passes):
        if turn >= 3 and time.monotonic() - begun > options.seconds:
            break
        shuffled.shuffle(order)
        for index in order:
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            flush.zero_()
            begin.record()
            experts.run(*work[index])
            end.record()
            torch.cuda.synchronize()
            times[index].append(begin.elapsed_time(end) * 1e3)
        say("pass %d of %d, %.0f s" % (turn + 1, options.passes, time.monotonic() - begun))
    return times, experts.kernel


def warm_up(torch, run):
    """Keeps the device busy until its clock has settled."""
    begun = time.monotonic()
    while time.monotonic() - begun < WARM_UP_SECONDS:
        for _ in range(20):
            run()
        torch.cuda.synchronize()


def median_of(run, barrier, passes):
    run()
    times = []
    for _ in range(passes):
        barrier()
        begin = time.perf_counter()
        run()
        barrier()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def link_worker(rank, ranks, options, path):
    """One process a GPU: exchanges as of dispatch and combine, and moves of weights."""
    import torch
    import torch.distributed as dist

    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29517")
    torch.cuda.set_device(rank)
    device = torch.device("cuda", rank)
    limit = datetime.timedelta(seconds=LINK_TIMEOUT_SECONDS)
    dist.init_process_group("nccl", rank=rank, world_size=ranks, timeout=limit)

    def barrier():
        torch.cuda.synchronize()
        dist.barrier()
        torch.cuda.synchronize()

    # What holds up the device until the host has started all, then all ranks until the last has come.
    flush = torch.empty(FLUSH_BYTES, device=device, dtype=torch.int8)
    meeting = torch.zeros(1, device=device)
    exchanges = []
    for rows in EXCHANGE_ROWS:
        each = max(1, rows // ranks)
        sent = torch.randn(each * ranks, options.hidden, device=device, dtype=torch.bfloat16)
        received = torch.empty_like(sent)
        seconds = []
        for turn in range(options.passes + 2):
            barrier()
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            flush.zero_()
            dist.all_reduce(meeting)
            begin.record()
            dist.all_to_all_single(received, sent)
            end.record()
            torch.cuda.synchronize()
            if turn >= 2:
                seconds.append(begin.elapsed_time(end) * 1e-3)
        slowest = torch.tensor(statistics.median(seconds), device=device)
        dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
        bytes_received = each * (ranks - 1) * options.hidden * 2
        exchanges.append({"bytes": bytes_received, "seconds": float(slowest)})

    expert = torch.empty(3 * options.hidden * options.intermediate, device=device, dtype=torch.bfloat16)
    into = [torch.empty_like(expert) for _ in range(2 * max(ranks, EXPERTS_AT_ONCE))]
    transfers = []
    for name, rounds in transfer_patterns(ranks):

        def once():
            for pairs in rounds:
                operations = []
                for source, target in pairs:
                    if source == rank:
                        operations.append(dist.P2POp(dist.isend, expert, target))
                    if target == rank:
                        operations.append(dist.P2POp(dist.irecv, into[len(operations) % len(into)], source))
                for request in dist.batch_isend_irecv(operations) if operations else []:
                    request.wait()
            torch.cuda.synchronize()

        transfers.append(
            {
                "pattern": name,
                "rounds": len(rounds),
                "bytes": busiest(rounds, ranks) * expert.numel() * 2,
                "seconds": median_of(once, barrier, options.passes),
            }
        )
    if rank == 0:
        with open(path, "w") as file:
            json.dump({"numRanks": ranks, "exchanges": exchanges, "transfers": transfers}, file)
    dist.barrier()
    dist.destroy_process_group()


def measure_links(torch, options):
    import tempfile

    import torch.multiprocessing as processes

    ranks = torch.cuda.device_count()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "links.json")
        processes.spawn(link_worker, args=(ranks, options, path), nprocs=ranks)
        with open(path) as file:
            return json.load(file)


def main(args):
    options = parse_args(args)
    try:
        import torch
    except ImportError:
        sys.exit("eplb_calibrate: needs PyTorch: pip install torch")
    if not torch.cuda.is_available():
        sys.exit("eplb_calibrate: PyTorch sees no GPU")
    say = lambda text: print("eplb_calibrate: " + text, file=sys.stderr, flush=True)
    torch.manual_seed(options.seed)
    device = torch.device("cuda", 0)
    cells = slot_cells(options.slots, options.tokens, options.seed)
    say("%d cells on %s" % (len(cells), torch.cuda.get_device_name(0)))
    with torch.inference_mode():
        times, kernel = measure_slots(torch, device, options, cells, say)
    torch.cuda.empty_cache()
    facts = {
        "device": torch.cuda.get_device_name(0),
        "torch": torch.__version__,
        "runtime": str(torch.version.cuda or torch.version.hip),
        "kernel": kernel,
        "date": datetime.date.today().isoformat(),
    }
    has_links = torch.cuda.device_count() > 1 and not options.no_links
    # Written before the links are measured: a fault of theirs does not lose it.
    measured = document(options, facts, cells, times, {})
    if has_links and options.output != "-":
        write(options.output, measured)
    if has_links:
        say("links of %d devices" % torch.cuda.device_count())
        measured = document(options, facts, cells, times, measure_links(torch, options))
    if options.output == "-":
        print(json.dumps(measured))
    else:
        write(options.output, measured)


def write(path, measured):
    """Puts a whole file in the place of what was there."""
    with open(path + ".part", "w") as file:
        json.dump(measured, file)
        file.write("\n")
    os.replace(path + ".part", path)


if __name__ == "__main__":
    main(sys.argv[1:])
