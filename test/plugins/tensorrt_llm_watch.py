"""The watch for TensorRT-LLM beside planners of all kinds, and files that it reads.

    python3 tensorrt_llm_watch.py FOLDER SERVICE_URL

FOLDER has what the page's examples begin with. Prints one line of JSON: of each case what came of it.
"""

import json
import logging
import shutil
import sys
from pathlib import Path

import numpy as np

from eplb_engine.client import PlannerClient, digest_of
from eplb_engine.settings import Settings
from eplb_engine.tensorrt_llm import Watch, read_options
from eplb_engine.tensorrt_llm_files import (
    FileError,
    placement_text,
    read_placement,
    read_statistics,
    replace_file,
)
from fake_planner import FakePlanner

LAYERS = (3, 4)


class Case:
    """A folder of its own for each case."""

    def __init__(self, folder, url):
        self._folder, self._url = Path(folder), url
        self.found = {}

    def run(self, name, command=("true",), url=None, config="", change=None, slots="288", settles=False):
        """What one look came to, the file after it, and what the command saw."""
        own = self._folder / name.replace(" ", "-")
        own.mkdir()
        shutil.copytree(self._folder / "expert_statistic", own / "statistics")
        path = own / "placement.yaml"
        if config:
            path.write_text(config)
        if change is not None:
            change(own / "statistics")
        given = ["--statistics", str(own / "statistics"), "--config", str(path), "--ranks", "36"]
        if slots:
            given += ["--slots", slots]
        settings = Settings(url=url or self._url, group="test", timeout_ms=10_000 if url is None else 500)
        watch = Watch(settings, read_options([*given, "--", *command]))
        looks = [watch.look(waits_until_settled=settles) for _ in range(3)]
        text = path.read_text() if path.exists() else None
        left = sorted(one.name for one in own.iterdir() if one.name not in ("statistics", path.name))
        self.found[name] = {"looks": looks, "text": text, "left": left}
        return text


def refused(path, text):
    """The message with which a configuration is refused; None where it is taken."""
    path.write_text(text)
    try:
        read_placement(path)
        return None
    except FileError as error:
        return str(error).split(": ", 1)[1]


def is_live(url, path):
    """Whether the planner takes a file's placement for live, and how many steps it was told of."""
    table = read_placement(path).table
    view = PlannerClient(url, "test-2x256x288").view(10)
    return [view["digest"] == digest_of(table, 256).hex(), view["counters"]["numSteps"]]


def round_trips(path):
    """Random placements, written in the forms that YAML writers have, and read again."""
    rng = np.random.default_rng(3)
    for _ in range(100):
        layers = tuple(sorted(rng.choice(80, rng.integers(1, 5), replace=False).tolist()))
        table = rng.integers(0, 300, (len(layers), rng.integers(1, 30))).astype(np.int32)
        plain = placement_text(layers, table)
        rows = ", ".join(f"{layer}: {row}" for layer, row in zip(layers, table.tolist()))
        flow = f"initial_global_assignments: {{{rows}}}\nnum_slots: {table.shape[1]}\n"
        folded = plain.replace(", ", ",\n    ")
        for text in (plain, flow, folded, f"---\n# by hand\n{plain}"):
            path.write_text(text)
            found = read_placement(path)
            assert found.layers == layers and np.array_equal(found.table, table), text
    return 100


def damaged(folder, number):
    """Statistics that are cut off, or with other bytes: read as they are, or refused with FileError."""
    rng = np.random.default_rng(number)
    path = folder / "rank0.safetensors"
    whole = path.read_bytes()
    counted = {"read": 0, "refused": 0}
    for _ in range(150):
        content = bytearray(whole[: rng.integers(0, len(whole))] if rng.random() < 0.5 else whole)
        for _ in range(rng.integers(0, 4) if content else 0):
            content[rng.integers(0, min(len(content), 400))] = rng.integers(0, 256)
        path.write_bytes(content)
        try:
            found = read_statistics(folder)
            assert np.isfinite(found.loads).all() and found.loads.min() >= 0
            counted["read"] += 1
        except FileError:
            counted["refused"] += 1
    path.write_bytes(whole)
    return counted


def main(folder, url):
    logging.disable(logging.CRITICAL)
    case = Case(folder, url)
    first = case.run("first")
    case.run("again", config=first)
    case.run("settles", settles=True)
    case.run("command fails", command=("false",))
    other = placement_text(LAYERS, np.arange(2 * 288).reshape(2, 288) % 256)
    case.run("command fails and file was there", command=("false",), config=other)
    case.run("moves on", config=other)
    live = is_live(url, Path(folder, "moves-on", "placement.yaml"))
    case.run("no such command", command=("/nowhere/restart",), config=other)
    case.run("no planner", url="http://127.0.0.1:9", config=other)
    case.run("liar", url=FakePlanner(lambda _: b"\x00" * 400).url, config=other)
    case.run("online", config="layer_updates_per_iter: 2\nnum_slots: 288\n")
    case.run("unknown key", config="slots: 288\n")
    case.run("no slots", slots="")
    case.run("other slots", config=other, slots="290")
    case.run("other layers", config=placement_text((3, 5), np.arange(576).reshape(2, 288) % 256))
    case.run("lost expert", config=placement_text(LAYERS, np.zeros((2, 288), int)), slots="")
    case.run("no statistics", change=lambda statistics: (statistics / "meta_info.json").unlink())
    torn = b"\xff" * 20
    case.run("damaged", change=lambda statistics: (statistics / "rank1.safetensors").write_bytes(torn))

    path = Path(folder, "some.yaml")
    texts = {
        "text": "3: [1, 2]\n",
        "indented": " num_slots: 2\n",
        "no number": "num_slots: many\n",
        "no slots": "layer_updates_per_iter: 0\n",
        "twice": "num_slots: 2\ninitial_global_assignments:\n  3: [0, 1]\n  3: [1, 0]\n",
        "short": "num_slots: 3\ninitial_global_assignments:\n  3: [0, 1]\n",
        "words": "num_slots: 2\ninitial_global_assignments:\n  3: [a, b]\n",
    }
    messages = {name: refused(path, text) for name, text in texts.items()}
    replace_file(path, None)
    print(
        json.dumps(
            {
                "cases": case.found,
                "live": live,
                "refused": messages,
                "isRemoved": not path.exists(),
                "roundTrips": round_trips(path),
                "damaged": damaged(Path(folder, "expert_statistic"), 1),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
