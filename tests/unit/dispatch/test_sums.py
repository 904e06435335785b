"""The load of several dispatchers as one."""

from hasup.dispatch.sums import summed


def backend(**more):
    base = {"open": 1, "total": 10, "failed": 0, "ejected": False, "bytes_in": 5, "bytes_out": 7}
    return base | {"connect_s": 0.001, "first_byte_s": 0.01} | more


def load(full=False, **backends):
    return {
        "accepted": 10, "open": 2, "queued": 1, "refused": 3, "refused_for": {"timeout": 1, "queue": 2},
        "full": full, "backends": backends,
    }  # fmt: skip


def test_one_is_itself():
    one = load(a=backend())
    assert summed([one]) == one


def test_counts_are_added_and_times_averaged_by_connections():
    both = summed(
        [load(a=backend(), b=backend()), load(a=backend(total=30, connect_s=0.005, first_byte_s=0.0, ejected=True))]
    )
    assert both == {
        "accepted": 20, "open": 4, "queued": 2, "refused": 6, "refused_for": {"timeout": 2, "queue": 4},
        "full": False,
        "backends": {
            "a": backend(
                open=2, total=40, bytes_in=10, bytes_out=14, connect_s=0.004, first_byte_s=0.0025, ejected=True
            ),
            "b": backend(),
        },
    }  # fmt: skip


def test_it_is_full_when_all_are():
    assert not summed([load(full=True), load()])["full"]
    assert summed([load(full=True), load(full=True)])["full"]


def test_without_a_connection_there_are_no_times():
    both = summed([load(a=backend(total=0, connect_s=0.0)), load(a=backend(total=0, connect_s=0.0))])
    assert both["backends"]["a"]["connect_s"] == 0.0
