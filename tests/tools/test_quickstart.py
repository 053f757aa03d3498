"""tools/quickstart.py: what it would install and run, without installing anything."""

import importlib.util
import sys

import pytest

from tests.paths import ROOT


@pytest.fixture
def quickstart(monkeypatch, tmp_path):
    """The script as a module, on an empty clone, its commands recorded."""
    spec = importlib.util.spec_from_file_location('quickstart', ROOT / 'tools/quickstart.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / 'requirements').mkdir()
    for name in ('requirements.txt', 'requirements/openmmlab.txt', 'requirements/tests.txt'):
        (tmp_path / name).write_text(name)
    module.commands = []
    monkeypatch.setattr(module, 'ROOT', tmp_path)
    monkeypatch.setattr(
        module, 'run', lambda c, **kw: module.commands.append(' '.join(map(str, c)))
    )
    monkeypatch.setattr(module.venv, 'create', lambda folder, **kw: folder.mkdir(exist_ok=True))
    return module


def call(module, monkeypatch, *args):
    monkeypatch.setattr(sys, 'argv', ['quickstart.py', *args])
    module.commands.clear()
    module.main()
    return list(module.commands)


def test_sets_up_once(quickstart, monkeypatch, tmp_path):
    install, demo = call(quickstart, monkeypatch)
    names = (
        'requirements.txt',
        'requirements/deploy.txt',
        'requirements/convert.txt',
        'requirements/tests.txt',
    )
    assert install.endswith(' '.join(f'-r {tmp_path}/{name}' for name in names))
    assert demo.endswith('tools/demo.py')
    assert call(quickstart, monkeypatch) == [demo]
    (tmp_path / 'requirements.txt').write_text('something newer')
    assert len(call(quickstart, monkeypatch)) == 2
    monkeypatch.setitem(quickstart.STACKS, 'onedl', ('.venv', ['requirements.txt']))
    assert len(call(quickstart, monkeypatch)) == 2


def test_an_interrupted_set_up_is_done_again(quickstart, monkeypatch):
    def interrupted(command, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(quickstart, 'run', interrupted)
        quickstart.set_up('onedl')
    assert len(call(quickstart, monkeypatch, 'test')) == 2


def test_stacks_never_share_an_environment(quickstart, monkeypatch, tmp_path):
    commands = call(quickstart, monkeypatch, 'test', '--stack', 'openmmlab')
    assert all(c.startswith(f'{tmp_path}/.venv-openmmlab/') for c in commands)
    assert 'setuptools<81' in commands[0]
    assert '--no-build-isolation' in commands[1]
    assert 'requirements/openmmlab.txt' in commands[1]
    assert not any('requirements.txt' in c for c in commands)


def test_arguments_go_to_pytest(quickstart, monkeypatch):
    assert call(quickstart, monkeypatch, 'test', '-m', 'slow')[-1].endswith(
        'pytest -q -n auto --dist loadfile -m slow'
    )
