"""TensorRT-LLM: a watch that writes the placement it starts with anew, and calls a command.

It has no place where a plan could be handed to it while it serves. So this watches the folder into which it
dumps what its ranks counted, asks the planner, writes the file, and calls what restarts the engine. There is
one file for all ranks, so they have nothing to agree on. Without a plan file and engine stay as they are.
"""

import argparse
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Optional

import numpy as np

from .client import NoGroup, PlannerClient, PlannerError, check_table, digest_of
from .log import LOGGER, say
from .question import declaration_of
from .settings import Settings, read_settings
from .tensorrt_llm_files import (
    FileError,
    Placement,
    fingerprint,
    placement_text,
    read_placement,
    read_statistics,
    replace_file,
)

SECONDS = 5.0
# What a look came to, and the exit code of a single one.
DONE, KEPT, NOTHING, FAILED = "placed", "kept", "nothing new", "failed"
EXIT_CODES = {DONE: 0, KEPT: 0, NOTHING: 0, FAILED: 1}


class Watch:
    """Looks at the statistics again and again."""

    def __init__(self, settings: Settings, options: argparse.Namespace):
        self._settings = settings
        self._options = options
        self._statistics = Path(options.statistics)
        self._config = Path(options.config)
        self._handled = ()
        self._seen = ()

    def look(self, waits_until_settled: bool) -> str:
        """One look: what came of it. Never raises.

        waits_until_settled: takes only files that were the same at the last look.
        """
        try:
            now = fingerprint(self._statistics)
            settled = now == self._seen or not waits_until_settled
            self._seen = now
            if not now or now == self._handled or not settled:
                return NOTHING
            done = self._place()
            # Without an answer the same statistics are asked with again.
            self._handled = now
            return done
        except PlannerError as error:
            say("no plan", f"the planner gave no plan, {self._config} stays as it is: {error}")
        except (FileError, OSError) as error:
            say("files", f"{self._config} stays as it is: {error}", logging.ERROR)
        except Exception as error:
            say("watch", f"{self._config} stays as it is: {error!r}", logging.ERROR)
        return FAILED

    def _place(self) -> str:
        found = read_statistics(self._statistics)
        placement = self._read_placement()
        if placement.layers and placement.layers != found.layers:
            raise FileError(f"{self._config} and {self._statistics} are of other layers")
        experts = found.loads.shape[1]
        old = placement.table
        if old is not None:
            check_table(old, experts)
        client = self._client(found.loads.shape, placement.num_slots)
        try:
            table = self._ask(client, found.loads, old, placement.num_slots)
            self._report(client, found.loads, old)
            if old is not None and np.array_equal(table, old):
                LOGGER.info("the placement stays as it is")
                return KEPT
            return self._write(client, found.layers, table)
        finally:
            client.close()

    def _read_placement(self) -> Placement:
        slots = self._options.slots
        if not self._config.exists():
            if slots is None:
                raise FileError(f"there is no {self._config} yet: give --slots")
            return Placement(slots, (), None)
        placement = read_placement(self._config)
        if slots is not None and slots != placement.num_slots:
            raise FileError(f"{self._config} has {placement.num_slots} slots, not {slots}")
        return placement

    def _client(self, shape, slots) -> PlannerClient:
        layers, experts = shape
        settings = self._settings
        name = f"{settings.group}-{layers}x{experts}x{slots}"
        return PlannerClient(settings.url, name, settings.token, settings.ca_file)

    def _ask(self, client, loads, old, slots) -> np.ndarray:
        seconds = self._settings.timeout_ms / 1000
        try:
            return client.plan(loads, old, slots, seconds).table
        except NoGroup:
            ranks, nodes, groups = self._options.ranks, self._options.nodes, self._options.groups
            declaration = declaration_of(loads.shape, slots, groups, nodes, ranks, self._settings.policy)
            client.declare(declaration, SECONDS)
            return client.plan(loads, old, slots, seconds).table

    def _report(self, client, loads, old) -> None:
        """Tells the planner what was measured, and under which placement. Plans are made without it too."""
        if not self._settings.reports or old is None:
            return
        try:
            view = client.view(SECONDS)
            is_live = view["digest"] == digest_of(old, loads.shape[1]).hex()
            step, epoch = next_step(view), int(view["epoch"])
            if is_live:
                client.report(step, epoch, loads, None, old.shape[1], SECONDS)
            else:
                client.report(step, epoch + 1, loads, old, old.shape[1], SECONDS)
        except (PlannerError, KeyError, TypeError, ValueError) as error:
            say("report failed", f"loads were not reported: {error}")

    def _write(self, client, layers, table) -> str:
        before = self._config.read_text() if self._config.exists() else None
        replace_file(self._config, placement_text(layers, table))
        code = self._call()
        if code != 0:
            replace_file(self._config, before)
            message = f"the command ended with {code}: {self._config} is as it was before"
            LOGGER.error(message)
            return FAILED
        LOGGER.info("%s has a new placement", self._config)
        try:
            if self._settings.reports:
                view = client.view(SECONDS)
                client.commit(next_step(view), int(view["epoch"]) + 1, table, SECONDS)
        except (PlannerError, KeyError, TypeError, ValueError) as error:
            say("report failed", f"what is live was not reported: {error}")
        return DONE

    def _call(self) -> int:
        command = self._options.command
        if not command:
            return 0
        environment = {**os.environ, "EPLB_ENGINE_CONFIG": str(self._config.resolve())}
        try:
            return subprocess.run(command, env=environment, check=False).returncode
        except OSError as error:
            LOGGER.error("%s cannot be called: %s", command[0], error)
            return 127


def next_step(view) -> int:
    """The step after the last one that the planner knows."""
    last = view["window"]["lastStep"]
    return 0 if last is None else int(last) + 1


def read_options(arguments) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="eplb-tensorrt-llm",
        description="Asks a running eplb serve for placements of TensorRT-LLM, and restarts it with them.",
    )
    parser.add_argument("--statistics", required=True, help="the folder EXPERT_STATISTIC_PATH")
    parser.add_argument("--config", required=True, help="the file that load_balancer names")
    parser.add_argument("--ranks", required=True, type=_at_least_one, help="of expert parallelism")
    parser.add_argument("--slots", type=_at_least_one, help="of a layer, when there is no file yet")
    parser.add_argument("--nodes", type=_at_least_one, default=1)
    parser.add_argument("--groups", type=_at_least_one, default=1)
    parser.add_argument("--interval-seconds", type=float, default=30.0, help="between two looks: 30")
    parser.add_argument("--once", action="store_true", help="looks once, and ends")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- COMMAND ...: restarts the engine")
    options = parser.parse_args(arguments)
    if options.command[:1] == ["--"]:
        options.command = options.command[1:]
    if options.interval_seconds <= 0:
        parser.error("--interval-seconds has to be above 0")
    return options


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def main(arguments: Optional[list] = None) -> int:
    """The command `eplb-tensorrt-llm`; its exit code."""
    options = read_options(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        settings = read_settings("tensorrt-llm")
    except ValueError as error:
        LOGGER.error("%s", error)
        return 2
    if settings is None:
        LOGGER.error("EPLB_ENGINE_URL is not set: it names the planner")
        return 2
    watch = Watch(settings, options)
    if options.once:
        return EXIT_CODES[watch.look(waits_until_settled=False)]
    while True:
        watch.look(waits_until_settled=True)
        time.sleep(options.interval_seconds)


if __name__ == "__main__":
    sys.exit(main())
