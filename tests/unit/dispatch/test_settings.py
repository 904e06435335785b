"""The orders in the environment."""

import pytest

from hasup.dispatch.settings import BadSettings, Settings


def test_what_is_left_out_has_a_default():
    settings = Settings('{"name": "web", "listen_fd": 7, "drain_timeout": 2}')
    assert (settings.name, settings.listen_fd, settings.control_fd) == ("web", 7, 4)
    assert (settings.drain_timeout, settings.queue_timeout) == (2.0, 10.0)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "web", "listen_fd": "x"}', '{"name": "w", "quiet": null}',
                                  '{"name": "w", "balance": "magic"}'])  # fmt: skip
def test_nonsense_is_refused(text):
    with pytest.raises(BadSettings):
        Settings(text)
