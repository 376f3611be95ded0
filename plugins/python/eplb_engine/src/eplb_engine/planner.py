"""A question on all ranks of an engine, and an answer that all have."""

from typing import Optional

import numpy as np

from .client import NoGroup, PlannerClient, PlannerError, check_table, digest_of
from .log import say
from .reporter import Reporter
from .settings import Settings

# Of the time-out; the rest is for the agreement.
ASKING_SHARE = 0.9


class AgreedPlanner:
    """Asks for plans of one shape, together with the other ranks of a group."""

    def __init__(self, settings: Settings, agreement, declaration: dict):
        self._settings = settings
        self._agreement = agreement
        layers, experts, slots = (
            declaration["numLayers"],
            declaration["numLogicalExperts"],
            declaration["numPhysicalExperts"],
        )
        self._shape = (layers, slots)
        name = f"{settings.group}-{layers}x{experts}x{slots}"

        def make_client():
            return PlannerClient(settings.url, name, settings.token, settings.ca_file)

        self._client = make_client()
        self._is_first = agreement.rank == 0
        # One rank tells for all.
        self._reporter = Reporter(make_client, declaration) if self._is_first else None

    def plan(self, loads: np.ndarray, old: Optional[np.ndarray], fit=None):
        """The table [layers, slots] that all ranks have; None on all where one of them has none.

        loads: float32 [layers, experts]; old: int32 [layers, slots], what the ranks hold; fit: brings a table
        to what the engine takes, or raises PlannerError. Raises only what a collective raises: then the
        engine's own are about to fail too.
        """
        broadcasts = self._settings.agreement == "broadcast"
        plan = self._ask(loads, old) if self._is_first or not broadcasts else None
        table = None if plan is None else plan.table
        if broadcasts:
            table = self._agreement.broadcast(table, self._shape)
        experts = loads.shape[1]
        table = self._usable(table, experts, fit)
        agreed = self._agreement.all_agree(None if table is None else digest_of(table, experts))
        if self._reporter is not None and self._settings.reports and old is not None:
            self._reporter.report(loads, old)
        if agreed:
            return table
        say("fell back", "no plan that all ranks have: the engine's own algorithm is used")
        return None

    def went_live(self, table: np.ndarray) -> None:
        """Reports, beside the serving path, that all layers have the table now."""
        if self._reporter is not None and self._settings.reports:
            self._reporter.report(None, table)

    def _ask(self, loads, old):
        seconds = self._settings.timeout_ms / 1000 * ASKING_SHARE
        try:
            return self._client.plan(loads, old, self._shape[1], seconds)
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
    def _usable(table, experts, fit):
        """The table as the engine takes it; None where there is none."""
        if table is None:
            return None
        try:
            check_table(table, experts)
            if fit is None:
                return table
            fitted = fit(table)
            check_table(fitted, experts)
            return fitted
        except PlannerError as error:
            say("no plan", f"the plan cannot be used: {error}")
        except Exception as error:  # Nothing of this may keep this rank from agreeing.
            say("no plan", f"the plan cannot be used: {error!r}")
        return None
