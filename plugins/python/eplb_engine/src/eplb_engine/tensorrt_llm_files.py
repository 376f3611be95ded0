"""Files of TensorRT-LLM: the counts of experts that it dumps, and the placement that it starts with.

What they hold is recorded in contracts/tensorrt_llm.json.
"""

import json
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Optional, Tuple

import numpy as np

from .contract import read_contract

CONTRACT = read_contract("tensorrt_llm")
STATISTICS = CONTRACT["statistics"]
RANK_FILE = re.compile(r"rank(\d+)\.safetensors")
TENSOR = re.compile(r"(\d+)_(\d+)")
NUMBER_LISTS = re.compile(r"\s*(\d+)\s*:\s*\[([\d\s,]*)\]\s*\Z")
MOST_HEADER_BYTES = 64 << 20


class FileError(ValueError):
    """A file is not as TensorRT-LLM writes it."""


@dataclass(frozen=True)
class Statistics:
    """What the ranks counted."""

    layers: Tuple[int, ...]
    """numbers of the model's layers"""
    loads: np.ndarray
    """float32 [layers, experts], tokens of an iteration"""


@dataclass(frozen=True)
class Placement:
    """What a configuration says."""

    num_slots: int
    layers: Tuple[int, ...]
    table: Optional[np.ndarray]
    """int32 [layers, slots]; None where the file has no assignments"""


def fingerprint(folder: Path) -> Tuple:
    """What changes when statistics are written again; empty where there are none."""
    names = sorted(one for one in os.listdir(folder) if RANK_FILE.fullmatch(one))
    if not names or not (folder / STATISTICS["meta"]).is_file():
        return ()
    found = [(name, os.stat(folder / name)) for name in [*names, STATISTICS["meta"]]]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in found)


def read_statistics(folder: Path) -> Statistics:
    """Counts of all ranks, added up and divided by the iterations. Raises FileError."""
    experts = _read_meta(folder / STATISTICS["meta"])
    counts: Dict[int, np.ndarray] = {}
    iterations = set()
    for name in sorted(one for one in os.listdir(folder) if RANK_FILE.fullmatch(one)):
        for (iteration, layer), values in _read_tensors(folder / name, experts):
            iterations.add(iteration)
            counts[layer] = counts.get(layer, 0) + values.astype(np.float64)
    if not counts:
        raise FileError(f"{folder}: no rank has counted anything")
    layers = tuple(sorted(counts))
    loads = np.stack([counts[layer] for layer in layers]) / len(iterations)
    return Statistics(layers, loads.astype(np.float32))


def _read_meta(path: Path) -> int:
    try:
        experts = json.loads(path.read_text())["num_experts"]
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(f"{path}: there is no num_experts") from error
    if not isinstance(experts, int) or not 0 < experts < 1 << 20:
        raise FileError(f"{path}: num_experts is {experts!r}")
    return experts


def _read_tensors(path: Path, experts: int):
    """Yields ((iteration, layer), int64 [experts]) of a file in the format safetensors."""
    content = path.read_bytes()
    length = struct.unpack_from("<Q", content)[0] if len(content) >= 8 else -1
    if not 0 <= length <= min(len(content) - 8, MOST_HEADER_BYTES):
        raise FileError(f"{path}: the header does not fit")
    try:
        header = json.loads(content[8 : 8 + length])
        entries = [(name, one) for name, one in header.items() if name != "__metadata__"]
        fields = [(name, one["dtype"], one["shape"], one["data_offsets"]) for name, one in entries]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(f"{path}: the header is none of safetensors") from error
    data = memoryview(content)[8 + length :]
    for name, kind, shape, offsets in fields:
        matched = TENSOR.fullmatch(name)
        size = 8 * experts
        if matched is None or kind != "I64" or shape != [experts]:
            raise FileError(f"{path}: {name!r} is not a count of {experts} experts")
        start, end = offsets
        if end - start != size or start < 0 or end > len(data):
            raise FileError(f"{path}: {name!r} is outside of the file")
        values = np.frombuffer(data[start:end], "<i8")
        if values.min() < 0:
            raise FileError(f"{path}: {name!r} has a count below 0")
        yield (int(matched[1]), int(matched[2])), values


def read_placement(path: Path) -> Placement:
    """Reads the configuration. Raises FileError for what TensorRT-LLM itself does not write.

    Not all of YAML is known here: a key a line, and layers with their experts in brackets.
    """
    found: Dict[str, str] = {}
    key = None
    for line in path.read_text().splitlines():
        text = line.split("#", 1)[0].rstrip()
        if not text or text == "---":
            continue
        if not line[0].isspace():
            key, colon, value = text.partition(":")
            if not colon or key not in CONTRACT["config"]["keys"] or key in found:
                raise FileError(f"{path}: {text[:40]!r} is not a setting of TensorRT-LLM's load balancer")
            found[key] = value.strip()
        elif key is None:
            raise FileError(f"{path}: {text[:40]!r} belongs to nothing")
        else:
            found[key] += "\n" + text
    updates = _whole(path, "layer_updates_per_iter", found.get("layer_updates_per_iter", "0"))
    if updates != 0:
        raise FileError(f"{path}: with layer_updates_per_iter {updates} TensorRT-LLM balances by itself")
    if "num_slots" not in found:
        raise FileError(f"{path}: there is no num_slots")
    slots = _whole(path, "num_slots", found["num_slots"])
    assignments = found.get("initial_global_assignments", "")
    if assignments.strip() in ("", "null", "~"):
        return Placement(slots, (), None)
    rows = _read_assignments(path, assignments, slots)
    layers = tuple(sorted(rows))
    return Placement(slots, layers, np.array([rows[layer] for layer in layers], dtype=np.int32))


def _read_assignments(path: Path, text: str, slots: int) -> Dict[int, list]:
    rows: Dict[int, list] = {}
    entries = text.strip()
    if entries.startswith("{") and entries.endswith("}"):
        entries = entries[1:-1].strip().removesuffix(",")
        pieces = re.split(r"(?<=\])\s*,", entries)
    else:
        pieces = [one for one in re.split(r"(?<=\])\s*\n", entries) if one.strip()]
    for piece in pieces:
        matched = NUMBER_LISTS.match(piece)
        if matched is None:
            raise FileError(f"{path}: {piece.strip()[:40]!r} is not a layer with its experts")
        layer = int(matched[1])
        row = [int(one) for one in matched[2].replace(",", " ").split()]
        if len(row) != slots or layer in rows:
            message = f"layer {layer} has {len(row)} experts in {slots} slots, or is there twice"
            raise FileError(f"{path}: {message}")
        rows[layer] = row
    return rows


def _whole(path: Path, name: str, text: str) -> int:
    if not text.strip().isdigit():
        raise FileError(f"{path}: {name} is {text.strip()[:40]!r}")
    return int(text)


def placement_text(layers, table: np.ndarray) -> str:
    """The configuration of a table [layers, slots]."""
    rows = [f"  {layer}: [{', '.join(map(str, row))}]" for layer, row in zip(layers, table.tolist())]
    head = ["initial_global_assignments:", *rows, "layer_updates_per_iter: 0", f"num_slots: {table.shape[1]}"]
    return "\n".join(head) + "\n"


def replace_file(path: Path, text: Optional[str]) -> None:
    """Writes a file whole or not at all; None removes it."""
    if text is None:
        path.unlink(missing_ok=True)
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(beside, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.chmod(beside, path.stat().st_mode & 0o777)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
