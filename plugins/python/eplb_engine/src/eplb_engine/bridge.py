"""Between an engine's calls and the planner: what all plug-ins that agree have in common."""

import logging

from .log import LOGGER, say
from .planner import AgreedPlanner
from .settings import Settings


class Bridge:
    """Asks for plans as long as there are ranks to agree with."""

    def __init__(self, title: str, settings: Settings, find_agreement):
        """find_agreement: answers with (key, make): what the ranks are now, and how their agreement is made.

        None where there are none to agree with. `make` is called by all ranks at once, when `key` changes.
        """
        self._title = title
        self._settings = settings
        self._find_agreement = find_agreement
        self._key = None
        self._agreement = None
        self._planners = {}
        self._is_off = False
        self._is_broken = False

    @property
    def is_off(self) -> bool:
        """Whether it has switched itself off for good."""
        return self._is_off

    def plan(self, make_question):
        """The table [layers, slots] that all ranks have, or None: the engine plans by itself. Never raises.

        make_question: gives a Question, or None where there is nothing to ask. What decides that has to be
        equal on all ranks.
        """
        if self._is_off:
            return None
        try:
            question = make_question()
            if question is None or not self._meets():
                return None
            if question.num_ranks is not None and self._agreement.size != question.num_ranks:
                sizes = f"the group has {self._agreement.size} ranks, and the plan {question.num_ranks}"
                say("other ranks", sizes)
                return None
            table = self._planner(question.declaration).plan(question.loads, question.old, question.fit)
            if self._agreement.failure is not None:
                self._break(self._agreement.failure)
            return table
        except Exception as error:
            # What came before the vote has failed: no rank can have got a yes without this one.
            self._break(error)
            return None

    def _break(self, error) -> None:
        """A collective has failed, and will on all ranks: they do not wait for it again."""
        self._is_broken = True
        message = f"the ranks could not agree, {self._title} plans by itself from now on: {error!r}"
        say("agreement failed", message, logging.ERROR)

    def went_live(self, declaration: dict, table) -> None:
        """Reports a mapping that all layers have now, beside the serving path."""
        if self._key is not None and not self._is_off:
            self._planner(declaration).went_live(table)

    def _planner(self, declaration):
        key = tuple(sorted(declaration.items()))
        if key not in self._planners:
            self._planners[key] = AgreedPlanner(self._settings, self._agreement, declaration)
        return self._planners[key]

    def _meets(self) -> bool:
        found = self._find_agreement()
        if found is None:
            return self._switch_off("there is no group of ranks to agree on")
        key, make = found
        if key is not self._key:
            # At the first plan, and after the engine was scaled: all ranks are here then.
            self._planners = {}
            self._is_broken = False
            self._key = key
            self._agreement = None
            self._agreement = make()
            if self._agreement is None:
                return self._switch_off("no group of its own can be had")
        return not self._is_broken

    def _switch_off(self, reason) -> bool:
        self._is_off = True
        LOGGER.error("disabled: %s; %s plans by itself", reason, self._title)
        return False
