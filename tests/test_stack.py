import pytest

from mmseg_pan import _stack

ONEDL = {'onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation'}
OPENMMLAB = {'mmengine', 'mmcv', 'mmsegmentation'}


@pytest.fixture
def pretend(monkeypatch):
    def set_installed(names):
        monkeypatch.setattr(_stack, 'installed', lambda name: name in names)

    return set_installed


@pytest.mark.parametrize('names', [ONEDL, OPENMMLAB])
def test_one_stack_is_fine(pretend, names):
    pretend(names)
    _stack.check_stack()


def test_both_stacks(pretend):
    pretend(ONEDL | {'mmcv'})
    with pytest.raises(ImportError, match=r'Both stacks are installed \(mmcv, onedl-mmengine.*new'):
        _stack.check_stack()


@pytest.mark.parametrize(('names', 'found'), [(set(), 'none'), ({'mmcv'}, 'mmcv')])
def test_no_whole_stack(pretend, names, found):
    pretend(names)
    with pytest.raises(ImportError, match=f'Found {found} of .*pip install -r requirements.txt'):
        _stack.check_stack()


def test_exactly_one_stack_is_really_here():
    here = [names for names in (ONEDL, OPENMMLAB) if all(map(_stack.installed, names))]
    assert len(here) == 1
