"""Tells the planner what was measured and what went live, in a thread beside the serving path."""

import queue
import threading

from .client import NoGroup, PlannerClient, PlannerError, digest_of
from .log import say

SECONDS = 5.0
MOST_WAITING = 4


class Reporter:
    """Sends reports one after the other. What does not fit is dropped: loads are told again soon."""

    def __init__(self, make_client, declaration):
        self._make_client = make_client
        self._declaration = declaration
        self._reports = queue.Queue(MOST_WAITING)
        self._thread = None
        self._step = 0

    def declare(self):
        """Declares the group, which the planner does not know."""
        self._put(None)

    def report(self, loads, live):
        """Reports loads [layers, experts], measured while `live` [layers, slots] was.

        loads: None says only that `live` is what the ranks have now.
        """
        self._put((None if loads is None else loads.copy(), live.copy()))

    def _put(self, item):
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="eplb-engine-reports", daemon=True)
            self._thread.start()
        try:
            self._reports.put_nowait(item)
        except queue.Full:
            say("reports dropped", "the planner takes no reports: some loads are dropped")

    def _run(self):
        client = self._make_client()
        while True:
            item = self._reports.get()
            try:
                self._send(client, item)
            except PlannerError as error:
                say("report failed", f"loads were not reported: {error}")
            except Exception as error:  # Nothing of this may reach the engine.
                say("report failed", f"loads were not reported: {error!r}")

    def _send(self, client: PlannerClient, item):
        try:
            view = client.view(SECONDS)
        except NoGroup:
            client.declare(self._declaration, SECONDS)
            view = client.view(SECONDS)
        if item is None:
            return
        loads, live = item
        epoch = int(view["epoch"])
        is_live = view["digest"] == digest_of(live, int(view["numLogicalExperts"])).hex()
        last = view["window"]["lastStep"]
        self._step = max(self._step, -1 if last is None else int(last)) + 1
        if loads is None:
            if not is_live:
                client.commit(self._step, epoch + 1, live, SECONDS)
            return
        slots = live.shape[1]
        if is_live:
            client.report(self._step, epoch, loads, None, slots, SECONDS)
        else:
            client.report(self._step, epoch + 1, loads, live, slots, SECONDS)
