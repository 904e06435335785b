"""Which replica gets the next connection. Pure: the time and the randomness come in.

Only backends that are ``ready`` or ``degraded`` are picked; a degraded one counts with a fraction of its weight. One
that fails several connects in a row is ejected for a time that grows, but never so that more than half of them are
out. One that comes back starts slowly. Ejected backends, and those of weight 0, are the last resort: while one replica
is ready, there is somebody to connect to.
"""

from collections.abc import Callable, Collection, Iterable

READY = "ready"
DEGRADED = "degraded"
DRAINING = "draining"

DEGRADED_SHARE = 0.25  # of the weight
EJECT_AFTER = 3  # failed connects in a row
EJECTION_S = 1.0  # the first; the next are twice as long each
EJECTION_MAX_S = 60.0
SLOW_START_FROM = 0.1  # of the weight, growing evenly to all of it
_SMOOTHING = 0.2  # of the newest value in a moving average


Target = tuple[int, str | tuple[str, int], int | None]  # family, where, and whose it must be


class Backend:
    """One replica: where it is, what it may get, and what it got. Times are seconds, monotonic."""

    __slots__ = (
        "address", "born", "bytes_in", "bytes_out", "connect_s", "credit", "drain_at", "ejected_until", "ejection_s",
        "ejections", "failed", "failures", "first_byte_s", "name", "open", "share", "since", "state", "target", "total",
        "weight",
    )  # fmt: skip

    def __init__(self, name: str, address: str, weight: float = 1, state: str = READY, born: float = 0.0) -> None:
        self.name = name
        self.address = address
        self.target: Target | None = None  # the address, as whoever connects to it has parsed it
        self.weight = weight
        self.state = state
        self.born = born
        self.since = float("-inf")  # when its slow start began
        self.drain_at: float | None = None  # when it began to drain
        self.share = 0.0  # its weight at this moment
        self.credit = 0.0  # of smooth weighted round-robin
        self.failures = 0  # connects, in a row
        self.ejections = 0
        self.ejection_s = 0.0
        self.ejected_until = float("-inf")
        self.open = 0
        self.total = 0
        self.failed = 0
        self.bytes_in = 0  # from clients
        self.bytes_out = 0  # to clients
        self.connect_s = 0.0
        self.first_byte_s = 0.0

    def connected(self, seconds: float) -> None:
        """A connect took this long."""
        self.connect_s += (seconds - self.connect_s) * (_SMOOTHING if self.connect_s else 1.0)

    def answered(self, seconds: float) -> None:
        """From the client's bytes to the first byte of the answer it took this long."""
        self.first_byte_s += (seconds - self.first_byte_s) * (_SMOOTHING if self.first_byte_s else 1.0)


Row = tuple[str, str, float, str]  # name, address, weight, state
Draw = Callable[[], float]  # at random, at least 0 and below 1


class Balancer:
    """The backends of one program, and a method of choosing among them."""

    def __init__(self, method: str, draw: Draw, slow_start: float = 0.0) -> None:
        self.backends: dict[str, Backend] = {}
        self._choose = METHODS[method]
        self._draw = draw
        self._slow_start = slow_start
        self._candidates: list[Backend] = []
        self._good_until = float("-inf")  # until then the candidates need not be looked at again

    def replace(self, rows: Iterable[Row], now: float) -> None:
        """Take the new table. A backend of the same name and address stays the same one."""
        known = self.backends
        settled = any(_usable(one) and now - one.born >= self._slow_start for one in known.values())
        self.backends = {}
        for name, address, weight, state in rows:
            one = known.get(name)
            if one is None or one.address != address:
                one = Backend(name, address, born=now)
                one.since = now if settled else one.since
            one.weight = weight
            one.state = state
            one.drain_at = (one.drain_at or now) if state == DRAINING else None
            self.backends[name] = one
        self._good_until = float("-inf")

    def pick(self, now: float, tried: Collection[Backend] = ()) -> Backend | None:
        """The backend for the next connection, none of ``tried``; None when there is none to try."""
        if tried:
            candidates = self._shares(now, tried)[0]
        else:
            if now >= self._good_until:
                self._candidates, self._good_until = self._shares(now, tried)
            candidates = self._candidates
        return self._choose(candidates, self._draw) if candidates else None

    def failed(self, one: Backend, now: float) -> bool:
        """A connect failed; says whether the backend is ejected for it."""
        one.failed += 1
        one.failures += 1
        if one.failures < EJECT_AFTER or now < one.ejected_until or not self._may_eject(now):
            return False
        one.ejections += 1
        one.ejection_s = min(EJECTION_S * 2.0 ** (one.ejections - 1), EJECTION_MAX_S)
        one.ejected_until = now + one.ejection_s
        one.since = one.ejected_until
        one.failures = EJECT_AFTER - 1  # back in, one more failure is enough
        self._good_until = float("-inf")
        return True

    def succeeded(self, one: Backend, now: float) -> None:
        """A connect succeeded; in for as long as it was out, its ejections are forgotten."""
        one.failures = 0
        if one.ejections and now >= one.ejected_until + one.ejection_s:
            one.ejections = 0

    def _may_eject(self, now: float) -> bool:
        usable = [one for one in self.backends.values() if _usable(one)]
        out = sum(now < one.ejected_until for one in usable)
        return out + 1 <= len(usable) // 2

    def _shares(self, now: float, tried: Collection[Backend]) -> tuple[list[Backend], float]:
        """The candidates, their shares set; and until when they stay the same."""
        usable = [one for one in self.backends.values() if _usable(one) and one not in tried]
        good_until = float("inf")
        for one in usable:
            if now < one.ejected_until:
                one.share = 0.0
                good_until = min(good_until, one.ejected_until)
                continue
            age = now - one.since
            one.share = one.weight * (DEGRADED_SHARE if one.state == DEGRADED else 1.0)
            if age < self._slow_start:
                one.share *= max(SLOW_START_FROM, age / self._slow_start)
                good_until = now
        candidates = [one for one in usable if one.share > 0.0]
        if not candidates:
            for one in usable:
                one.share = 1.0
            candidates, good_until = usable, now
        return candidates, good_until


def _usable(one: Backend) -> bool:
    return one.state != DRAINING


def round_robin(candidates: list[Backend], _draw: Draw | None = None) -> Backend:
    """Smooth weighted round-robin, nginx's: in each round everybody gets its share, never in a row if avoidable."""
    best = candidates[0]
    total = 0.0
    for one in candidates:
        total += one.share
        one.credit += one.share
        if one.credit > best.credit:
            best = one
    best.credit -= total
    return best


def least_connections(candidates: list[Backend], _draw: Draw | None = None) -> Backend:
    """The fewest connections for its weight; round-robin among equals."""
    least = min(map(_load, candidates))
    return round_robin([one for one in candidates if _load(one) <= least])


def random_two(candidates: list[Backend], draw: Draw) -> Backend:
    """Two at random, by weight; of those, the one with fewer connections for its weight."""
    first = _at_random(candidates, draw)
    if len(candidates) == 1:
        return first
    second = _at_random([one for one in candidates if one is not first], draw)
    return second if _load(second) < _load(first) else first


def _load(one: Backend) -> float:
    return (one.open + 1) / one.share


def _at_random(candidates: list[Backend], draw: Draw) -> Backend:
    point = draw() * sum(one.share for one in candidates)
    for one in candidates:
        point -= one.share
        if point < 0.0:
            return one
    return candidates[-1]


METHODS: dict[str, Callable[[list[Backend], Draw], Backend]] = {
    "round-robin": round_robin,
    "least-connections": least_connections,
    "random-two": random_two,
}
