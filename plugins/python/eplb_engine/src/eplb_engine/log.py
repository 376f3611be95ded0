"""Messages: of each kind one a minute, with how many there were."""

import logging
import threading
import time

LOGGER = logging.getLogger("eplb_engine")
QUIET_SECONDS = 60.0

_lock = threading.Lock()
_said = {}


def say(kind, message, level=logging.WARNING, now=None):
    """Logs a message, unless one of its kind was logged within the last minute."""
    now = time.monotonic() if now is None else now
    with _lock:
        last, count = _said.get(kind, (None, 0))
        if last is not None and now - last < QUIET_SECONDS:
            _said[kind] = (last, count + 1)
            return False
        _said[kind] = (now, 0)
    LOGGER.log(level, "%s%s", message, f" ({count} more since the last message)" if count else "")
    return True
