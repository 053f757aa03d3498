"""A child is told of the parent's signals, and is waited for."""

import os
import select
import signal
import subprocess
import sys

import pytest

from tests.paths import ROOT
from tests.processes import run_command

#: Says that it is ready; on a signal, asks for a line before it ends, as a training that saves.
#: By os.write: the signal may come while the child is still inside of a print.
CHILD = """
import os, select, signal, sys
def stop(number, frame):
    os.write(1, b'stopping\\n')
    sys.stdin.readline()
    os.write(1, b'saved\\n')
    sys.exit(75)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, stop)
os.write(1, b'ready\\n')
while True:
    select.select([], [], [], 0.1)  # pause() would miss a signal that comes just before it
"""
PARENTS = {
    'run_child': 'from mmseg_pan.processes import run_child as run\n',
    'quickstart': 'import runpy; run = runpy.run_path("tools/quickstart.py")["run"]\n',
}


def start(code: str) -> subprocess.Popen:
    """Start a parent with pipes to its child, which gets no signal but the parent's."""
    return subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-c', code],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # only the parent gets the signal, as from a cluster
    )


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM], ids=['SIGINT', 'SIGTERM'])
@pytest.mark.parametrize('parent', list(PARENTS))
def test_child_saves_before_the_parent_ends(parent, number):
    command = [sys.executable, '-c', CHILD]
    code = f'{PARENTS[parent]}code = run({command})\nimport sys; sys.exit(code)'
    with start(code) as process:
        assert process.stdout.readline() == 'ready\n'
        process.send_signal(number)
        assert process.stdout.readline() == 'stopping\n'
        process.stdin.write('\n')
        process.stdin.flush()
        assert process.stdout.readline() == 'saved\n'
        assert process.wait() == 75


#: Starts a child that a signal ends, and sends itself one just before or just after it.
RACE = """
import os, subprocess
start = subprocess.Popen
def popen(*args, **options):
    {before}
    process = start(*args, **options)
    {after}
    return process
subprocess.Popen = popen
"""


@pytest.mark.parametrize(('when', 'number'), [('before', signal.SIGINT), ('after', signal.SIGTERM)])
@pytest.mark.parametrize('parent', list(PARENTS))
def test_signal_while_the_child_is_started(parent, when, number):
    kill = f'os.kill(os.getpid(), {int(number)})'
    race = RACE.format(**{'before': 'pass', 'after': 'pass', when: kill})
    command = ['sh', '-c', 'read line; echo left behind']
    code = f'{PARENTS[parent]}{race}code = run({command})\nimport sys; sys.exit(code)'
    with start(code) as process:
        assert process.wait() == 128 + number
        process.stdin.close()  # a child that was left behind writes its line now
        assert process.stdout.read() == ''


def test_handlers_are_those_of_before_and_ignored_signals_stay_ignored():
    from mmseg_pan.processes import run_child

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a background job
        assert run_child(['sh', '-c', 'kill -INT $$; exit 3']) == 3
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        with pytest.raises(FileNotFoundError):
            run_child(['no such program'])
        assert signal.getsignal(signal.SIGTERM) is before[signal.SIGTERM]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_exit_code_of_a_signal():
    from mmseg_pan.processes import run_child

    command = [sys.executable, '-c', 'import os, signal; os.kill(os.getpid(), signal.SIGTERM)']
    assert run_child(command) == 128 + signal.SIGTERM
    assert run_child([sys.executable, '-c', 'raise SystemExit(3)']) == 3


def test_a_command_that_hangs_fails_its_test_with_all_that_it_started():
    """The process below outlives its parent, and holds the test's output and a pipe."""
    child = f'"{sys.executable}" -c "import signal; signal.pause()" & wait'
    read, write = os.pipe()
    with pytest.raises(pytest.fail.Exception, match='did not end in 2 s') as failed:
        run_command(['bash', '-c', child], seconds=2, pass_fds=[write])
    os.close(write)
    assert 'in <module>' in str(failed.value)  # where the child stands
    ended, _, _ = select.select([read], [], [], 10)
    assert ended and os.read(read, 1) == b''  # nobody holds the other end
    os.close(read)


def test_a_command_gives_its_output_and_its_code():
    code = 'import sys; print("out"); print("err", file=sys.stderr); sys.exit(3)'
    done = run_command([sys.executable, '-c', code])
    assert (done.returncode, done.stdout, done.stderr) == (3, 'out\n', 'err\n')
