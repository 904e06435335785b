"""hasup's own programs in a configuration."""

from hasup.model.spec import Config, Listen, Program, SupervisorOptions
from hasup.runtime.internal import CONSOLE, prepare, renewed, without_internal

WEB = Program(name="web", command=("python", "-m", "shop"), port="auto", listen=Listen(address="127.0.0.1:1"))
WRITTEN = Config(
    file="/none/hasup.toml", supervisor=SupervisorOptions(name="shop", state_dir="/none"), programs={"web": WEB}
)


def test_an_upgrade_moves_its_own_programs_and_no_others():
    before = prepare(WRITTEN, python=("/old/python", "-P"), console=True)
    after = renewed(before, ("/new/python", "-E", "-P"))
    own = {"web:dispatcher": "hasup.dispatch", CONSOLE: "hasup.ui.console"}
    for name, module in own.items():
        assert after.programs[name].command[:5] == ("/new/python", "-E", "-P", "-m", module)
        assert after.programs[name].command[5:] == before.programs[name].command[4:]
        assert after.programs[name].env == before.programs[name].env
    assert after.programs.keys() == {"web", *own}
    assert without_internal(after) == WRITTEN
    assert renewed(after, ("/old/python", "-P")) == before
