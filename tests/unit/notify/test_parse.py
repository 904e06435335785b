"""sd_notify datagrams."""

import pytest

from hasup.protocol.notify import MAX_DATAGRAM, Message, parse


@pytest.mark.parametrize(
    ("datagram", "message"),
    [
        (b"READY=1", Message(ready=True)),
        (b"READY=1\nSTATUS=up and running\n", Message(ready=True, status="up and running")),
        (b"READY=0", Message()),
        (b"WATCHDOG=1", Message(beat=True)),
        (b"WATCHDOG=trigger", Message(trigger=True)),
        (b"WATCHDOG_USEC=20000000", Message(watchdog_usec=20_000_000)),
        (b"EXTEND_TIMEOUT_USEC=5", Message(extend_timeout_usec=5)),
        (b"MAINPID=4711\nERRNO=2\nEXIT_STATUS=3", Message(main_pid=4711, errno=2, exit_status=3)),
        (b"RELOADING=1\nMONOTONIC_USEC=12", Message(reloading=True, monotonic_usec=12)),
        (b"STOPPING=1\nBARRIER=1", Message(stopping=True, barrier=True)),
        (b"FDSTORE=1\nFDNAME=web", Message(fd_store=True, fd_name="web")),
        (b"FDSTOREREMOVE=1\nFDNAME=web", Message(fd_store_remove=True, fd_name="web")),
        (b"", Message()),
        (b"nonsense\n=\n=1\nREADY\nREADY =1\nready=1", Message(malformed=4)),
        (b"MAINPID=-1\nERRNO=x\nWATCHDOG_USEC=1e9\nMAINPID=9999999999999999999", Message(malformed=4)),
        (b"STATUS=\x1b[2Jboo\x00\x07", Message(status="[2Jboo")),
        (b"STATUS=\xff", Message(status="\ufffd")),
        (b"READY=1\n" + b"x" * MAX_DATAGRAM, Message(malformed=1)),
    ],
)
def test_parse(datagram, message):
    assert parse(datagram) == message


def test_a_status_is_bounded():
    assert len(parse(b"STATUS=" + b"a" * 60_000).status or "") == 500


def test_what_tells_something():
    assert not parse(b"WATCHDOG=1\nBARRIER=1\nFDSTORE=1").tells
    assert parse(b"STATUS=").tells


def test_only_so_many_lines_are_read():
    assert parse(b"\n" * 255 + b"READY=1").ready
    assert not parse(b"\n" * 256 + b"READY=1").ready
