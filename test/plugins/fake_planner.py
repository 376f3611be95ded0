"""Planners of all kinds, for the ranks of engine_ranks.py."""

import hashlib
import socket
import threading
import time

import numpy as np

RANKS, LAYERS, EXPERTS, SLOTS = 4, 3, 8, 12


def table_of(kind, slots=SLOTS):
    """A valid table, another one for each kind."""
    rows = np.array([[(slot + kind + layer) % EXPERTS for slot in range(slots)] for layer in range(LAYERS)])
    return rows.astype("<i4")


def answer_bytes(table, digest=None, status="planned", length=None):
    head = b"EPLB" + np.array([1, LAYERS, table.shape[1], EXPERTS], "<u4").tobytes()
    body = head + table.tobytes()
    digest = hashlib.sha256(body).hexdigest() if digest is None else digest
    lines = ["HTTP/1.1 200 OK", f"content-length: {len(body) if length is None else length}"]
    lines += [f"eplb-digest: {digest}", f"eplb-status: {status}", "eplb-epoch: 0"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def liars():
    """Answers that no rank may use."""
    good = answer_bytes(table_of(1))
    missing = table_of(1)
    missing[missing == 5] = 4
    outside = table_of(1)
    outside[0, 0] = EXPERTS
    return {
        "lost expert": answer_bytes(missing),
        "no such expert": answer_bytes(outside),
        "wrong digest": answer_bytes(table_of(1), digest="0" * 64),
        "keeps another": answer_bytes(table_of(1), status="kept"),
        "half": answer_bytes(table_of(1)[:1]),
        "too long": answer_bytes(table_of(1), length=10**12),
        "chunked": good.replace(b"content-length", b"transfer-encoding: chunked\r\ncontent-length"),
        "no HTTP": b"\x00" * 400,
        "endless head": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 9000,
        "closes": None,
    }


class FakePlanner:
    """Answers every question of any connection as it is told: what(number of the connection) -> bytes."""

    def __init__(self, what, wait=0.0, drip=False):
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._what, self._wait, self._drip = what, wait, drip
        self._count = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            connection, _ = self._server.accept()
            number, self._count = self._count, self._count + 1
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection, number):
        try:
            while True:
                text = b""
                while b"\r\n\r\n" not in text:
                    part = connection.recv(65536)
                    if not part:
                        return
                    text += part
                head, body = text.split(b"\r\n\r\n", 1)
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                while len(body) < length:
                    body += connection.recv(65536)
                time.sleep(self._wait)
                answer = self._what(number)
                if answer is None:
                    connection.close()
                    return
                for part in [answer[i : i + 1] for i in range(len(answer))] if self._drip else [answer]:
                    connection.sendall(part)
                    if self._drip:
                        time.sleep(0.02)
        except OSError:
            pass
