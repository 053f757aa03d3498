#!/usr/bin/env python3
"""Set up a fresh clone and run the demo or the tests; needs only Python 3.10 or newer.

    python3 tools/quickstart.py         set up, train PAN and FCN on toy data, compare
    python3 tools/quickstart.py test    set up, run the tests

Both can be run again, also without a network, and skip finished steps. The environment is in .venv
(.venv-openmmlab for --stack openmmlab, and so on), and its Python imports mmseg_pan from any
folder; remove the folder to start over.
"""

import argparse
import hashlib
import os
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

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
    # The folder's name too: the package is installed from where it lies.
    text = [str(ROOT).encode(), *(name.encode() for name in requirements)]
    text += [file.read_bytes() for file in files]
    digest = hashlib.sha256(b''.join(text)).hexdigest()
    if stamp.is_file() and stamp.read_text() == digest:
        return python
    check_machine()
    print(f'Setting up {folder} (once) ...', flush=True)
    make_environment(folder)
    pip = [python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check']
    if stack == 'openmmlab':
        # Building mmcv needs torch installed first, and a setuptools with pkg_resources.
        run([*pip, 'torch==2.13.0', 'setuptools<81', 'wheel'])
        pip.append('--no-build-isolation')
    names = [*requirements, 'requirements/tests.txt']
    run([*pip, *(part for name in names for part in ('-r', ROOT / name))])
    run([*pip, '--no-deps', '--editable', ROOT])
    check_opencv(python)
    stamp.write_text(digest)  # last: an interrupted setup is repeated
    return python


def refuse(sentence: str) -> NoReturn:
    """Exit as the other tools do on a user error."""
    print(f'error: {sentence}', file=sys.stderr)
    sys.exit(2)


def check_machine() -> None:
    """Exit with an error message if no environment can be made."""
    if not (find_spec('venv') and find_spec('ensurepip')):
        package = 'python{}.{}-venv'.format(*sys.version_info)
        refuse(
            'This Python cannot make virtual environments (venv and ensurepip are missing); type '
            f'"apt install {package}" on Debian and Ubuntu, and the same command again.'
        )
    if not os.access(ROOT, os.W_OK):
        refuse(
            f'{ROOT} cannot be written, and the environment goes there; clone the repository into '
            'a folder of your own and type the same command there.'
        )


def make_environment(folder: Path) -> None:
    """Make a virtual environment."""
    import venv  # checked before: Debian packs it separately

    venv.create(folder, with_pip=True)


def check_opencv(python: Path) -> None:
    """Exit with an error message if OpenCV lacks system libraries, as on many servers."""
    done = subprocess.run([python, '-c', 'import cv2'], capture_output=True, text=True)
    if done.returncode and 'cannot open shared object file' in done.stderr:
        library = done.stderr.strip().splitlines()[-1].split(': ')[1]
        refuse(
            f'OpenCV needs {library} of the system; type "apt install libgl1 libglib2.0-0" on '
            'Debian and Ubuntu, and the same command again.'
        )


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
    parser.error = lambda message: refuse(f'{message}; type "tools/quickstart.py --help".')
    parser.add_argument('what', nargs='?', choices=['demo', 'test'], default='demo')
    parser.add_argument('--stack', choices=list(STACKS), default='onedl')
    args, more = parser.parse_known_args()
    if sys.version_info < (3, 10):  # noqa: UP036  this script must say so itself
        refuse(f'Python 3.10 or newer is needed, this is {sys.version.split()[0]}.')
    python = set_up(args.stack)
    if args.what == 'test':
        # One process a core, one thread a process; one that is done takes tests from another.
        environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
        parallel = ['-n', 'auto', '--dist', 'worksteal']
        run([python, '-m', 'pytest', '-q', *parallel, *more], env=environment)
    else:
        run([python, ROOT / 'tools/demo.py', *more])


if __name__ == '__main__':
    main()
