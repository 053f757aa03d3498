"""tools/quickstart.py: what it would install and run, without installing anything."""

import importlib.util
import sys

import pytest

from tests.paths import ROOT


def load():
    spec = importlib.util.spec_from_file_location('quickstart', ROOT / 'tools/quickstart.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def quickstart(monkeypatch, tmp_path):
    """The script as a module, on an empty clone, its commands recorded."""
    module = load()
    (tmp_path / 'requirements').mkdir()
    for name in ('requirements.txt', 'requirements/openmmlab.txt', 'requirements/tests.txt'):
        (tmp_path / name).write_text(name)
    module.commands = []
    monkeypatch.setattr(module, 'ROOT', tmp_path)
    monkeypatch.setattr(
        module, 'run', lambda c, **kw: module.commands.append(' '.join(map(str, c)))
    )
    monkeypatch.setattr('venv.create', lambda folder, **kw: folder.mkdir(exist_ok=True))
    monkeypatch.setattr(module, 'check_opencv', lambda python: None)
    return module


def call(module, monkeypatch, *args):
    monkeypatch.setattr(sys, 'argv', ['quickstart.py', *args])
    module.commands.clear()
    module.main()
    return list(module.commands)


def test_sets_up_once(quickstart, monkeypatch, tmp_path):
    install, package, demo = call(quickstart, monkeypatch)
    names = (
        'requirements.txt',
        'requirements/deploy.txt',
        'requirements/convert.txt',
        'requirements/tests.txt',
    )
    assert install.endswith(' '.join(f'-r {tmp_path}/{name}' for name in names))
    assert package.endswith(f'--no-deps --editable {tmp_path}')
    assert demo.endswith('tools/demo.py')
    assert call(quickstart, monkeypatch) == [demo]
    (tmp_path / 'requirements.txt').write_text('something newer')
    assert len(call(quickstart, monkeypatch)) == 3
    monkeypatch.setitem(quickstart.STACKS, 'onedl', ('.venv', ['requirements.txt']))
    assert len(call(quickstart, monkeypatch)) == 3


def test_an_interrupted_set_up_is_done_again(quickstart, monkeypatch):
    def interrupted(command, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(quickstart, 'run', interrupted)
        quickstart.set_up('onedl')
    assert len(call(quickstart, monkeypatch, 'test')) == 3


def test_stacks_never_share_an_environment(quickstart, monkeypatch, tmp_path):
    commands = call(quickstart, monkeypatch, 'test', '--stack', 'openmmlab')
    assert all(c.startswith(f'{tmp_path}/.venv-openmmlab/') for c in commands)
    assert 'setuptools<81' in commands[0]
    assert '--no-build-isolation' in commands[1]
    assert 'requirements/openmmlab.txt' in commands[1]
    assert '--no-build-isolation --no-deps --editable' in commands[2]
    assert not any('requirements.txt' in c for c in commands)


def test_arguments_go_to_pytest(quickstart, monkeypatch):
    assert call(quickstart, monkeypatch, 'test', '-m', 'slow')[-1].endswith(
        'pytest -q -n auto --dist worksteal -m slow'
    )


def refused(module, monkeypatch, capsys):
    with pytest.raises(SystemExit) as end:
        call(module, monkeypatch)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ')
    return line


@pytest.mark.parametrize('missing', ['venv', 'ensurepip'])
def test_a_python_without_venv_names_the_package(quickstart, monkeypatch, capsys, missing):
    monkeypatch.setattr(quickstart, 'find_spec', lambda name: None if name == missing else True)
    line = refused(quickstart, monkeypatch, capsys)
    assert 'type "apt install python{}.{}-venv"'.format(*sys.version_info) in line


def test_a_clone_that_cannot_be_written(quickstart, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(quickstart.os, 'access', lambda path, mode: path != tmp_path)
    line = refused(quickstart, monkeypatch, capsys)
    assert f'{tmp_path} cannot be written' in line
    assert quickstart.commands == []


def test_a_ready_environment_needs_neither_network_nor_rights(quickstart, monkeypatch):
    call(quickstart, monkeypatch)
    monkeypatch.setattr(quickstart.os, 'access', lambda path, mode: False)
    assert len(call(quickstart, monkeypatch)) == 1


@pytest.fixture
def python(tmp_path):
    """Make a stand-in for a Python whose import of OpenCV fails."""

    def make(message):
        file = tmp_path / 'python'
        file.write_text(f'#!/bin/sh\necho "{message}" >&2\nexit 1\n')
        file.chmod(0o755)
        return file

    return make


def test_opencv_without_its_libraries_names_the_package(python, capsys):
    module = load()
    missing = 'libGL.so.1: cannot open shared object file: No such file or directory'
    with pytest.raises(SystemExit) as end:
        module.check_opencv(python(f'ImportError: {missing}'))
    assert end.value.code == 2
    assert 'OpenCV needs libGL.so.1 of the system; type "apt install libgl1' in (
        capsys.readouterr().err
    )


def test_a_moved_clone_is_installed_again(quickstart, monkeypatch, tmp_path):
    call(quickstart, monkeypatch)
    moved = tmp_path.rename(tmp_path.with_name('moved'))
    monkeypatch.setattr(quickstart, 'ROOT', moved)
    assert f'--editable {moved}' in call(quickstart, monkeypatch)[1]
