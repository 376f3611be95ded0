"""An address where the processes of an engine meet: a store that rank 0 keeps for all of them.

It has what was voted. And processes meet there that have no group, those that an engine starts beside its
ranks to plan in: a forked process must not use the groups of the one that it came from. So the ranks agree on
the address while they still have a group, and their planning processes make a group of their own there.
"""

import os
import secrets
import socket
import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import Optional

from .agreement import COLLECTIVE_SECONDS, Agreement

MOST_HOST_BYTES = 255
# Open for as long as this process lives: the stores that this process, as rank 0, keeps for the others.
_stores = []
_joined = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class Meeting:
    """An address, and who comes there. It may be pickled."""

    host: str
    port: int
    rank: int
    size: int
    name: str

    def join(self) -> Agreement:
        """The agreement of all that come. It waits for them once, up to COLLECTIVE_SECONDS; raises."""
        with _lock:
            key = (os.getpid(), self)
            if key not in _joined:
                _joined[key] = self._make()
            return _joined[key]

    def _make(self):
        from torch.distributed import PrefixStore, ProcessGroupGloo

        store = PrefixStore(self.name, self.connect())
        timeout = timedelta(seconds=COLLECTIVE_SECONDS)
        return Agreement(ProcessGroupGloo(store, self.rank, self.size, timeout), self.votes())

    def votes(self):
        """Where votes are written down: a connection of its own."""
        from torch.distributed import PrefixStore

        return PrefixStore(f"{self.name}/votes", self.connect())

    def connect(self):
        """The store that rank 0 keeps."""
        from torch.distributed import TCPStore

        return TCPStore(self.host, self.port, is_master=False, timeout=timedelta(seconds=COLLECTIVE_SECONDS))


def arrange(parent) -> Optional[Meeting]:
    """A meeting for processes of the ranks of a CPU group. Called by all of them at once.

    Returns None on all of them where one of them cannot reach it. The group is used for two collectives.
    """
    import torch

    ranks = Agreement(parent)
    name = secrets.token_hex(8)
    message = torch.zeros(2 + MOST_HOST_BYTES + len(name), dtype=torch.int64)
    store = None
    if ranks.rank == 0:
        host, store = _open_store(name)
        if store is not None:
            text = host.encode()
            numbers = [store.port, len(text), *text, *bytes(MOST_HOST_BYTES - len(text)), *name.encode()]
            message = torch.tensor(numbers, dtype=torch.int64)
    ranks.broadcast_message(message)
    port, length, *rest = message.tolist()
    host = bytes(rest[:length]).decode()
    meeting = Meeting(host, port, ranks.rank, ranks.size, bytes(rest[MOST_HOST_BYTES:]).decode("latin-1"))
    if not ranks.all_have(port > 0 and _is_reached(meeting)):
        return None
    if store is not None:
        _stores.append(store)
    return meeting


def _open_store(name):
    """The address of a store of this process, and the store; None where there is none to be had."""
    from torch.distributed import TCPStore

    for host in _own_hosts():
        try:
            timeout = timedelta(seconds=COLLECTIVE_SECONDS)
            store = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=timeout)
            store.set("name", name)
            return host, store
        except (RuntimeError, OSError, ValueError):
            continue
    return "", None


def _own_hosts():
    """Names by which the other hosts may know this one, the likeliest first."""
    named = [os.environ.get("EPLB_ENGINE_HOST"), os.environ.get("VLLM_HOST_IP")]
    try:
        named.append(socket.gethostbyname(socket.gethostname()))
    except OSError:
        pass
    hosts = [host for host in named if host and len(host.encode()) <= MOST_HOST_BYTES]
    return [*hosts, "127.0.0.1"]


def _is_reached(meeting) -> bool:
    try:
        # Another host's 127.0.0.1 may answer too, with another name.
        return meeting.connect().get("name").decode() == meeting.name
    except (RuntimeError, OSError, ValueError):
        return False
