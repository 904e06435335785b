"""Entries in journald's native format."""

import os
import socket
import struct

from hasup.logs.journald import Journald, entry, listens


def test_message_and_fields():
    data = entry("warning", "state", {"replica": "web.1", "program": None, "reason": "killed", "to": "backoff"})
    assert data.decode().splitlines() == [
        "MESSAGE=web.1: backoff: killed",
        "PRIORITY=4",
        "SYSLOG_IDENTIFIER=hasup",
        "HASUP_EVENT=state",
        "HASUP_REPLICA=web.1",
        "HASUP_REASON=killed",
        "HASUP_TO=backoff",
    ]


def test_a_value_of_several_lines_has_its_length():
    text = "one\ntwö"
    data = entry("info", "trouble", {"reason": text})
    value = text.encode()
    assert b"HASUP_REASON\n" + struct.pack("<Q", len(value)) + value + b"\n" in data
    assert b"MESSAGE\n" + struct.pack("<Q", len(b"trouble: " + value)) in data


def test_nobody_waits_or_fails(tmp_path):
    path = str(tmp_path / "socket")
    log = Journald(path)
    log.write("info", "state", reason="nobody listens")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        log.write("info", "state", reason="x" * 10_000_000)  # too long for a datagram
        for _ in range(10_000):  # nobody reads
            log.write("info", "state", reason="full")
        assert b"full" in journal.recv(65536)
    log.close()


def test_what_goes_to_the_journal_is_known_by_its_number():
    read, write = os.pipe()
    found = os.fstat(write)
    assert listens({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}, write)
    assert not listens({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"}, write)
    assert not listens({}, write)
    os.close(read)
    os.close(write)
    assert not listens({}, write)
