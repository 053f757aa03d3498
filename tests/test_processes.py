"""A child is told of the parent's signals, and is waited for."""

import signal
import subprocess
import sys

import pytest

from tests.paths import ROOT

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
