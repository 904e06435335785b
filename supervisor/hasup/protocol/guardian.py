"""What the guardian and the core say to each other.

Transport: one ``SOCK_SEQPACKET`` socket pair; every packet is one JSON object, at most :data:`MAX_FRAME` bytes, with
up to :data:`MAX_FDS` descriptors attached (``SCM_RIGHTS``). A packet arrives whole or not at all, which is what
makes a decision of the core atomic: its new state and its orders travel in one :data:`frame
<FRAME>` (docs/decisions/0001).

Core to guardian, a frame: ``{"blobs": {slot: text or null}, "do": [order, …]}``. The descriptors attached belong to
the ``keep`` orders in their order, one for each name. Orders (``op`` and its fields):

======== =================================================================================================
spawn    slot, generation, argv, env (over the guardian's own environment; null removes a name), pid_env (names
         set to the child's pid), directory, fds ([[target, name], …]; a name of the store, or "null"), uid, gid,
         groups, umask, nice, rlimits ([[name, soft, hard], …]), cgroup (true: a cgroup of its own where one may
         be made), bounds ({file of that cgroup: text}, such as memory.max). The guardian adds HASUP_INSTANCE and
         HASUP_SLOT to env. Ignored when the slot already has this generation or a later one; refused
         (``spawn-failed``) when something of the slot still lives
signal   slot, generation, signal (number), scope ("main", "group", "tree"), cont (true: SIGCONT after it)
clear    slot, generation, grace_s: wait so long for the slot's tree to be empty, then KILL until it is; answers
         ``emptied``, also for a slot or generation of which there is nothing; asked again it replaces the grace.
         ``stuck`` is reported after 5 s of KILL in vain
forget   slot: drop the slot and its blob (nothing of it may live)
keep     names ([…]): keep the attached descriptors under these names; a name that is taken is replaced
drop     names: close them
ready    the core is up: counts as its heartbeat, resets its restart delay
pong     answer to ping
notify   text, names: send this to systemd (its NOTIFY_SOCKET), with these descriptors of the store
exit     code: every slot is empty; KILL what is not, wait for the core to end, and end with this exit code
upgrade  id, argv, core, env: replace the guardian's program by ``argv`` plus its options, in the same process, and the
         core by ``core``, with ``env`` over the environment: children and descriptors stay. First argv is run once as
         a child, to see that it can read the state; then the new core is tried while the old one stands by, and only
         when it has come up is the guardian replaced. Without ``core`` the core stays as it is
parked   the core stands by: its answer to ``park``, the last that it does
======== =================================================================================================

Guardian to core, one object a packet, ``event`` and its fields:

============ =============================================================================================
hello        first after each start of the core: instance, guardian_pid, started (monotonic seconds), core_restarts,
             core_died (why the last one ended, or null), version, protocol (VERSION), upgrade (how the last one ended:
             {id, cause}, the cause null when it succeeded; or null), upgrading (one is under way)
store        names: the attached descriptors, kept under these names (up to MAX_FDS a packet)
slots        slots: [{slot, generation, pid, cgroup, unbound, phase, exit, error, empty, blob}, …] (several packets);
             phase is "none" (blob only), "spawning", "running", "exited"; exit as in ``exited``; error as in
             ``spawn-failed``
hello-end    the end of the snapshot
spawned      slot, generation, pid, cgroup (the folder made for it, or null), unbound (the bounds asked for that could
             not be set; without a cgroup, none is)
spawn-failed slot, generation, cause (words)
exited       slot, generation, pid, exit_code, signal, core_dump, oom, empty
emptied      slot, generation, killed
stuck        slot, generation, pids
signal       signal (number): the guardian was sent it (INT, TERM, HUP, USR1, USR2). Told again to the next core when
             this one dies before its pong to a ping that came later
ping         answer with pong: the guardian replaces a core that sends nothing for CORE_TIMEOUT_S (30 s at its start)
park         stand by: finish what was begun, answer ``parked``, and then wait for ``hello`` (the new core did not come
             up: go on) or ``dismissed`` (it did: end)
upgraded     version, upgrade: the guardian runs another version of its program from here on
upgrade-     id, cause (words): it does not; nothing has changed
failed
============ =============================================================================================

Nothing is acknowledged one by one: the guardian keeps the latest facts of each slot (also how its last generation
ended) until the next spawn, and tells them to each new core in ``slots``. A spawn that was refused since the slot's
main process lives is told again as ``spawn-failed`` after ``hello-end``.
"""

import json
from typing import Any

MAX_FRAME = 160_000  # under the usual 212,992 bytes of a Unix socket's send buffer
MAX_FDS = 250  # the kernel takes 253
PING_INTERVAL_S = 2.0
CORE_TIMEOUT_S = 5.0
VERSION = 1

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """One packet; raises ``ValueError`` when it is longer than MAX_FRAME."""
    data = json.dumps(message, separators=(",", ":")).encode("utf-8", "surrogateescape")
    if len(data) > MAX_FRAME:
        raise ValueError(f"frame of {len(data)} bytes, at most {MAX_FRAME}")
    return data


def decode(data: bytes) -> Message:
    """The object in one packet; raises ``ValueError`` when it is none."""
    message = json.loads(data)
    if not isinstance(message, dict):
        raise ValueError("a packet holds one JSON object")
    return message
