"""A rank's side of the protocol that brings a group to another mapping: docs/migration.md has it.

The same machine as `RankMachine` of expert-load-balancer: what comes in gives messages and actions, both as
plain dicts. It has no clock, no thread and no socket, and never waits.
"""

from typing import List, Optional, Tuple

MOST_CHARACTERS = 1000

Output = Tuple[List[dict], List[dict]]
"""Messages to the service, and actions for the host of the weights."""


class _Open:
    def __init__(self, token: int, layers: List[int], epoch: int, digest: str):
        self.token = token
        self.layers = layers
        self.epoch = epoch
        self.digest = digest
        self.prepared = set()
        self.state = "preparing"
        self.refusal: Optional[dict] = None
        self.last_step = 0
        self.first_step = 0


class RankMachine:
    """Begins fenced: it serves once it is admitted."""

    def __init__(self, incarnation: int, holds: Optional[dict], lead_steps: int = 8):
        """holds: {"epoch", "digest"} of what all slots hold; None when they hold nothing whole."""
        self._incarnation = incarnation
        self._lead_steps = lead_steps
        self._serving = False
        self._reason = "started"
        self._holds = _held(holds) if holds is not None else None
        self._broken: List[int] = []
        self._token = 0
        self._open: Optional[_Open] = None
        self._restoring: Optional[dict] = None
        self._step = -1
        self._serves_from = 0
        self._messages: List[dict] = []
        self._actions: List[dict] = []

    @property
    def serving(self) -> bool:
        return self._serving

    @property
    def holds(self) -> Optional[dict]:
        return self._holds

    @property
    def open_state(self) -> Optional[Tuple[int, str]]:
        """The token and the state of the attempt that it has not seen the end of."""
        return None if self._open is None else (self._open.token, self._open.state)

    def receive(self, message: dict) -> Output:
        """Takes what the service said. Whatever of it is late, doubled or out of order changes nothing."""
        if message["incarnation"] == self._incarnation:
            getattr(self, f"_take_{message['type']}")(message)
        return self._end()

    def tick(self) -> Output:
        """Says again how it stands."""
        self._say()
        return self._end()

    def begin_step(self, step: int) -> Tuple[dict, Output]:
        """Asks for a step, before any of its layers is served. Steps only grow."""
        if step <= self._step:
            raise ValueError(f"step {step} is not after {self._step}")
        answer = self._begun(step)
        return answer, self._end()

    def prepared(self, token: int, layers: List[int]) -> Output:
        """The host has filled the buffers of layers."""
        one = self._of(token)
        if one is not None and one.state == "preparing":
            one.prepared.update(layer for layer in layers if layer in one.layers)
            if len(one.prepared) == len(one.layers):
                one.state = "prepared"
            self._say()
        return self._end()

    def refused(self, token: int, layers: List[int], reason: str) -> Output:
        """The host cannot fill them: the attempt will be aborted."""
        one = self._of(token)
        if one is not None and one.state == "preparing":
            one.state = "refused"
            one.refusal = {"layers": list(layers), "reason": _short(reason)}
            self._actions.append({"type": "drop", "token": token})
            self._say()
        return self._end()

    def swapped(self, token: int) -> Output:
        """The host has swapped all layers."""
        one = self._of(token)
        if one is not None and one.state == "swapping":
            self._holds = {"epoch": one.epoch, "digest": one.digest}
            self._serves_from = one.first_step
            self._token = token
            self._open = None
            self._say()
        return self._end()

    def failed(self, token: int, layers: List[int], reason: str) -> Output:
        """The swap failed: these layers hold neither their old weights nor their new ones."""
        one = self._of(token)
        if one is not None and one.state == "swapping":
            self._fence(f"not activated: {reason}", layers)
        return self._end()

    def restored(self, held: dict) -> Output:
        """The host has loaded the weights of an epoch into all slots."""
        if self._restoring == _held(held):
            self._holds = _held(held)
            self._broken = []
            self._restoring = None
            self._say()
        return self._end()

    def not_restored(self, reason: str) -> Output:
        """The host could not load them. It is asked again."""
        if self._restoring is not None:
            self._reason = _short(f"not restored: {reason}")
            self._restoring = None
        return self._end()

    def _end(self) -> Output:
        output = (self._messages, self._actions)
        self._messages, self._actions = [], []
        return output

    def _take_prepare(self, message: dict) -> None:
        one, token, epoch = self._open, message["token"], message["epoch"]
        if not self._serving or (one is not None and one.token == token):
            self._say()
            return
        if token <= self._token or epoch != self._holds["epoch"] + 1:
            return
        if one is not None and (one.state in ("decided", "swapping") or one.token > token):
            return
        self._drop()
        self._open = _Open(token, list(message["layers"]), epoch, message["digest"])
        self._actions.append(_without_incarnation(message))

    def _take_arm(self, message: dict) -> None:
        one = self._of(message["token"])
        if one is None:
            return
        if one.state == "prepared":
            one.state = "armed"
            one.last_step = self._step + self._lead_steps
        self._say()

    def _take_activate(self, message: dict) -> None:
        one = self._of(message["token"])
        if one is not None and one.state == "armed" and one.epoch == message["epoch"]:
            one.state = "decided"
            one.first_step = message["firstStep"]
        elif message["token"] == self._token:
            self._say()

    def _take_abort(self, message: dict) -> None:
        one, token = self._open, message["token"]
        if one is not None and one.token == token and one.state not in ("decided", "swapping"):
            self._drop()
            self._token = token
        elif one is None and token > self._token and self._serving:
            # It came before what it aborts.
            self._token = token

    def _take_restore(self, message: dict) -> None:
        if self._serving or self._restoring is not None:
            return
        wanted = _held(message)
        if self._holds == wanted:
            self._say()
            return
        self._restoring = wanted
        # While they are written, the slots hold nothing whole.
        self._holds = None
        self._actions.append({"type": "restore", **wanted})

    def _take_admit(self, message: dict) -> None:
        token = message["token"]
        if token < self._token or self._swapping():
            return
        if token > self._token:
            self._drop()
            self._token = token
            self._serving = self._holds == _held(message)
            if self._serving:
                self._serves_from = message["firstStep"]
        self._say()

    def _take_fence(self, message: dict) -> None:
        if message["token"] > self._token:
            self._fence("fenced by the coordinator", self._swapping(), message["token"])

    def _begun(self, step: int) -> dict:
        if not self._serving:
            return {"status": "fenced", "reason": self._reason}
        one = self._open
        if one is not None and one.state == "armed" and step > one.last_step:
            return {"status": "wait", "reason": f"the decision on epoch {one.epoch} is waited for"}
        if one is not None and one.state == "decided" and step >= one.first_step:
            one.state = "swapping"
            self._actions.append({
                "type": "swap", "token": one.token, "layers": one.layers,
                "epoch": one.epoch, "digest": one.digest,
            })
        if one is not None and one.state == "swapping":
            return {"status": "wait", "reason": f"epoch {one.epoch} is swapped in"}
        if step < self._serves_from:
            reason = f"this rank serves from step {self._serves_from} on"
            return {"status": "wait", "reason": reason, "fromStep": self._serves_from}
        self._step = step
        return {"status": "serve", **self._holds}

    def _fence(self, reason: str, broken: List[int], token: Optional[int] = None) -> None:
        if token is None:
            token = self._token if self._open is None else self._open.token
        self._serving = False
        self._reason = _short(reason)
        if self._swapping() or broken:
            self._holds = None
        self._broken = sorted({*self._broken, *broken})
        self._drop()
        self._token = token
        self._say()

    def _swapping(self) -> List[int]:
        return self._open.layers if self._open is not None and self._open.state == "swapping" else []

    def _drop(self) -> None:
        if self._open is not None and self._open.state != "refused":
            self._actions.append({"type": "drop", "token": self._open.token})
        self._open = None

    def _say(self) -> None:
        one = self._open
        common = {"incarnation": self._incarnation, "token": self._token if one is None else one.token}
        if not self._serving:
            common["token"] = self._token
            more = {"holds": self._holds, "reason": self._reason, "broken": self._broken}
            self._messages.append({"type": "hello", **common, **more})
        elif one is not None and one.state == "refused":
            self._messages.append({"type": "refused", **common, **one.refusal})
        elif one is not None and one.state == "armed":
            self._messages.append({"type": "armed", **common, "lastStep": one.last_step})
        elif one is not None and one.prepared and one.state in ("preparing", "prepared"):
            self._messages.append({"type": "prepared", **common, "layers": sorted(one.prepared)})
        else:
            common["token"] = self._token
            self._messages.append({"type": "confirmed", **common, "epoch": self._holds["epoch"]})

    def _of(self, token: int) -> Optional[_Open]:
        return self._open if self._open is not None and self._open.token == token else None


def _held(value: dict) -> dict:
    return {"epoch": value["epoch"], "digest": value["digest"]}


def _short(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


def _without_incarnation(message: dict) -> dict:
    return {name: value for name, value in message.items() if name != "incarnation"}
