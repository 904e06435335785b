"""The story of one replica, as ten lines and as a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from hasup.cli.advice import advice
from hasup.cli.incident import Incident, seconds
from hasup.cli.stacks import frames
from hasup.cli.terminal import Terminal, duration, elide
from hasup.model.status import EventRecord

if TYPE_CHECKING:
    from hasup.cli.explain import Known

_DEEDS_SHOWN: Final = 6
_CALM: Final = {"running", "completed", "stopped"}


def document(known: Known, others: Sequence[str]) -> dict[str, Any]:
    """``hasup why --json``."""
    incident, status = known.incident, known.status
    return {
        "replica": known.name,
        "running": status is not None,
        "state": status["state"] if status else None,
        "ready": bool(status and status["ready"]),
        "what": _what(known, incident) if incident else None,
        "evidence": known.record or None,
        "evidence_file": known.path,
        "did": [{"at": at, "what": what} for at, what in deeds(incident)] if incident else [],
        "next": upcoming(known),
        "next_start_s": status["next_start_s"] if status else None,
        "try": list(_advice(known)),
        "others": list(others),
        "autoscale": known.scaled,
    }


def _what(known: Known, incident: Incident) -> dict[str, Any]:
    end = _end(known)
    return {
        "symptom": incident.symptom,
        "reason": incident.reason,
        "at": incident.at,
        "generation": incident.generation,
        "exit_code": end.get("exit_code"),
        "signal": end.get("signal"),
        "core_dump": bool(end.get("core_dump")),
        "lived_s": None if incident.lived_s is None else round(incident.lived_s, 3),
        "within_an_hour": dict(incident.often),
    }


def page(known: Known, others: Sequence[str], screen: Terminal, now: float) -> str:
    """The same for people."""
    lines = [_title(known)]
    lines += [f"  {label.ljust(8)}{text}" for label, text in _lines(known, others, now)]
    width = screen.width
    shown = [screen.plain(line if width is None else elide(line, width)) for line in lines]
    return "".join(f"{line}\n" for line in [screen.paint(shown[0], "bold"), *shown[1:]])


def _title(known: Known) -> str:
    if known.status is None:
        return f"{known.name}: hasup is not running"
    state, reason = known.status["state"], known.status["reason"]
    if state == "running":
        return f"{known.name} is running{'' if known.status['ready'] else ', but not ready'}: {reason}"
    return f"{known.name} is {'in ' if state == 'backoff' else ''}{state}: {reason}"


def _lines(known: Known, others: Sequence[str], now: float) -> Iterator[tuple[str, str]]:
    incident = known.incident
    if incident is None:
        yield "what", "nothing has happened to it, as far as the journal goes"
    else:
        yield "what", _happened(incident, now)
        yield from _evidence(known)
        yield "hasup", "; ".join(f"{_clock(at)} {what}" for at, what in _shortened(deeds(incident)))
        if sum(incident.often.values()) > 1:
            kinds = ", ".join(f"{result} {count}" for result, count in incident.often.items())
            yield "often", f"{sum(incident.often.values())} times within the last hour ({kinds})"
    if known.scaled is not None and known.scaled["reason"]:
        yield "scaled", known.scaled["reason"]
    yield "next", upcoming(known)
    for number, hint in enumerate(list(_advice(known))[:3] if incident else ()):
        yield ("try" if number == 0 else ""), hint
    if known.path:
        yield "more", known.path
    if others:
        yield "also", f"in trouble before: {', '.join(others[:8])}{' …' if len(others) > 8 else ''}"


def _happened(incident: Incident, now: float) -> str:
    ago = duration(max(0.0, now - seconds(incident.at)))
    lived = "" if incident.lived_s is None else f", {duration(max(0.0, incident.lived_s))} after its start"
    return f"{incident.symptom}: {incident.reason}, at {_clock(incident.at)} ({ago} ago{lived})"


# --- evidence --------------------------------------------------------------------------------------------------------
def _evidence(known: Known) -> Iterator[tuple[str, str]]:
    record = known.record
    end = _end(known)
    if end:
        yield "end", _ending(end)
    looks = record.get("looks") or []
    if looks:
        yield "doing", _doing(looks[-1])
        if looks[-1].get("sockets"):
            yield "sockets", "; ".join(looks[-1]["sockets"][:3])
    stack = frames(record)
    if stack:
        yield "stack", " < ".join(stack).replace(" < (", " (")
    samples = _samples(record.get("samples") or [])
    if samples:
        yield "samples", samples
    said = [line.strip() for line in _said(record) if line.strip()][-3:]
    for number, line in enumerate(said):
        yield ("said" if number == 0 else ""), line


def _end(known: Known) -> dict[str, Any]:
    """How the run ended, by the evidence or by the journal."""
    end: dict[str, Any] = known.record.get("end") or {}
    ended = known.incident.ended if known.incident else None
    if not end and ended is not None:
        end = {name: ended.detail.get(name) for name in ("exit_code", "signal")}
    return end


def _ending(end: dict[str, Any]) -> str:
    if end.get("signal"):
        return f"killed by {end['signal']}, {'core dumped' if end.get('core_dump') else 'no core dump'}"
    return "did not start" if end.get("exit_code") is None else f"exit code {end['exit_code']}"


def _doing(look: dict[str, Any]) -> str:
    parts = [f"{look.get('state', 'state unknown')}{' in ' + look['waits_in'] if look.get('waits_in') else ''}"]
    if look.get("threads", 1) != 1:
        parts.append(f"{look['threads']} threads")
    if look.get("memory_kib") is not None:
        parts.append(f"{look['memory_kib'] / 1024:.1f} MiB")
    files = look.get("open_files")
    if files:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(files["kinds"].items(), key=lambda k: -k[1])[:3])
        parts.append(f"{files['count']} descriptors ({kinds})")
    if look.get("children"):
        parts.append(f"{len(look['children'])} children")
    if look.get("zombies"):
        parts.append(f"{look['zombies']} zombies")
    return ", ".join(parts)


def _said(record: dict[str, Any]) -> list[str]:
    """The last output, without the stack that is shown by itself."""
    output: list[str] = record.get("output") or []
    first = (record.get("stack") or [None])[0]
    if first in output:
        output = output[: output.index(first)]
        exception = record["stack"][-1]
        if first is not None and first.startswith("Traceback"):
            output = [*output, exception]
    return output


def _samples(samples: list[dict[str, Any]]) -> str:
    if len(samples) < 2:
        return ""
    first, last = samples[0], samples[-1]
    parts = [f"memory {first['memory_bytes'] / 2**20:.0f} to {last['memory_bytes'] / 2**20:.0f} MiB"]
    shares = [sample["cpu_percent"] for sample in samples if sample.get("cpu_percent") is not None]
    if shares:
        parts.append(f"processor {min(shares):.0f} to {max(shares):.0f}%")
    for name in ("threads", "processes", "open_files"):
        if first.get(name) is not None and last.get(name) is not None and first[name] != last[name]:
            parts.append(f"{name.replace('_', ' ')} {first[name]:.0f} to {last[name]:.0f}")
    return f"{', '.join(parts)} over {duration(first['ago_s'] - last['ago_s'])}"


# --- what was done, and what comes -----------------------------------------------------------------------------------
def deeds(incident: Incident) -> list[tuple[str, str]]:
    """What hasup did, with the times."""
    told = [(event.at, _deed(event)) for event in incident.told]
    return [(at, what) for at, what in told if what is not None]


def _deed(event: EventRecord) -> str | None:
    match event.event, event.to:
        case "limit", _ if event.detail.get("action") == "warn":
            return "warned"
        case "limit", _ if str(event.detail.get("action", "")).startswith("signal:"):
            return f"sent {str(event.detail['action']).removeprefix('signal:')}"
        case "not-ready", _:
            return "gave it no more connections"
        case "ready", _:
            return "gave it connections again"
        case "degraded", _:
            return "shifted load away from it"
        case "restored", _:
            return "gave it its full share again"
        case "kill", _:
            return "killed all of it"
        case "state", to if event.from_ != to:
            return _MOVES.get(str(to), None)
    return None


_MOVES: Final = {
    "aborting": "took evidence and sent the abort signal",
    "stopping": "asked it to end",
    "backoff": "waits before the next try",
    "starting": "started it again",
    "running": "found it ready",
    "failed": "gave up",
    "completed": "let it rest",
    "stopped": "stopped it",
    "waiting": "made it wait",
}


def _shortened(done: list[tuple[str, str]]) -> list[tuple[str, str]]:
    if len(done) <= _DEEDS_SHOWN:
        return done
    return [*done[: _DEEDS_SHOWN - 1], (done[-1][0], f"(after {len(done) - _DEEDS_SHOWN} more) {done[-1][1]}")]


def upcoming(known: Known) -> str:
    """What happens next, and when."""
    status, name = known.status, known.name
    if status is None:
        return "nothing: hasup is not running; hasup start begins anew"
    match status["state"]:
        case "backoff" if status["next_start_s"] is not None:
            return f"started again in {duration(status['next_start_s'])}"
        case "backoff" | "waiting":
            return status["reason"]  # type: ignore[no-any-return]
        case "starting":
            return "running as soon as it is ready; until ready.timeout at most"
        case "running" if status["ready"]:
            return "nothing: it is ready" + (", but slow" if status["degraded"] else "")
        case "running":
            return "connections again as soon as its probe succeeds; aborted when that goes on failing"
        case "aborting":
            return "killed after abort.timeout, if it has not ended by then; then started again"
        case "stopping":
            return "killed after stop.timeout, if it has not ended by then"
        case "gone":
            return "nothing: it is no more"
        case "completed":
            return f"nothing: it has completed; hasup start {name} runs it again"
    return f"nothing by itself; hasup start {name} starts it"


def _advice(known: Known) -> Iterator[str]:
    if known.incident is not None:
        yield from advice(known.name, known.incident.symptom, _end(known), known.record)


def _clock(at: str) -> str:
    return f"{datetime.fromisoformat(at).astimezone():%H:%M:%S}"
