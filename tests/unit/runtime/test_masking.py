"""No secret in what is shown."""

import time

import pytest

from hasup.runtime import masking


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASSWORD", "PGPASSWORD", "password", "--password", "DB_PWD", "--api-key", "apikey", "GITHUB_TOKEN",
        "AWS_SECRET_ACCESS_KEY", "--auth", "CLIENT_CREDENTIALS", "ssh-passphrase", "private_key",
    ],
)  # fmt: skip
def test_what_sounds_secret(name):
    assert masking.is_secret(name)


@pytest.mark.parametrize("name", ["PWD", "OLDPWD", "HOME", "--port", "keyboard", "monkey", "author", "bypass", "PATH"])
def test_what_does_not(name):
    assert not masking.is_secret(name)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["web", "--password", "hunter2", "--port", "80"], ["web", "--password", "***", "--port", "80"]),
        (["web", "--token=abc", "-e", "API_KEY=xyz"], ["web", "--token=***", "-e", "API_KEY=***"]),
        (["web", "--key", "--verbose"], ["web", "--key", "--verbose"]),
        (["web", "postgres://u:hunter2@db/shop"], ["web", "postgres://u:***@db/shop"]),
        (
            ["DB_PASSWORD=hunter2 web --secret 'a b' http://a:b@c"],
            ["DB_PASSWORD=*** web --secret *** http://a:***@c"],
        ),
        (["web", "http://127.0.0.1:8000/"], ["web", "http://127.0.0.1:8000/"]),
    ],
)
def test_arguments(words, shown):
    assert masking.arguments(words) == shown


def test_values_of_variables_in_output():
    values = masking.values(
        {"DB_PASSWORD": "hunter2hunter2", "API_TOKEN": "hunter2", "PIN_KEY": "1", "HOME": "/home/x"}
    )
    assert masking.without(["login hunter2hunter2 at /home/x", "hunter2!", "1"], values) == [
        "login *** at /home/x",
        "***!",
        "1",
    ]


@pytest.mark.parametrize("line", ["a" * 100_000, "a://" * 20_000, "--key-" * 10_000, "key=" * 20_000, "_key" * 20_000])
def test_no_line_takes_long(line):
    began = time.thread_time()
    masking.without([line[:500]] * 60, ["x" * 10])
    masking.text(line[:5000])
    assert time.thread_time() - began < 5.0
