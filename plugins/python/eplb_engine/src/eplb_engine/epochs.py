"""Talks with `eplb serve` about epochs: offers, acknowledges, refuses, heartbeats and listens.

The standard library alone, and nothing of an engine's serving path: each call waits up to its time-out.
"""

import http.client
import json
import socket
import ssl
from dataclasses import dataclass
from typing import Iterator, Optional, Sequence
from urllib.parse import quote, urlencode, urlsplit

MOST_ANSWER_BYTES = 64 * 1024 * 1024
MOST_EVENT_BYTES = 4 * 1024 * 1024


class EpochError(Exception):
    """No answer, or one that cannot be used."""


class Refused(EpochError):
    """The service refused it, and says why."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    id: str
    type: str
    """state, epoch, rank, mode, repair or message"""
    data: dict


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class EpochClient:
    """One connection a thread: not for several threads at a time."""

    def __init__(
        self,
        url: str,
        group: str,
        token: Optional[str] = None,
        ca_file: Optional[str] = None,
        timeout: float = 5.0,
    ):
        self._url = url
        self._path = f"/v1/groups/{quote(group, safe='')}"
        self._token = token
        self._ca_file = ca_file
        self._timeout = timeout
        self._connection: Optional[http.client.HTTPConnection] = None

    def view(self) -> dict:
        """What is known of the group."""
        return self._ask("GET", "")

    def offer(self, digest: str, **fields) -> dict:
        """Offers a plan that was answered. Fields: operationId, activation, fromEpoch."""
        return self._ask("POST", "/epochs", {"digest": digest, **fields})

    def epoch(self, epoch: int) -> dict:
        """How an epoch stands."""
        return self._ask("GET", f"/epochs/{epoch}")

    def mapping(self, epoch: int) -> dict:
        """The tables of an epoch that is under way, live, or was live lately."""
        return self._ask("GET", f"/epochs/{epoch}/mapping")

    def ack(self, epoch: int, rank: int, layers: Optional[Sequence[int]] = None, **fields) -> dict:
        """A rank has done its part. Fields: state, lastStep, incarnation, token, digest."""
        return self._ask("POST", f"/epochs/{epoch}/ack", _given(rank=rank, layers=layers, **fields))

    def refuse(
        self, epoch: int, rank: int, reason: str, layers: Optional[Sequence[int]] = None, **fields
    ) -> dict:
        """A rank cannot prepare layers: the attempt is aborted."""
        body = _given(rank=rank, layers=layers, reason=reason, **fields)
        return self._ask("POST", f"/epochs/{epoch}/refuse", body)

    def activate(self, epoch: int, first_step: Optional[int] = None) -> dict:
        """Lets an epoch go live that is prepared."""
        return self._ask("POST", f"/epochs/{epoch}/activate", _given(firstStep=first_step))

    def abort(self, epoch: int, reason: str = "") -> dict:
        """Ends an attempt that is not decided."""
        return self._ask("POST", f"/epochs/{epoch}/abort", {"reason": reason})

    def heartbeat(
        self,
        rank: int,
        incarnation: int,
        message: Optional[dict] = None,
        ttl_ms: int = 10_000,
        stops_with_lease: bool = True,
    ) -> dict:
        """A rank lives, and says how it stands. The answer has its lease, and messages to take."""
        body = _given(
            incarnation=incarnation, ttlMs=ttl_ms, stopsWithLease=stops_with_lease, message=message
        )
        return self._ask("POST", f"/ranks/{rank}/heartbeat", body)

    def report_ranks(self, **fields) -> dict:
        """Reports ranks. Fields: dead, alive, slow, reason."""
        return self._ask("POST", "/ranks", fields)

    def events(
        self, rank: Optional[int] = None, last_event_id: Optional[str] = None, quiet: float = 45.0
    ) -> Iterator[Event]:
        """Listens, on a connection of its own, until it ends; `quiet` seconds without a sign end it, too."""
        connection = self._connect(quiet)
        try:
            query = "" if rank is None else "?" + urlencode({"rank": rank})
            headers = self._headers()
            if last_event_id is not None:
                headers["last-event-id"] = last_event_id
            connection.request("GET", f"{self._path}/events{query}", headers=headers)
            response = connection.getresponse()
            if response.status != 200:
                raise _refusal(response.status, response.read(MOST_ANSWER_BYTES))
            yield from _events(response)
        except (OSError, http.client.HTTPException) as error:
            raise EpochError(f"the stream ended: {error!r}") from error
        finally:
            connection.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _ask(self, method: str, path: str, body: Optional[dict] = None) -> dict:
        kept = self._connection is not None
        try:
            return self._exchange(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            # A connection that was kept may have been closed by the other side meanwhile.
            if not kept or isinstance(error, socket.timeout):
                raise EpochError(f"no answer: {error!r}") from error
        try:
            return self._exchange(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise EpochError(f"no answer: {error!r}") from error

    def _exchange(self, method: str, path: str, body: Optional[dict]) -> dict:
        if self._connection is None:
            self._connection = self._connect(self._timeout)
        headers = self._headers()
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["content-type"] = "application/json"
        self._connection.request(method, self._path + path, body=content, headers=headers)
        response = self._connection.getresponse()
        answer = response.read(MOST_ANSWER_BYTES)
        if response.status >= 300:
            raise _refusal(response.status, answer)
        try:
            value = json.loads(answer)
        except ValueError as error:
            raise EpochError("the answer is no JSON") from error
        if not isinstance(value, dict):
            raise EpochError("the answer is no JSON object")
        return value

    def _headers(self) -> dict:
        return {} if self._token is None else {"authorization": f"Bearer {self._token}"}

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        if self._url.startswith("unix:"):
            return _UnixConnection(self._url[len("unix:"):], timeout)
        url = urlsplit(self._url)
        if url.scheme == "https":
            context = ssl.create_default_context(cafile=self._ca_file)
            return http.client.HTTPSConnection(url.hostname, url.port, timeout=timeout, context=context)
        return http.client.HTTPConnection(url.hostname, url.port, timeout=timeout)


def _given(**fields) -> dict:
    return {name: value for name, value in fields.items() if value is not None}


def _refusal(status: int, answer: bytes) -> EpochError:
    try:
        value = json.loads(answer)
        return Refused(status, str(value["code"]), str(value["message"]))
    except (ValueError, KeyError, TypeError):
        return EpochError(f"refused with {status}")


def _events(response) -> Iterator[Event]:
    fields = {}
    while True:
        line = response.readline(MOST_EVENT_BYTES)
        if not line:
            return
        if not line.endswith(b"\n"):
            raise EpochError("an event is too long, or was cut off")
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text == "":
            if "data" in fields:
                yield Event(fields.get("id", ""), fields.get("event", "message"), json.loads(fields["data"]))
            fields = {}
        elif not text.startswith(":"):
            name, _, value = text.partition(":")
            fields[name] = value[1:] if value.startswith(" ") else value
