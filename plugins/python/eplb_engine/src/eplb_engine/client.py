"""Asks a planner over HTTP/1.1, within one deadline for all of a question.

http.client has a time-out for each read: a planner that sends a byte now and then would hold the engine up
for as long as it likes. So this one reads by itself, and takes nothing but answers with a content-length.
"""

import hashlib
import json
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from typing import Dict, Optional, Tuple
from urllib.parse import quote, urlsplit

import numpy as np

MAGIC = b"EPLB"
MAPPING, LOADS = 1, 2
HEADER = struct.Struct("<4s4I")
MOST_HEAD_BYTES = 16 * 1024
BINARY = "application/octet-stream"


class PlannerError(Exception):
    """No answer, or none that can be used."""


class NoGroup(PlannerError):
    """The planner does not know the group."""


@dataclass(frozen=True)
class Plan:
    """A planner's answer."""

    table: np.ndarray
    """int32 [layers, slots]"""
    digest: bytes
    """SHA-256 of its bytes, computed here."""
    status: str
    epoch: int


def mapping_bytes(table: np.ndarray, experts: int) -> bytes:
    """A mapping as the planner writes it."""
    layers, slots = table.shape
    return HEADER.pack(MAGIC, MAPPING, layers, slots, experts) + table.astype("<i4").tobytes()


def digest_of(table: np.ndarray, experts: int) -> bytes:
    return hashlib.sha256(mapping_bytes(table, experts)).digest()


def question_bytes(loads: np.ndarray, previous: Optional[np.ndarray], slots: int) -> bytes:
    """Loads [layers, experts], and the mapping [layers, slots] that a plan starts from."""
    layers, experts = loads.shape
    parts = [HEADER.pack(MAGIC, LOADS, layers, slots, experts), loads.astype("<f4").tobytes()]
    if previous is not None:
        parts.append(previous.astype("<i4").tobytes())
    return b"".join(parts)


def check_table(table: np.ndarray, experts: int) -> None:
    """Raises PlannerError unless every expert is in every layer, and every slot holds one."""
    if table.size == 0 or table.min() < 0 or table.max() >= experts:
        raise PlannerError("a slot holds no expert")
    layers = table.shape[0]
    present = np.zeros((layers, experts), dtype=bool)
    present[np.arange(layers)[:, None], table] = True
    if not present.all():
        layer, expert = np.argwhere(~present)[0]
        raise PlannerError(f"layer {layer}: expert {expert} is in no slot")


class Deadline:
    """A moment by which all has to be done."""

    def __init__(self, seconds: float):
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        left = self._at - time.monotonic()
        if left <= 0:
            raise PlannerError("no answer within the time-out")
        return left


class PlannerClient:
    """One connection to a planner, kept open. Not for several threads at a time."""

    def __init__(self, url: str, group: str, token: Optional[str] = None, ca_file: Optional[str] = None):
        self._url = url
        self._path = f"/v1/groups/{quote(group, safe='')}"
        self._token = token
        self._ca_file = ca_file
        self._socket: Optional[socket.socket] = None
        self._left = b""
        self._context: Optional[ssl.SSLContext] = None

    def plan(
        self, loads: np.ndarray, previous: Optional[np.ndarray], slots: int, seconds: float
    ) -> Plan:
        """A plan for loads [layers, experts], checked. Raises PlannerError."""
        layers, experts = loads.shape
        body = question_bytes(loads, previous, slots)
        wanted = HEADER.size + 4 * layers * slots
        status, head, answer = self._ask("POST", "/plan", body, BINARY, Deadline(seconds), wanted)
        if status == 404:
            raise NoGroup(_refusal(answer))
        if status != 200:
            raise PlannerError(f"refused with {status}: {_refusal(answer)}")
        if len(answer) != wanted:
            raise PlannerError(f"the answer has {len(answer)} bytes, not {wanted}")
        if HEADER.unpack_from(answer) != (MAGIC, MAPPING, layers, slots, experts):
            raise PlannerError("the answer is of other sizes")
        digest = hashlib.sha256(answer).digest()
        if head.get("eplb-digest") != digest.hex():
            raise PlannerError("the answer is not what its digest says")
        table = np.frombuffer(answer, "<i4", offset=HEADER.size).reshape(layers, slots).astype(np.int32)
        check_table(table, experts)
        kept = head.get("eplb-status") == "kept"
        if kept and previous is not None and not np.array_equal(table, previous):
            raise PlannerError("the answer keeps another mapping than was asked with")
        return Plan(table, digest, "kept" if kept else "planned", _whole(head.get("eplb-epoch")))

    def declare(self, declaration: dict, seconds: float) -> None:
        """Declares the group. Raises PlannerError."""
        body = json.dumps(declaration).encode()
        self._json("PUT", "", body, "application/json", seconds)

    def view(self, seconds: float) -> dict:
        """What the planner knows of the group. Raises PlannerError."""
        return self._json("GET", "", None, "application/json", seconds)

    def report(
        self, step: int, epoch: int, loads: np.ndarray, live: Optional[np.ndarray], slots: int, seconds: float
    ) -> None:
        """Reports loads of an epoch, and the mapping that it is. Raises PlannerError."""
        body = question_bytes(loads, live, slots)
        self._json("POST", f"/loads?step={step}&epoch={epoch}", body, BINARY, seconds)

    def commit(self, step: int, epoch: int, live: np.ndarray, seconds: float) -> None:
        """Reports which mapping an epoch is, without loads. Raises PlannerError."""
        body = json.dumps({"step": step, "epoch": epoch, "physicalToLogical": live.tolist()}).encode()
        self._json("POST", "/loads", body, "application/json", seconds)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._left = b""

    def _json(self, method: str, path: str, body: Optional[bytes], kind: str, seconds: float) -> dict:
        status, _, answer = self._ask(method, path, body, kind, Deadline(seconds), MOST_HEAD_BYTES * 64)
        if status == 404:
            raise NoGroup(_refusal(answer))
        if not 200 <= status < 300:
            raise PlannerError(f"refused with {status}: {_refusal(answer)}")
        try:
            value = json.loads(answer)
        except ValueError as error:
            raise PlannerError("the answer is no JSON") from error
        if not isinstance(value, dict):
            raise PlannerError("the answer is no JSON object")
        return value

    def _ask(
        self, method: str, path: str, body: Optional[bytes], kind: str, deadline: Deadline, most: int
    ) -> Tuple[int, Dict[str, str], bytes]:
        kept = self._socket is not None
        try:
            return self._exchange(method, path, body, kind, deadline, most)
        except (OSError, PlannerError) as error:
            self.close()
            # A connection that was kept may have been closed by the other side while nothing was asked.
            stale = kept and isinstance(error, (ConnectionError, _Ended))
            if not stale:
                raise error if isinstance(error, PlannerError) else PlannerError(str(error)) from error
        try:
            return self._exchange(method, path, body, kind, deadline, most)
        except OSError as error:
            self.close()
            raise PlannerError(str(error)) from error
        except PlannerError:
            self.close()
            raise

    def _exchange(self, method, path, body, kind, deadline, most):
        if self._socket is None:
            self._connect(deadline)
        head = [
            f"{method} {self._path}{path} HTTP/1.1",
            f"host: {self._host}",
            f"content-type: {kind}",
            f"accept: {kind}",
            f"content-length: {len(body or b'')}",
        ]
        if self._token is not None:
            head.append(f"authorization: Bearer {self._token}")
        request = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + (body or b"")
        self._socket.settimeout(deadline.left())
        self._socket.sendall(request)
        return self._read_answer(deadline, most)

    @property
    def _host(self) -> str:
        return "localhost" if self._url.startswith("unix:") else urlsplit(self._url).netloc

    def _connect(self, deadline: Deadline) -> None:
        if self._url.startswith("unix:"):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(deadline.left())
            try:
                connection.connect(self._url[len("unix:"):])
            except OSError:
                connection.close()
                raise
            self._socket = connection
            return
        url = urlsplit(self._url)
        secure = url.scheme == "https"
        port = url.port or (443 if secure else 80)
        connection = socket.create_connection((url.hostname, port), timeout=deadline.left())
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if secure:
            if self._context is None:
                self._context = ssl.create_default_context(cafile=self._ca_file)
            connection.settimeout(deadline.left())
            connection = self._context.wrap_socket(connection, server_hostname=url.hostname)
        self._socket = connection

    def _read_answer(self, deadline: Deadline, most: int) -> Tuple[int, Dict[str, str], bytes]:
        head = self._until(b"\r\n\r\n", deadline)
        lines = head.decode("latin-1").split("\r\n")
        parts = lines[0].split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
            raise PlannerError("the answer is not HTTP")
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
        length = _whole(fields.get("content-length"))
        if "transfer-encoding" in fields or length < 0 or length > max(most, MOST_HEAD_BYTES):
            raise PlannerError("the answer has no length, or too much of it")
        body = self._exactly(length, deadline)
        if fields.get("connection", "").lower() == "close":
            self.close()
        return int(parts[1]), fields, body

    def _until(self, mark: bytes, deadline: Deadline) -> bytes:
        while mark not in self._left:
            if len(self._left) > MOST_HEAD_BYTES:
                raise PlannerError("the head of the answer does not end")
            self._left += self._receive(MOST_HEAD_BYTES, deadline)
        head, self._left = self._left.split(mark, 1)
        return head

    def _exactly(self, length: int, deadline: Deadline) -> bytes:
        parts = [self._left[:length]]
        self._left = self._left[length:]
        missing = length - len(parts[0])
        while missing > 0:
            part = self._receive(min(missing, 1 << 20), deadline)
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _receive(self, most: int, deadline: Deadline) -> bytes:
        self._socket.settimeout(deadline.left())
        part = self._socket.recv(most)
        if not part:
            raise _Ended("the connection ended")
        return part


class _Ended(PlannerError):
    """The other side closed the connection."""


def _refusal(answer: bytes) -> str:
    return answer[:300].decode("utf-8", "replace")


def _whole(text: Optional[str]) -> int:
    return int(text) if text is not None and text.isdigit() and len(text) < 16 else -1
