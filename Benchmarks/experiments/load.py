"""A load generator for HTTP/1.1: some connections, each with one request under way. Standard library only.

Requests are made before they are timed and sent as they are, so that one core of a client asks a few ten thousand times a second.
"""
import json
import select
import socket
import sys
import time

END = b"\r\n\r\n"


def request(method, path, body=b"", kind="application/json"):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def whole(answer):
    """Where the body of an answer begins when all of it is there; else 0."""
    end = answer.find(END)
    if end < 0:
        return 0
    head = bytes(answer[:end]).lower()
    place = head.find(b"content-length:")
    if place >= 0:
        length = int(head[place + 15:].split(b"\r\n", 1)[0])
        return end + 4 if len(answer) >= end + 4 + length else 0
    if b"transfer-encoding: chunked" in head:
        return end + 4 if answer.endswith(b"0\r\n\r\n") else 0
    return end + 4


def check(answer, sent):
    if not answer.startswith(b"HTTP/1.1 200"):
        sys.exit(f"{bytes(sent[:160])!r} was answered with {bytes(answer[:600])!r}")


def drive(port, requests, connections, seconds, answers=None):
    """Sends what an iterator gives until it ends or time is over; (answered, seconds, latencies).

    The bodies of the answers go to the list `answers`, if there is one.
    """
    poll, lines, latencies = select.epoll(), {}, []
    requests = iter(requests)

    def send(line):
        line.sent = next(requests, None)
        if line.sent is None or time.monotonic() > stop:
            return False
        line.answer, line.rest, line.began = bytearray(), memoryview(line.sent), time.monotonic()
        push(line)
        return True

    def push(line):
        try:
            line.rest = line.rest[line.socket.send(line.rest):]
        except BlockingIOError:
            pass
        wanted = select.EPOLLIN | (select.EPOLLOUT if len(line.rest) else 0)
        if wanted != line.wanted:
            line.wanted = wanted
            poll.modify(line.socket.fileno(), wanted)

    class Line:
        wanted = select.EPOLLIN

    began = time.monotonic()
    stop = began + seconds
    for _ in range(connections):
        line = Line()
        line.socket = socket.create_connection(("127.0.0.1", port))
        line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.socket.setblocking(False)
        poll.register(line.socket.fileno(), select.EPOLLIN)
        if send(line):
            lines[line.socket.fileno()] = line
    while lines:
        for number, event in poll.poll(60):
            line = lines[number]
            if event & select.EPOLLOUT:
                push(line)
            if not event & ~select.EPOLLOUT:
                continue
            data = line.socket.recv(1 << 18)
            if not data:
                sys.exit(f"the server closed a connection after {len(latencies)} answers, in {bytes(line.answer[:300])!r}")
            line.answer += data
            start = whole(line.answer)
            if start:
                check(line.answer, line.sent)
                latencies.append(time.monotonic() - line.began)
                if answers is not None:
                    answers.append(Connection.body(line.answer, start))
                if not send(line):
                    poll.unregister(number)
                    line.socket.close()
                    del lines[number]
    poll.close()
    return len(latencies), time.monotonic() - began, latencies


class Connection:
    """One connection, one request after the other."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=300)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, sent):
        """The body of the answer, and the seconds until its last byte was there."""
        began = time.monotonic()
        self.socket.sendall(sent)
        answer = bytearray()
        while True:
            data = self.socket.recv(1 << 20)
            if not data:
                sys.exit(f"the server closed the connection in {bytes(answer[:300])!r}")
            answer += data
            start = whole(answer)
            if start:
                took = time.monotonic() - began
                check(answer, sent)
                return self.body(answer, start), took

    @staticmethod
    def body(answer, start):
        if b"transfer-encoding: chunked" not in bytes(answer[:start]).lower():
            return answer[start:]
        body, place = bytearray(), start
        while True:
            end = answer.index(b"\r\n", place)
            size = int(answer[place:end], 16)
            if not size:
                return body
            body += answer[end + 2:end + 2 + size]
            place = end + 4 + size
