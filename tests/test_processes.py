"""A child is told of the parent's signals, and is waited for."""

import os
import shlex
import signal
import subprocess
import sys

import pytest

from tests.paths import ROOT
from tests.processes import run_command

#: Says that it is ready; on a signal, asks for a line before it ends, as a training that saves.
CHILD = """
import signal, sys
def stop(number, frame):
    print('stopping', flush=True)
    sys.stdin.readline()
    print('saved', flush=True)
    sys.exit(75)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, stop)
print('ready', flush=True)
while True:
    signal.pause()
"""
PARENTS = {
    'run_child': 'from mmseg_pan.processes import run_child as run; code = run({command})',
    'quickstart': (
        'import runpy; run = runpy.run_path("tools/quickstart.py")["run"]; code = run({command})'
    ),
}


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM], ids=['SIGINT', 'SIGTERM'])
@pytest.mark.parametrize('parent', list(PARENTS))
def test_child_saves_before_the_parent_ends(parent, number):
    command = [sys.executable, '-c', CHILD]
    code = PARENTS[parent].format(command=repr(command)) + '\nimport sys; sys.exit(code)'
    process = subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-c', code],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # only the parent gets the signal, as from a cluster
    )
    with process:
        assert process.stdout.readline() == 'ready\n'
        process.send_signal(number)
        assert process.stdout.readline() == 'stopping\n'
        process.stdin.write('\n')
        process.stdin.flush()
        assert process.stdout.readline() == 'saved\n'
        assert process.wait() == 75


def test_exit_code_of_a_signal():
    from mmseg_pan.processes import run_child

    command = [sys.executable, '-c', 'import os, signal; os.kill(os.getpid(), signal.SIGTERM)']
    assert run_child(command) == 128 + signal.SIGTERM
    assert run_child([sys.executable, '-c', 'raise SystemExit(3)']) == 3


def test_a_command_that_hangs_fails_its_test_with_all_that_it_started(tmp_path):
    """The process below outlives its parent, and holds the test's output."""
    child = f'import os, signal; open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))'
    command = f'"{sys.executable}" -c {shlex.quote(child + "; signal.pause()")} & wait'
    with pytest.raises(pytest.fail.Exception, match='did not end in 2 s') as failed:
        run_command(['bash', '-c', command], seconds=2)
    assert 'in <module>' in str(failed.value)  # where the child stands
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / 'pid').read_text()), 0)


def test_a_command_gives_its_output_and_its_code():
    code = 'import sys; print("out"); print("err", file=sys.stderr); sys.exit(3)'
    done = run_command([sys.executable, '-c', code])
    assert (done.returncode, done.stdout, done.stderr) == (3, 'out\n', 'err\n')
