import os

from hasup.loop import Loop


def test_a_timer_may_be_further_away_than_epoll_can_count() -> None:
    loop = Loop()
    called: list[int] = []
    reader, writer = os.pipe()
    os.write(writer, b"x")  # so that the turn ends at once
    loop.add(reader, called.append)
    loop.call_later(365 * 86400.0, lambda: called.append(-1))
    loop.turn()
    assert len(called) == 1
    assert called != [-1]
    loop.close()
    os.close(reader)
    os.close(writer)
