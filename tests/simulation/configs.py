"""Configurations drawn at random: every policy, limit, dependency and group that the decisions know of."""

import random

from msgspec.structs import replace

from hasup.model import spec

NAMES = ("a", "b", "c", "d")


def random_config(chance: random.Random) -> spec.Config:
    """One to four programs, some of which depend on earlier ones or share a group."""
    names = NAMES[: chance.choice([1, 2, 2, 3, 4])]
    programs: dict[str, spec.Program] = {}
    for name in names:
        programs[name] = _program(chance, name, programs)
    groups = {}
    if len(names) > 1 and chance.random() < 0.4:
        groups["g"] = _group(chance, names)
    rate = chance.choice([1, 3, 1000, 1000])
    own = spec.SupervisorOptions(name="s", state_dir="/s", restart_rate=rate)
    return spec.Config(file="/hasup.toml", supervisor=own, programs=programs, groups=groups)


def changed_config(chance: random.Random, config: spec.Config) -> spec.Config:
    """The same with one program drawn anew, added or taken out."""
    programs = dict(config.programs)
    name = chance.choice(NAMES)
    needed = any(name in program.depends_on for program in programs.values())
    drawn = _program(chance, name, {other: p for other, p in programs.items() if other < name})
    if needed:  # nobody can wait for what has a schedule
        drawn = replace(drawn, schedule=None)
    if name in programs and not needed and len(programs) > 1 and chance.random() < 0.4:
        del programs[name]
    else:
        programs[name] = drawn
    groups = {
        known.name: replace(known, programs=tuple(member for member in known.programs if member in programs))
        for known in config.groups.values()
    }
    return replace(config, programs=programs, groups=groups)


def _program(chance: random.Random, name: str, earlier: dict[str, spec.Program]) -> spec.Program:
    task = chance.random() < 0.2
    schedule = chance.choice([None, "7", "30", "100"]) if task else None
    drawn = spec.Program(
        name=name,
        command=("x", chance.choice("123")),
        port=chance.choice([None, None, "auto", 1]),
        listen=_listen(chance),
        reload=spec.Reload(max_unavailable=chance.choice([0, 0, 1, 2]), rollback=chance.random() < 0.7),
        replicas=chance.choice([0, 1, 1, 1, 2, 3]),
        kind="task" if task else "service",
        schedule=schedule,
        essential=chance.random() < 0.04 and not schedule,
        need=chance.choice([1, 1, 2]),
        depends_on={
            other.name: _dependency(chance, other)
            for other in earlier.values()
            if chance.random() < 0.3 and not other.schedule
        },
        restart=_restart(chance),
        ready=_ready(chance),
        heartbeat=spec.Heartbeat(timeout=2.0) if chance.random() < 0.3 else None,
        health=_health(chance),
        limits=_limits(chance),
        abort=spec.Abort(timeout=chance.choice([0.0, 1.0])),
        stop=spec.Stop(timeout=chance.choice([0.0, 1.0, 3.0]), command=("stop",) if chance.random() < 0.1 else ()),
        hooks=_hooks(chance),
    )
    return drawn if task else _by_load(chance, drawn)


def _by_load(chance: random.Random, program: spec.Program) -> spec.Program:
    """Some are scaled by their load."""
    if chance.random() > 0.2:
        return program
    fewest = max(program.need, program.replicas)
    bounds = spec.Autoscale(
        min=fewest,
        max=max(fewest, chance.choice([2, 3])),
        target_cpu=50.0,
        smoothing=chance.choice([0.0, 0.0, 1.0]),
        cooldown=chance.choice([0.0, 2.0]),
    )
    return replace(program, replicas=fewest, autoscale=bounds)


def _dependency(chance: random.Random, other: spec.Program) -> spec.Dependency:
    conditions = ["started", "ready", "completed"] if other.kind == "task" else ["started", "ready"]
    return spec.Dependency(condition=chance.choice(conditions), restart=chance.random() < 0.3)


def _restart(chance: random.Random) -> spec.Restart:
    limit = chance.choice([0, 0, 1, 3])
    return spec.Restart(
        policy=chance.choice([None, None, None, "on-failure", "never"]),
        success_exit_codes=chance.choice([(0,), (0, 3)]),
        delay=chance.choice([0.0, 0.1, 1.0]),
        factor=chance.choice([1.0, 2.0, 10.0]),
        max_delay=8.0,
        jitter=chance.choice([0.0, 0.2]),
        reset_after=20.0,
        limit=limit,
        window=60.0,
        on_limit=chance.choice(["retry", "fail", "fail", "shutdown"]) if limit else "retry",
    )


def _ready(chance: random.Random) -> spec.Ready:
    how = chance.random()
    if how < 0.3:
        return spec.Ready(notify=True, timeout=5.0)
    if how < 0.4:
        return spec.Ready(log="listening", timeout=5.0)
    if how < 0.5:
        return spec.Ready(tcp="127.0.0.1:1", timeout=5.0)
    return spec.Ready(after=chance.choice([0.0, 0.5]))


def _health(chance: random.Random) -> spec.Health | None:
    if chance.random() > 0.2:
        return None
    return spec.Health(tcp="127.0.0.1:1", failures=chance.choice([1, 2, 4]), successes=chance.choice([1, 2]), slow=0.5)


def _hooks(chance: random.Random) -> spec.Hooks:
    if chance.random() > 0.3:
        return spec.Hooks()
    return spec.Hooks(
        before_start=("x",) if chance.random() < 0.7 else (),
        before_restart=("x",) if chance.random() < 0.5 else (),
        on_ready=("x",) if chance.random() < 0.3 else (),
        on_failed=("x",) if chance.random() < 0.3 else (),
        timeout=chance.choice([0.3, 2.0, 30.0]),
    )


def _limits(chance: random.Random) -> spec.Limits:
    if chance.random() > 0.2:
        return spec.Limits()
    action = chance.choice(["restart", "restart", "stop", "warn", "signal:USR1"])
    limit = spec.Limit(above=100.0, for_=chance.choice([0.0, 1.5]), action=action)
    return spec.Limits(memory=limit) if chance.random() < 0.7 else spec.Limits(threads=limit)


def _listen(chance: random.Random) -> spec.Listen | None:
    how = chance.random()
    if how < 0.5:
        return None
    return spec.Listen(address="127.0.0.1:2", mode="share" if how < 0.7 else "proxy", drain_timeout=4.0)


def _group(chance: random.Random, names: tuple[str, ...]) -> spec.Group:
    return spec.Group(
        name="g",
        programs=names,
        strategy=chance.choice(["one-for-one", "one-for-all", "rest-for-one"]),
        limit=chance.choice([0, 2, 5]),
        window=60.0,
        on_limit=chance.choice(["retry", "fail", "shutdown"]),
    )
