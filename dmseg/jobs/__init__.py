"""Long jobs: units of work, where they run, what is remembered of them, and how they end.

A job is a pure function ``unit -> result`` and a list of units. :func:`run` applies it on a :class:`Backend`; a
:class:`Ledger` is the folder that remembers what is done, so that a job can be stopped, continued and divided. What the
units are is known to the layers above: sources of a build, blocks of an evaluation, images of a phantom.
"""

from dmseg.jobs.backends import BACKENDS, INLINE, Backend, WorkerLostError, explain_lost_worker, run
from dmseg.jobs.ledger import Ledger, guard_disk, write_json
from dmseg.jobs.limits import Calls, CallTimeoutError, Watched, limit_time
from dmseg.jobs.sessions import peak_memory, session_facts
from dmseg.jobs.shards import WHOLE, check_shard, read_shard, take_shard, torchrun_shard
from dmseg.jobs.stopping import end_with_parent

__all__ = [
    "BACKENDS",
    "INLINE",
    "WHOLE",
    "Backend",
    "CallTimeoutError",
    "Calls",
    "Ledger",
    "Watched",
    "WorkerLostError",
    "check_shard",
    "end_with_parent",
    "explain_lost_worker",
    "guard_disk",
    "limit_time",
    "peak_memory",
    "read_shard",
    "run",
    "session_facts",
    "take_shard",
    "torchrun_shard",
    "write_json",
]
