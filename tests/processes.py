"""Commands that a test starts, none of which can outlive it."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.paths import ROOT


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


def send_signal(number: int, pids: Sequence[int]) -> None:
    """Send a signal by another process, by bash's own command: not every machine has ``kill``."""
    command = ['bash', '-c', 'kill "$@"', 'bash', f'-{int(number)}', *map(str, pids)]
    subprocess.run(command, check=True)


class ToolServer:
    """Runs tools as :func:`run_command` does, without the seconds that their imports take.

    Args:
        env: Environment of the process that imports; that of a tool may differ in everything but
            what is read while modules are imported, such as ``OMP_NUM_THREADS``.
    """

    def __init__(self, env: dict):
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'tests.tool_server'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=dict(env, PYTHONFAULTHANDLER='1'),
            cwd=ROOT,
        )

    def run(
        self, command: Sequence, cwd: Path, env: dict, seconds: float = 300
    ) -> subprocess.CompletedProcess:
        """Run a tool and keep its output as text.

        Args:
            command: Path of the tool and its arguments.
            cwd: Its folder.
            env: Its environment.
            seconds: After these it fails the test.
        """
        command = [str(part) for part in command]
        with tempfile.NamedTemporaryFile('r') as out, tempfile.NamedTemporaryFile('r') as err:
            request = dict(command=command, cwd=str(cwd), env=env, stdout=out.name, stderr=err.name)
            print(json.dumps(request), file=self._process.stdin)
            group = int(self._process.stdout.readline())
            late = not select.select([self._process.stdout], [], [], seconds)[0]
            if late:
                os.killpg(group, signal.SIGKILL)
            code = int(self._process.stdout.readline())
            stdout, stderr = out.read(), err.read()
        if late:
            pytest.fail(f'{command} did not end in {seconds} s.\n{stdout[-3000:]}\n{stderr}')
        return subprocess.CompletedProcess(command, code, stdout, stderr)

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()


def _end(process: subprocess.Popen) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
