"""A child process that gets the signals of its parent."""

import signal
import subprocess
import threading
from collections.abc import Sequence

#: What a terminal or a cluster sends to end a job.
FORWARDED = (signal.SIGINT, signal.SIGTERM)


def run_child(command: Sequence, **options) -> int:
    """Run a command, hand it SIGINT and SIGTERM, and wait until it has ended.

    ``subprocess.run`` kills its child a quarter of a second after Ctrl-C, and leaves it behind on
    SIGTERM: too early for a training that saves, and an orphan that trains on.

    Args:
        command: Program and arguments.
        **options: As for :class:`subprocess.Popen`.

    Returns:
        Its exit code; as a shell has it, 128 plus the signal's number where a signal ended it.
    """
    process = subprocess.Popen([str(part) for part in command], **options)
    if threading.current_thread() is not threading.main_thread():  # no handlers there
        code = process.wait()
    else:
        before = {
            number: signal.signal(number, lambda received, frame: process.send_signal(received))
            for number in FORWARDED
        }
        try:
            code = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return code if code >= 0 else 128 - code
