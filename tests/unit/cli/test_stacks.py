"""Stacks as they are found in evidence."""

import pytest

from hasup.cli.stacks import frames

FAULTHANDLER = """Fatal Python error: Aborted

Thread 0x00007eff2a266b80 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 982 in run

Current thread 0x00007eff2a266b81 (most recent call first):
  File "/srv/shop/pool.py", line 88 in acquire
  File "/srv/shop/worker.py", line 12 in main
  File "<frozen runpy>", line 88 in _run_code""".splitlines()
PY_SPY = """Python v3.11.7 (/usr/bin/python3.11)

Thread 13688 (idle): "Thread-1 (take)"
    run (threading.py:982)
Thread 13684 (idle): "MainThread"
    take.<locals>.one (shop/pool.py:88)
    main (shop/worker.py:12)
    _run_code (<frozen runpy>:88)""".splitlines()
EXCEPTION = """Traceback (most recent call last):
  File "/srv/shop/worker.py", line 12, in <module>
    main()
  File "/srv/shop/pool.py", line 88, in acquire
    raise OSError
OSError""".splitlines()


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({"stack": FAULTHANDLER}, ["pool.py:88 acquire", "worker.py:12 main", "(and 1 more thread)"]),
        ({"py_spy": PY_SPY}, ["pool.py:88 take.<locals>.one", "worker.py:12 main", "(and 1 more thread)"]),
        ({"py_spy": PY_SPY[:4], "stack": EXCEPTION}, ["threading.py:982 run"]),
        ({"stack": EXCEPTION}, ["pool.py:88 acquire", "worker.py:12 <module>"]),
        ({"stack": ["Fatal Python error: nonsense"]}, []),
        ({}, []),
    ],
)  # fmt: skip
def test_frames(record, found):
    assert frames(record) == found
