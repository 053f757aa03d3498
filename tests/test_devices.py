"""Tests with fake tensors on a card, in a process of their own.

Other tests leave torch in a state in which fake tensors cannot be made on a device that the build
does not support.
"""

import re
import sys

from tests.paths import ROOT
from tests.processes import run_command


def test_runs_on_a_card_that_is_not_there():
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:xdist', 'tests/fake_cards.py']
    done = run_command(command, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r'(\d+) passed', done.stdout)[1]) >= 20
