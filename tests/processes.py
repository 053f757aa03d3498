"""Commands that a test starts, none of which can outlive it."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence

import pytest


def run_command(
    command: Sequence, seconds: float = 300, env: dict | None = None, **options
) -> subprocess.CompletedProcess:
    """Run a command with all that it starts, and keep its output as text.

    ``subprocess.run(timeout=...)`` ends the command alone, and then waits for its output until
    the last process below it has ended: a training below ``dist_train.sh`` that hangs would hang
    the test for ever. Here they form a group that is ended as one, after each of its Python
    processes has shown where it stands.

    Args:
        command: Program and arguments.
        seconds: After these it fails the test.
        env: Environment; that of this process if None.
        **options: As for :class:`subprocess.Popen`.
    """
    command = [str(part) for part in command]
    env = dict(os.environ if env is None else env, PYTHONFAULTHANDLER='1')
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as err:
        process = subprocess.Popen(
            command, stdout=out, stderr=err, env=env, start_new_session=True, **options
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGABRT)  # Python's fault handler prints the stacks
            code = None
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                pass
        finally:
            if process.poll() is None or code is None:
                _end(process)
        out.seek(0)
        err.seek(0)
        stdout, stderr = out.read(), err.read()
    if code is None:
        pytest.fail(f'{command} did not end in {seconds} s.\n{stdout[-3000:]}\n{stderr[-12000:]}')
    return subprocess.CompletedProcess(command, code, stdout, stderr)


def _end(process: subprocess.Popen) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
