"""Shifts the wall clock of hasup's processes by HASUP_TEST_SHIFT seconds: a test puts this folder on PYTHONPATH."""

import os
import time

if "HASUP_TEST_SHIFT" in os.environ:
    _shift, _time = float(os.environ["HASUP_TEST_SHIFT"]), time.time
    time.time = lambda: _time() + _shift  # type: ignore[assignment]
