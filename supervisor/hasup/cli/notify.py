"""``hasup notify``."""

import os
import time

import click

from hasup.cli.errors import Failure


def _pid(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """A number, or the process that runs ``hasup notify``."""
    if value is None or value == "parent":
        return os.getppid() if value else None
    if not (value.isdecimal() and value.isascii()) or int(value) == 0:
        raise click.BadParameter(f"{value!r} is no process id; --pid alone comes last and means the calling process")
    return int(value)


@click.command()
@click.option("--ready", is_flag=True, help="The program is ready (READY=1).")
@click.option("--stopping", is_flag=True, help="The program is on its way to its end (STOPPING=1).")
@click.option("--reloading", is_flag=True, help="The program reloads its configuration (RELOADING=1).")
@click.option("--heartbeat", is_flag=True, help="The program is alive (WATCHDOG=1).")
@click.option("--status", metavar="TEXT", help="What the program is doing, in one line.")
@click.option(
    "--pid",
    is_flag=False,
    flag_value="parent",
    callback=_pid,
    metavar="[PID]",
    help="The program's main process (MAINPID); default: the one that runs this command.",
)
@click.argument("assignments", nargs=-1, metavar="[NAME=VALUE]...")
def command(
    ready: bool,
    stopping: bool,
    reloading: bool,
    heartbeat: bool,
    status: str | None,
    pid: int | None,
    assignments: tuple[str, ...],
) -> int:
    """Tell hasup something from inside a program, as systemd-notify does: from a shell script, say."""
    from hasup.client import notify

    lines = ["READY=1"] * ready + ["STOPPING=1"] * stopping + ["WATCHDOG=1"] * heartbeat
    if reloading:
        lines += ["RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"]
    if status is not None:
        lines.append("STATUS=" + status.replace("\n", " "))
    if pid is not None:
        lines.append(f"MAINPID={pid}")
    for assignment in assignments:
        if "=" not in assignment:
            raise Failure(f"{assignment!r} is not of the form NAME=VALUE", 2)
        lines.append(assignment)
    if not lines:
        raise Failure("nothing to tell; see: hasup notify --help", 2)
    if not os.environ.get("NOTIFY_SOCKET"):
        raise Failure("there is nobody to tell: NOTIFY_SOCKET is not set (is this run by hasup or systemd?)")
    if not notify("\n".join(lines)):
        raise Failure("the message could not be sent to NOTIFY_SOCKET")
    return 0
