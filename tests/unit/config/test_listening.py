# ruff: noqa: E501 - whole messages, one a line
"""How the options of listen fit together."""

import pytest

WHY = 'with listen.replica_address = "unix" PORT is the path of a socket'


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (
            'port = 8000\nlisten = { address = "a:1", replica_address = "unix" }',
            [f'port: {WHY}: write port = "auto", or leave it out'],
        ),
        (
            'ready.tcp = "127.0.0.1:${PORT}"\nhealth.http = "http://a:${PORT}/x"\nlisten = { address = "a:1", replica_address = "unix" }',
            [f'ready.tcp: {WHY}: write "unix:${{PORT}}"', f'health.http: {WHY}: write "http://unix:${{PORT}}:/"'],
        ),
        (
            'listen = { address = "a:1", replica_address = "unix", replica_host = "::1" }',
            [f"listen.replica_host: {WHY}, at no host"],
        ),
        (
            'listen = { address = "a:1", mode = "share", replica_address = "unix" }',
            ['listen.replica_address: belongs to mode = "proxy"'],
        ),
        (
            'listen = { address = "a:1", replica_host = "localhost" }',
            ['listen.replica_host: expected an address of this machine as a number, such as "::1"'],
        ),
        (
            'listen = { address = "a:1", replica_host = "0.0.0.0" }',
            ['listen.replica_host: expected an address of this machine as a number, such as "::1"'],
        ),
        (
            'listen = { address = "a:1", replica_host = "fe80::1%lo" }',
            ['listen.replica_host: expected an address of this machine as a number, such as "::1"'],
        ),
    ],
)
def test_what_does_not_fit(program_faults, text, faults):
    assert [fault.split(".web.", 1)[1] for fault in program_faults(text)] == faults


@pytest.mark.parametrize(
    "text",
    [
        'ready.tcp = "unix:${PORT}"\nhealth.http = "http://unix:${PORT}:/x"\nlisten = { address = "a:1", replica_address = "unix" }',
        'ready.http = "http://[::1]:${PORT}/"\nlisten = { address = "a:1", replica_host = "::1" }',
        'ready.http = "http://127.0.0.1:9000/"\nlisten = { address = "a:1", replica_address = "unix" }',
    ],
)
def test_what_fits(folder, text):
    folder.load(f'[programs.web]\ncommand = "x"\n{text}\n')
