#!/usr/bin/env python3
"""Set up a fresh clone and run the demo or the tests; needs only Python 3.10 or newer.

    python3 tools/quickstart.py         set up, train PAN and FCN on toy data, compare
    python3 tools/quickstart.py test    set up, run the tests

Both can be run again and skip finished steps. The environment is in .venv
(.venv-openmmlab for --stack openmmlab, and so on); remove the folder to start over.
"""

import argparse
import hashlib
import os
import runpy
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STACKS = {
    'onedl': (
        '.venv',
        ['requirements.txt', 'requirements/deploy.txt', 'requirements/convert.txt'],
    ),
    'openmmlab': ('.venv-openmmlab', ['requirements/openmmlab.txt']),
    'mmpretrain': ('.venv-mmpretrain', ['requirements/mmpretrain.txt']),
}


def set_up(stack: str) -> Path:
    """Create the virtual environment of a stack, unless it exists and is up to date.

    Returns:
        Its Python.
    """
    name, requirements = STACKS[stack]
    folder = ROOT / name
    python = folder / ('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
    stamp = folder / 'requirements.sha256'
    files = [ROOT / 'requirements.txt', *sorted((ROOT / 'requirements').glob('*.txt'))]
    text = [*(name.encode() for name in requirements), *(f.read_bytes() for f in files)]
    digest = hashlib.sha256(b''.join(text)).hexdigest()
    if stamp.is_file() and stamp.read_text() == digest:
        return python
    print(f'Setting up {folder} (once) ...', flush=True)
    venv.create(folder, with_pip=True)
    pip = [python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check']
    if stack == 'openmmlab':
        # Building mmcv needs torch installed first, and a setuptools with pkg_resources.
        run([*pip, 'torch==2.13.0', 'setuptools<81', 'wheel'])
        pip.append('--no-build-isolation')
    names = [*requirements, 'requirements/tests.txt']
    run([*pip, *(part for name in names for part in ('-r', ROOT / name))])
    stamp.write_text(digest)  # last: an interrupted setup is repeated
    return python


def run(command: list, **options) -> None:
    """Run a command in the repository; end with its exit code where it fails."""
    # From its file: the package cannot be imported before its requirements are installed.
    run_child = runpy.run_path(str(ROOT / 'mmseg_pan/processes.py'))['run_child']
    code = run_child(command, cwd=ROOT, **options)
    if code:
        sys.exit(code)


def main() -> None:
    """Set up, then run the demonstration or the tests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('what', nargs='?', choices=['demo', 'test'], default='demo')
    parser.add_argument('--stack', choices=list(STACKS), default='onedl')
    args, more = parser.parse_known_args()
    if sys.version_info < (3, 10):  # noqa: UP036  this script must say so itself
        sys.exit(f'error: Python 3.10 or newer is needed, this is {sys.version.split()[0]}.')
    python = set_up(args.stack)
    if args.what == 'test':
        # One process a core, and one thread a process: files of tests side by side.
        environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
        parallel = ['-n', 'auto', '--dist', 'loadfile']
        run([python, '-m', 'pytest', '-q', *parallel, *more], env=environment)
    else:
        run([python, '-W', 'ignore', ROOT / 'tools/demo.py', *more])


if __name__ == '__main__':
    main()
