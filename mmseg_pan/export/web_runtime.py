"""The files of onnxruntime-web that run a network in a browser, from npm or from a path."""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from mmseg_pan.errors import UserError

PACKAGE, VERSION = 'onnxruntime-web', '1.30.0'
#: The plain build, without WebGPU: 14 MB, where others are above the 25 MiB that hosts allow.
#: SHA-256 of each file, so that a page never holds code that was not looked at.
FILES = {
    'ort.wasm.min.mjs': '219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b',
    'ort-wasm-simd-threaded.mjs': (
        'e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b'
    ),
    'ort-wasm-simd-threaded.wasm': (
        '3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2'
    ),
}
_MINUTES = 5
_OTHERWISE = f'give {PACKAGE} {VERSION} (its .tgz, or a folder) with --onnxruntime-web PATH'


def runtime_files(path: Path | None = None) -> dict[str, bytes]:
    """Read the run time's files.

    Args:
        path: The package as npm packs it (.tgz), or a folder with its files, such as
            node_modules/onnxruntime-web. None: npm fetches it, or takes it from its cache.

    Returns:
        Contents by name, as in :data:`FILES`.

    Raises:
        UserError: If it is not to be found, or is another version.
    """
    if path is None:
        with tempfile.TemporaryDirectory() as folder:
            return runtime_files(_pack(Path(folder)))
    if path.is_dir():
        found = _from_folder(path)
    elif path.is_file():
        found = _from_archive(path)
    else:
        raise UserError(f'{path} does not exist; {_OTHERWISE}.')
    for name, digest in FILES.items():
        if name not in found:
            raise UserError(f'{path} has no dist/{name}; {_OTHERWISE}.')
        if hashlib.sha256(found[name]).hexdigest() != digest:
            raise UserError(
                f'{name} in {path} is not that of {PACKAGE} {VERSION} (its SHA-256 is another); '
                f'{_OTHERWISE}.'
            )
    return found


def _pack(folder: Path) -> Path:
    """Let npm put the package's archive into a folder; it runs none of the package's code."""
    npm = shutil.which('npm')
    if npm is None:
        raise UserError(
            f'npm, which fetches {PACKAGE}, is not installed; install it, or {_OTHERWISE}.'
        )
    command = [npm, 'pack', f'{PACKAGE}@{VERSION}', '--prefer-offline', '--silent']
    try:
        run = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=60 * _MINUTES
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f'npm did not fetch {PACKAGE} within {_MINUTES} minutes; try again, or {_OTHERWISE}.'
        ) from None
    archives = list(folder.glob('*.tgz'))
    if run.returncode or not archives:
        lines = [line for line in run.stderr.splitlines() if line.strip()] or ['no reason given']
        raise UserError(f'npm did not fetch {PACKAGE} ({lines[0][:80]}); {_OTHERWISE}.')
    return archives[0]


def _from_folder(folder: Path) -> dict[str, bytes]:
    place = folder / 'dist' if (folder / 'dist').is_dir() else folder
    return {name: (place / name).read_bytes() for name in FILES if (place / name).is_file()}


def _from_archive(file: Path) -> dict[str, bytes]:
    found = {}
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                name = member.name.rpartition('/')[2]
                if member.isfile() and member.name == f'package/dist/{name}' and name in FILES:
                    found[name] = archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f'{file} cannot be read as a .tgz ({error}); {_OTHERWISE}.') from None
    return found
