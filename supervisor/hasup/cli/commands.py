"""The commands by section, each with its line of help. Their modules are imported when they are run."""

from typing import Final

SECTIONS: Final[dict[str, dict[str, str]]] = {
    "Run": {
        "start": "Start hasup, or programs of a running one.",
        "stop": "Stop programs, or everything and hasup itself.",
        "restart": "Stop programs and start them again, at once.",
        "reload": "Read the configuration again, or replace programs one by one.",
        "scale": "Change how many replicas of a program run.",
        "signal": "Send a signal to programs.",
        "run": "Run a command once, in the environment of the configuration.",
        "upgrade": "Go over to this version of hasup, while programs run on.",
    },
    "Look": {
        "status": "Show what runs.",
        "top": "Watch what runs, and act on it by key.",
        "logs": "Show what programs wrote.",
        "events": "Show what happened, and why.",
        "why": "Tell what happened to a program or replica last.",
        "history": "Show when programs were up, as a bar.",
        "metrics": "Print measurements for Prometheus.",
        "report": "Show how available programs were.",
        "simulate": "Show what availability to expect.",
    },
    "Set up": {
        "init": "Write a first hasup.toml.",
        "diff": "Show what a reload would change.",
        "check": "Check the configuration.",
        "config": "Show the configuration with every default filled in.",
        "schema": "Print the JSON Schema of hasup.toml, for editors.",
        "export": "Print a systemd unit for the configuration.",
        "completion": "Print the completion script for a shell.",
    },
    "Other": {
        "notify": "Tell hasup something from inside a program.",
        "version": "Show the version of this command and of the running hasup.",
    },
}

NAMES: Final = tuple(name for section in SECTIONS.values() for name in section)
