"""Runs inside the machine of :mod:`tests.chaos.uml_machine`: takes commands from files, answers by files."""

import json
import os
import subprocess
import sys
import time


def main(work: str) -> None:
    number = 1
    while True:
        order = f"{work}/asked/{number}.json"
        if not os.path.exists(order):
            time.sleep(0.05)  # the other side of these files tells nobody when they change
            continue
        with open(order) as file:
            asked = json.load(file)
        answer = f"{work}/done/{number}"
        with open(answer + ".part", "w") as file:
            json.dump(run(asked["argv"], asked["timeout"]), file)
        os.rename(answer + ".part", answer + ".json")
        number += 1


def run(argv: list[str], timeout: float) -> dict[str, object]:
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"code": 255, "stdout": "", "stderr": repr(error)}
    return {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


main(sys.argv[1])
