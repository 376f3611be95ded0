"""A rank of an engine that takes part in the epochs of its group: heartbeats, listens, and does what it is told.

The engine asks at the boundary of each step what it may serve. Everything else is in threads of its own.
"""

import queue
import threading
import time
from typing import Callable, Optional, Protocol, Sequence

from .epochs import EpochClient, EpochError
from .log import say
from .rank_machine import RankMachine


class WeightHost(Protocol):
    """Who keeps a rank's weights. One of these runs at a time, in the order in which they were asked for."""

    def prepare(
        self, epoch: int, digest: str, layers: Sequence[int], done: Callable[[int], None],
        wanted: Callable[[], bool],
    ) -> None:
        """Fills buffers, and calls done(layer) for each; what is not named is done at the end.

        What it raises refuses the attempt. It may end early when wanted() is false.
        """

    def swap(self, epoch: int, digest: str, layers: Sequence[int]) -> None:
        """Brings the buffers into the slots, while no step runs. What it raises marks the layers as broken."""

    def drop(self) -> None:
        """Lets go of buffers. There may be none."""

    def restore(self, epoch: int, digest: str) -> None:
        """Loads the weights of an epoch into all slots. What it raises is tried again."""


class Rank:
    """Ties a rank's machine to the service, to the host of its weights and to the time.

    With stops_with_lease it answers 'fenced' once no heartbeat was answered for ttl_ms: so the others may go on
    without it. Without, it serves on while the service is away, and only who knows that it is gone may say so.
    """

    def __init__(
        self,
        make_client: Callable[[], EpochClient],
        rank: int,
        incarnation: int,
        holds: Optional[dict],
        host: WeightHost,
        *,
        lead_steps: int = 8,
        ttl_ms: int = 10_000,
        stops_with_lease: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._make_client = make_client
        self._rank = rank
        self._incarnation = incarnation
        self._host = host
        self._ttl_ms = ttl_ms
        self._stops = stops_with_lease
        self._clock = clock
        self._machine = RankMachine(incarnation, holds, lead_steps)
        self._lock = threading.Condition()
        self._lease_until = -1.0
        self._said: Optional[dict] = None
        self._due = threading.Event()
        self._ended = threading.Event()
        self._work: "queue.Queue" = queue.Queue()
        for work in (self._beat, self._listen, self._do_all):
            threading.Thread(target=work, name=f"eplb-rank-{rank}", daemon=True).start()

    def try_step(self, step: int) -> dict:
        """Whether a step may be served: {"status": "serve", "epoch", "digest"}, or 'wait' or 'fenced'."""
        with self._lock:
            if self._stops and self._clock() >= self._lease_until:
                return {"status": "fenced", "reason": "its lease has run out"}
            answer, output = self._machine.begin_step(step)
            self._take(output)
            return answer

    def begin_step(self, step: int, seconds: float) -> dict:
        """try_step, which waits up to so many seconds while a decision or a swap is under way."""
        end = self._clock() + seconds
        while True:
            answer = self.try_step(step)
            left = end - self._clock()
            if answer["status"] != "wait" or "fromStep" in answer or left <= 0:
                return answer
            with self._lock:
                self._lock.wait(min(left, 0.05))

    def close(self) -> None:
        """Takes part no more: its lease runs out."""
        self._ended.set()
        self._due.set()
        self._work.put(None)

    def _take(self, output) -> None:
        """With the lock: what is to be done, and whether there is anything new to say."""
        messages, actions = output
        for action in actions:
            self._work.put(action)
        if messages and messages[-1] != self._said:
            self._due.set()
        self._lock.notify_all()

    def _beat(self) -> None:
        client = self._make_client()
        while not self._ended.is_set():
            with self._lock:
                (messages, actions) = self._machine.tick()
                self._said = messages[-1]
                self._due.clear()
            sent = self._clock()
            try:
                answer = client.heartbeat(
                    self._rank, self._incarnation, self._said, self._ttl_ms, self._stops
                )
                self._hear(answer.get("messages", ()))
                if answer.get("lease") == "alive":
                    with self._lock:
                        self._lease_until = sent + self._ttl_ms / 1000
            except EpochError as error:
                say("heartbeat failed", f"the planner was not told that rank {self._rank} lives: {error}")
                self._ended.wait(min(1.0, self._ttl_ms / 4000))
            # As long as a lease lasts three are sent; what is new is said at once.
            self._due.wait(self._ttl_ms / 3000)
        client.close()

    def _hear(self, messages) -> None:
        with self._lock:
            for message in messages:
                self._take(self._machine.receive(message))

    def _listen(self) -> None:
        client = self._make_client()
        last = None
        while not self._ended.is_set():
            try:
                for event in client.events(self._rank, last, quiet=45.0):
                    last = event.id
                    if event.type == "message":
                        self._hear([event.data])
                    elif event.type == "state":
                        self._hear(event.data.get("messages", ()))
                    if self._ended.is_set():
                        return
            except EpochError as error:
                say("stream ended", f"rank {self._rank} listens again: {error}")
            self._ended.wait(0.2)

    def _do_all(self) -> None:
        while True:
            action = self._work.get()
            if action is None or self._ended.is_set():
                return
            try:
                self._do(action)
            except Exception as error:  # Nothing of this may end the thread.
                say("action failed", f"rank {self._rank}: {action['type']}: {error!r}")

    def _do(self, action: dict) -> None:
        kind = action["type"]
        if kind == "drop":
            self._host.drop()
        elif kind == "prepare":
            self._prepare(action)
        elif kind == "swap":
            self._swap(action)
        else:
            try:
                self._host.restore(action["epoch"], action["digest"])
                self._tell(lambda: self._machine.restored(action))
            except Exception as error:
                text = repr(error)
                self._tell(lambda: self._machine.not_restored(text))

    def _prepare(self, action: dict) -> None:
        token, layers = action["token"], action["layers"]
        left = set(layers)

        def done(layer: int) -> None:
            if layer in left:
                left.discard(layer)
                self._tell(lambda: self._machine.prepared(token, [layer]))

        def wanted() -> bool:
            with self._lock:
                state = self._machine.open_state
            return state is not None and state[0] == token

        if not wanted():
            return
        try:
            self._host.prepare(action["epoch"], action["digest"], layers, done, wanted)
            if left and wanted():
                self._tell(lambda: self._machine.prepared(token, sorted(left)))
        except Exception as error:
            text = repr(error)
            self._tell(lambda: self._machine.refused(token, sorted(left) or layers, text))

    def _swap(self, action: dict) -> None:
        token = action["token"]
        with self._lock:
            # It may have been fenced since: then nothing is touched.
            if self._machine.open_state != (token, "swapping"):
                return
        try:
            self._host.swap(action["epoch"], action["digest"], action["layers"])
            self._tell(lambda: self._machine.swapped(token))
        except Exception as error:
            text = repr(error)
            self._tell(lambda: self._machine.failed(token, action["layers"], text))

    def _tell(self, work) -> None:
        with self._lock:
            self._take(work())
