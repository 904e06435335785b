"""A systemd unit for a configuration."""

import shlex

from hasup.model.spec import Config

_UNIT = """\
# Made by: hasup export systemd -c {file}
# Install: hasup export systemd -c {file} > /etc/systemd/system/{unit}.service
#          systemctl daemon-reload && systemctl enable --now {unit}
[Unit]
Description=hasup: {name}
Documentation=man:systemd.service(5)
After=network.target
# hasup bounds its programs' restarts itself; the unit must not give up on hasup.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command} start -c {file}
ExecReload={command} reload -c {file}
WorkingDirectory={directory}
{state}
Restart=always
RestartSec=1
TimeoutStartSec=120
TimeoutStopSec={stop_timeout}
# Fed only while the deciding process is alive and its loop turns.
WatchdogSec=30
# TERM to hasup alone, which stops its programs in order; KILL to whatever is left.
KillMode=mixed
# A cgroup of its own for each replica: nothing escapes a stop, and memory is counted by the kernel.
Delegate=yes
# An out-of-memory kill of one replica is hasup's to handle, and no reason to stop the unit.
OOMPolicy=continue
# Listening sockets outlive a restart of hasup: no connection is refused meanwhile.
FileDescriptorStoreMax=64
LimitNOFILE=65536
# What no supervisor and few programs need; take out what stands in your programs' way.
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""


def unit(config: Config, command: tuple[str, ...], default_state_dir: bool) -> str:
    """The unit file's text.

    ``command`` starts hasup (absolute). With ``default_state_dir`` systemd provides the state directory, else the
    configured one is used as it is.
    """
    name = config.supervisor.name
    state = f"StateDirectory=hasup/{name}\nStateDirectoryMode=0700" if default_state_dir else "# state_dir is set"
    slowest = max((program.stop.timeout for program in config.programs.values()), default=10.0)
    return _UNIT.format(
        file=_quoted(config.file),
        unit=unit_name(name),
        name=name.replace("%", "%%"),
        command=" ".join(_quoted(word) for word in command),
        directory=_quoted(config.file.rpartition("/")[0] or "/"),
        state=state,
        # Programs that depend on one another are stopped one after another.
        stop_timeout=int(slowest * max(1, len(config.programs))) + 30,
    )


def unit_name(name: str) -> str:
    """A unit name that systemd takes: ``hasup-NAME``."""
    return "hasup-" + "".join(c if c.isalnum() or c in "-_." else "-" for c in name)


def _quoted(word: str) -> str:
    """A word of a unit file: ``%`` and ``$`` mean nothing special in it."""
    escaped = word.replace("%", "%%").replace("$", "$$")
    return shlex.quote(escaped) if any(c in escaped for c in " \t\"'\\;") else escaped
