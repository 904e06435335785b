"""The last thing that went wrong, out of the journal."""

from datetime import UTC, datetime
from typing import Any

from hasup.cli.incident import last_incident, seconds
from hasup.cli.story import deeds
from hasup.model.status import EventRecord

BEGIN = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC).timestamp()


def journal(*told: tuple[float, str, str | None, str | None, str, dict[str, Any]]) -> list[EventRecord]:
    return [
        EventRecord(
            seq, datetime.fromtimestamp(BEGIN + at, UTC).isoformat(), event, old, new, reason, "web.1", "web", d
        )
        for seq, (at, event, old, new, reason, d) in enumerate(told, 1)
    ]


def run(at: float, generation: int) -> list[tuple[float, str, str, str, str, dict[str, Any]]]:
    facts = {"generation": generation}
    return [
        (at, "state", "backoff", "starting", "started again", facts),
        (at + 1, "state", "starting", "running", "ready", facts),
    ]


def crash(at: float, generation: int, result: str = "exit-code", **more: Any) -> tuple[Any, ...]:
    facts = {"generation": generation, "result": result, **more}
    return (at, "state", "running", "backoff", "exited with code 3; restart in 0.1 s", facts)


def test_nothing_has_happened():
    assert last_incident([], BEGIN) is None
    assert last_incident(journal(*run(0, 1)), BEGIN) is None
    stopped = (9, "state", "stopping", "stopped", "stopped by operator", {"generation": 1, "result": "operator"})
    assert last_incident(journal(*run(0, 1), stopped), BEGIN + 10) is None


def test_a_crash_with_what_came_after_it():
    found = last_incident(journal(*run(0, 1), crash(5, 1, exit_code=3), *run(6, 2)), BEGIN + 9)
    assert found is not None
    assert (found.symptom, found.reason, found.generation, found.lived_s) == ("exit-code", "exited with code 3", 1, 5)
    assert seconds(found.at) == BEGIN + 5
    assert [what for _, what in deeds(found)] == [
        "waits before the next try",
        "started it again",
        "found it ready",
    ]


def test_a_hang_begins_when_it_is_found_and_not_when_it_ends():
    hang = [
        (5.0, "not-ready", "running", "running", "1 of 2 health probes failed: no answer", {"generation": 1}),
        (6.0, "state", "running", "aborting", "hung: 2 health probes in a row failed: no answer", {"generation": 1}),
        (6.0, "evidence", None, None, "2 health probes in a row failed", {"state": "S (sleeping)"}),
        (
            7.0,
            "state",
            "aborting",
            "backoff",
            "2 health probes…; restart in 1 s",
            {"generation": 1, "result": "health"},
        ),
    ]
    found = last_incident(journal(*run(0, 1), *hang, *run(8, 2)), BEGIN + 20)
    assert found is not None
    assert (found.symptom, found.generation) == ("health", 1)
    assert seconds(found.at) == BEGIN + 5, "the first sign of trouble"
    assert found.ended is not None
    assert seconds(found.ended.at) == BEGIN + 7
    assert deeds(found)[:2] == [
        (found.told[0].at, "gave it no more connections"),
        (found.told[1].at, "took evidence and sent the abort signal"),
    ]


def test_under_way():
    hang = (5, "state", "running", "aborting", "hung: no sign of life for 2 s", {"generation": 1})
    found = last_incident(journal(*run(0, 1), hang), BEGIN + 5)
    assert found is not None
    assert (found.symptom, found.reason, found.ended) == ("hung", "no sign of life for 2 s", None)


def test_a_limit_is_the_cause_of_the_end_that_follows():
    told = [
        (5.0, "limit", "running", "running", "memory 99 MiB, above 60 MiB", {"generation": 1, "limit": "memory"}),
        (5.0, "state", "running", "stopping", "restarted: memory", {"generation": 1}),
        (5.1, "state", "stopping", "backoff", "memory 99 MiB; restart", {"generation": 1, "result": "memory"}),
    ]
    found = last_incident(journal(*run(0, 1), *told), BEGIN + 9)
    assert found is not None
    assert (found.symptom, found.reason, seconds(found.at)) == ("memory", "memory 99 MiB, above 60 MiB", BEGIN + 5)


def test_what_is_slow_now_counts_more_than_an_old_crash_and_what_was_slow_less():
    slow = (9, "degraded", "running", "running", "slow: its health probe took 0.6 s", {"generation": 2})
    fast = (10, "restored", "running", "running", "fast again", {"generation": 2})
    before = [*run(0, 1), crash(3, 1), *run(4, 2)]
    found = last_incident(journal(*before, slow), BEGIN + 9)
    assert found is not None
    assert found.symptom == "degraded"
    found = last_incident(journal(*before, slow, fast), BEGIN + 10)
    assert found is not None
    assert found.symptom == "exit-code"


def test_how_often():
    told = [
        event
        for n in range(1, 6)
        for event in (*run(n * 10, n), crash(n * 10 + 5, n, "signal" if n < 3 else "oom-kill"))
    ]
    found = last_incident(journal(*told), BEGIN + 60)
    assert found is not None
    assert found.often == {"signal": 2, "oom-kill": 3}
    later = last_incident(journal(*told), BEGIN + 36 + 3600)
    assert later is not None
    assert later.often == {"oom-kill": 2}, "the last hour alone"


def test_generations_that_begin_anew_are_another_run():
    found = last_incident(journal(*run(0, 1), crash(5, 1), *run(100, 1), crash(107, 1)), BEGIN + 110)
    assert found is not None
    assert (seconds(found.at), found.lived_s) == (BEGIN + 107, 7)


def test_an_orderly_restart_is_no_trouble_nor_the_end_of_the_next_run():
    again = [
        (5, "state", "running", "stopping", "restarted by operator", {"generation": 1}),
        (5, "state", "stopping", "starting", "started again", {"generation": 2, "result": "operator"}),
        (6, "state", "starting", "running", "ready", {"generation": 2}),
    ]
    assert last_incident(journal(*run(0, 1), *again), BEGIN + 9) is None
    found = last_incident(journal(*run(0, 1), *again, crash(9, 2, "signal")), BEGIN + 9)
    assert found is not None
    assert (found.symptom, found.lived_s) == ("signal", 4)
