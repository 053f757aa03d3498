"""Tools run by a user whose rights to files are checked: for tests that run as root, too."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT

#: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: root's rights to write and read everywhere.
_RIGHTS = (1, 2)

#: Runs command lines one after the other, to import the libraries once.
_RUNNER = """
import contextlib, io, json, runpy, sys, traceback
found = []
for tool, *arguments in json.load(sys.stdin):
    output, errors, code = io.StringIO(), io.StringIO(), 0
    sys.argv = [tool, *arguments]
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            runpy.run_path(tool, run_name='__main__')
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
            code = 1
    found.append((code, output.getvalue(), errors.getvalue()))
print(json.dumps(found), file=sys.__stdout__)
"""


def obey_file_modes() -> None:
    """Give up root's rights, in this process and in what it executes (``preexec_fn``).

    A program that root executes gets all rights of the bounding set again.
    """
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for right in _RIGHTS:
            libc.prctl(24, right, 0, 0, 0)  # PR_CAPBSET_DROP
        header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        libc.capget(header, sets)
        for index in range(3):
            sets[index] &= ~sum(1 << right for right in _RIGHTS)
        libc.capset(header, sets)


def rights_are_checked(folder: Path) -> bool:
    """Whether such a process cannot write into a folder of mode 0o555."""
    code = f'open({str(folder / "file")!r}, "w")'
    done = subprocess.run([sys.executable, '-c', code], preexec_fn=obey_file_modes, stderr=-3)
    return done.returncode != 0


def run_tools(lines: list[list], cwd: Path, **environment) -> list[subprocess.CompletedProcess]:
    """Run command lines of tools in one process without root's rights.

    Args:
        lines: A tool's path below tools/ and its arguments, each.
        cwd: Folder to run them in.
        **environment: Variables beside those of this process.
    """
    commands = [[str(ROOT / 'tools' / line[0]), *map(str, line[1:])] for line in lines]
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', _RUNNER],
        input=json.dumps(commands),
        cwd=cwd,
        preexec_fn=obey_file_modes,
        capture_output=True,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1', **environment},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    return [
        subprocess.CompletedProcess(command, *result)
        for command, result in zip(commands, found, strict=True)
    ]
