"""What is counted of a replica: seconds in each state, and restarts by what ended the run before."""

from hasup.core.step import spent
from hasup.model.spec import Restart
from tests.unit.core.driver import Driver, program


def test_seconds_in_each_state_and_across_a_new_core():
    driver = Driver(program(restart=Restart(delay=2.0, jitter=0.0, factor=1.0)))
    driver.wait(7)
    driver.up()
    assert "stopped" not in driver["web.1"].spent, "since when, nobody knows"
    driver.wait(30)
    driver.exits("web.1")
    assert driver["web.1"].spent["running"] == 30
    driver.new_core()
    driver.wait(2)
    driver.spawned("web.1")
    driver.wait(5)
    assert driver["web.1"].spent == {"starting": 0.0, "running": 30.0, "backoff": 2.0}
    assert spent(driver["web.1"], driver.now) == {"starting": 0.0, "running": 35.0, "backoff": 2.0}


def test_restarts_by_what_ended_the_run_before():
    driver = Driver(program(restart=Restart(delay=0.0))).up()
    driver.exits("web.1")
    driver.spawned("web.1")
    driver.exits("web.1", None, signal=9)
    driver.spawned("web.1")
    driver.exits("web.1")
    driver.spawned("web.1")
    driver.restart("web.1")
    assert driver["web.1"].restarted_for == {"exit-code": 2, "signal": 1, "operator": 1}
    assert driver["web.1"].restarts == 4
