"""The version, in one place: read by the build, the command and the control socket."""

__version__ = "0.1.0"
