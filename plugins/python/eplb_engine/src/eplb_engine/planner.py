"""A question on all ranks of an engine, and an answer that all have."""

import numpy as np

from . import agreement
from .client import NoGroup, PlannerClient, PlannerError, check_table
from .log import say
from .reporter import Reporter
from .settings import Settings

# Of the time-out; the rest is for the agreement.
ASKING_SHARE = 0.9


class AgreedPlanner:
    """Asks for plans of one shape, together with the other ranks of a group."""

    def __init__(self, settings: Settings, group, declaration: dict):
        self._settings = settings
        self._group = group
        layers, experts, slots = (
            declaration["numLayers"],
            declaration["numLogicalExperts"],
            declaration["numPhysicalExperts"],
        )
        name = f"{settings.group}-{layers}x{experts}x{slots}"

        def make_client():
            return PlannerClient(settings.url, name, settings.token, settings.ca_file)

        self._client = make_client()
        self._is_first = agreement.rank_of(group) == 0
        # One rank tells for all.
        self._reporter = Reporter(make_client, declaration) if self._is_first else None

    def plan(self, loads: np.ndarray, old: np.ndarray, slots: int):
        """The table [layers, slots] that all ranks have; None on all where one of them has none.

        loads: float32 [layers, experts]; old: int32 [layers, slots], what the ranks hold. Raises only what a
        collective raises: then the engine's own are about to fail too.
        """
        broadcasts = self._settings.agreement == "broadcast"
        plan = self._ask(loads, old, slots) if self._is_first or not broadcasts else None
        if broadcasts:
            table = agreement.broadcast(self._group, None if plan is None else plan.table, old.shape)
            agreed = agreement.all_have(self._group, self._can_use(table, loads.shape[1]))
        else:
            table = None if plan is None else plan.table
            agreed = agreement.all_equal(self._group, None if plan is None else plan.digest)
        if self._reporter is not None and self._settings.reports:
            self._reporter.report(loads, old)
        if agreed:
            return table
        say("fell back", "no plan that all ranks have: the engine's own algorithm is used")
        return None

    def _ask(self, loads, old, slots):
        seconds = self._settings.timeout_ms / 1000 * ASKING_SHARE
        try:
            return self._client.plan(loads, old, slots, seconds)
        except NoGroup:
            if self._reporter is not None:
                self._reporter.declare()
            say("no group", "the planner does not know the group yet: it is declared for the next time")
        except PlannerError as error:
            say("no plan", f"the planner gave no plan: {error}")
        except Exception as error:  # Nothing of this may reach the engine, nor keep this rank from agreeing.
            self._client.close()
            say("no plan", f"the planner could not be asked: {error!r}")
        return None

    @staticmethod
    def _can_use(table, experts) -> bool:
        if table is None:
            return False
        try:
            check_table(table, experts)
            return True
        except PlannerError:
            return False
