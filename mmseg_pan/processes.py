"""A child process that receives the signals of its parent."""

import signal
import subprocess
import threading
from collections.abc import Sequence
from types import FrameType

#: What a terminal or a cluster sends to end a job.
FORWARDED = (signal.SIGINT, signal.SIGTERM)


def run_child(command: Sequence, **options) -> int:
    """Run a command, hand it SIGINT and SIGTERM, and wait until it has ended.

    ``subprocess.run`` kills its child a quarter of a second after Ctrl-C, and leaves it behind on
    SIGTERM: too early for a run that saves its state, and an orphan that keeps training.

    Args:
        command: Program and arguments.
        **options: As for :class:`subprocess.Popen`.

    Returns:
        Its exit code; as a shell has it, 128 plus the signal's number where a signal ended it.
    """
    command = [str(part) for part in command]
    if threading.current_thread() is not threading.main_thread():  # no handlers there
        code = subprocess.Popen(command, **options).wait()
        return code if code >= 0 else 128 - code
    process, early = None, []

    def forward(received: int, frame: FrameType | None) -> None:
        if process is None:
            early.append(received)
        else:
            process.send_signal(received)

    # The child inherits ignored signals, as in a background job: they stay ignored.
    heeded = [number for number in FORWARDED if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, forward) for number in heeded}
    try:
        process = subprocess.Popen(command, **options)
        for number in early:  # came while the child was started
            process.send_signal(number)
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code
