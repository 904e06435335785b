"""Where replicas listen: ports and sockets, and what is prepared for them and taken away."""

import os
import socket
import stat

import pytest

from hasup.model.spec import Listen, Program
from hasup.runtime.endpoints import LONGEST, Endpoints, NoPlace
from hasup.runtime.ports import Ports


def program(name="web", user=None, **options):
    return Program(name=name, command=("x",), port="auto", user=user, listen=Listen(address="unix:x", **options))


UNIX = program(replica_address="unix")


@pytest.fixture
def short(tmp_path_factory):
    """A state directory whose path is short, whatever pytest's own is."""
    folder = f"/tmp/hasup-t{os.getpid()}"
    os.mkdir(folder, 0o700)
    yield folder
    for path, _, files in os.walk(folder, topdown=False):
        for file in files:
            os.unlink(os.path.join(path, file))
        os.rmdir(path)


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder that stands in for the machine's."""
    folder = f"/tmp/hasup-r{os.getpid()}"
    os.mkdir(folder, 0o755)
    monkeypatch.setattr("hasup.runtime.endpoints._machines_folder", lambda: folder)
    yield folder
    for path, _, files in os.walk(folder, topdown=False):
        for file in files:
            os.unlink(os.path.join(path, file))
        os.rmdir(path)


def bound(path):
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(path)


def test_a_port_is_at_the_replicas_host(tmp_path):
    endpoints = Endpoints(Ports(), str(tmp_path))
    for host, written in (("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")):
        one = program(name=f"web{len(host)}", replica_host=host)
        endpoints.prepare(one, 1)
        port = endpoints.port(one, 1)
        assert endpoints.text(one, 1) == str(port)
        assert endpoints.address(one, 1) == f"{written}:{port}"
        assert endpoints.path(one, 1) is None


def test_a_socket_is_in_the_state_directory(short):
    endpoints = Endpoints(Ports(), short)
    endpoints.prepare(UNIX, 2)
    assert endpoints.port(UNIX, 2) is None
    assert endpoints.text(UNIX, 2) == f"{short}/sockets/web/2"
    assert endpoints.address(UNIX, 2) == f"unix:{short}/sockets/web/2"
    assert stat.S_IMODE(os.stat(f"{short}/sockets/web").st_mode) == 0o700
    assert not endpoints.ports.changed, "no port was taken"


def test_a_stale_socket_is_removed_before_the_start_and_at_the_end(short):
    endpoints = Endpoints(Ports(), short)
    for after in (
        lambda: endpoints.prepare(UNIX, 1),
        lambda: endpoints.release(UNIX, 1),
        lambda: endpoints.forget("web.1"),
    ):
        endpoints.prepare(UNIX, 1)
        bound(endpoints.text(UNIX, 1))
        after()
        assert os.listdir(f"{short}/sockets/web") == []


def test_a_link_in_place_of_a_socket_is_removed_and_not_what_it_leads_to(short):
    endpoints = Endpoints(Ports(), short)
    endpoints.prepare(UNIX, 1)
    target = os.path.join(short, "precious")
    open(target, "w").close()
    os.symlink(target, endpoints.text(UNIX, 1))
    endpoints.prepare(UNIX, 1)
    assert os.listdir(f"{short}/sockets/web") == []
    assert os.path.exists(target)


def test_a_long_state_directory_leads_outside(tmp_path, outside):
    endpoints = Endpoints(Ports(), str(tmp_path / ("d" * 100)))
    longest = program(name="w" * 64, replica_address="unix")
    endpoints.prepare(longest, 99_999)
    path = endpoints.text(longest, 99_999)
    assert len(path) <= LONGEST
    assert path.startswith(f"{outside}/hasup-")
    bound(path)
    endpoints.forget(f"{'w' * 64}.99999")
    assert not os.path.exists(path)
    endpoints.close()
    assert os.listdir(outside) == [], "nothing is left"


def test_two_hasups_do_not_meet_outside(tmp_path, outside):
    paths = {Endpoints(Ports(), str(tmp_path / (letter * 100))).text(UNIX, 1) for letter in "ab"}
    assert len(paths) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts programs as another user")
def test_another_user_has_a_folder_of_its_own(short, outside):
    endpoints = Endpoints(Ports(), short)
    one = program(user="65534", replica_address="unix")
    endpoints.prepare(one, 1)
    path = endpoints.text(one, 1)
    assert endpoints.address(one, 1) == f"unix@65534:{path}"
    folder = os.stat(os.path.dirname(path))
    assert (folder.st_uid, stat.S_IMODE(folder.st_mode)) == (65534, 0o700)
    above = os.stat(os.path.dirname(os.path.dirname(path)))
    assert (above.st_uid, stat.S_IMODE(above.st_mode)) == (0, 0o711)


def test_a_folder_that_others_can_write_to_is_refused(tmp_path, outside):
    endpoints = Endpoints(Ports(), str(tmp_path / ("d" * 100)))
    folder = os.path.dirname(os.path.dirname(endpoints.text(UNIX, 1)))
    os.mkdir(folder)
    os.chmod(folder, 0o777)
    with pytest.raises(NoPlace, match="is no folder that only hasup can write to"):
        endpoints.prepare(UNIX, 1)
    os.rmdir(folder)
    os.symlink(outside, folder)
    with pytest.raises(NoPlace, match="is no folder that only hasup can write to"):
        endpoints.prepare(UNIX, 1)
    os.unlink(folder)


def test_what_never_fits_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("hasup.runtime.endpoints._machines_folder", lambda: f"/tmp/{'x' * 90}")
    endpoints = Endpoints(Ports(), str(tmp_path / ("d" * 100)))
    with pytest.raises(NoPlace, match="more than 107 bytes"):
        endpoints.prepare(UNIX, 1)
