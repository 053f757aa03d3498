"""Warnings that are known are ignored, and no other: a user's own still show."""

import sys
import warnings

import pytest

from mmseg_pan import _quiet
from tests.paths import ROOT
from tests.processes import run_command


def shown(text, category, module):
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        warnings.simplefilter('default')
        _quiet.ignore_known_warnings()
        warnings.warn_explicit(text, category, 'file.py', 1, module=module, registry={})
    return len(caught) == 1


@pytest.mark.parametrize(('module', 'text'), _quiet.KNOWN)
def test_a_filter_takes_category_module_and_text(module, text):
    text = text.replace(r'\d+', '8')
    assert not shown(f'{text} and so on', UserWarning, module)
    assert shown(f'{text} and so on', RuntimeWarning, module)
    assert shown(f'{text} and so on', UserWarning, 'users_module')
    assert shown(f'{text} and so on', UserWarning, f'{module}_of_a_user')
    assert shown('The network is odd', UserWarning, module)


def test_import_is_silent_but_for_a_users_own_warnings(tmp_path):
    texts = [text.replace(r'\d+', '8') for _, text in _quiet.KNOWN] + ['mine']
    lines = [f'warnings.warn({text!r})' for text in texts]
    (tmp_path / 'users_module.py').write_text('\n'.join(['import warnings', *lines]))
    code = f'import sys; sys.path.insert(0, {str(ROOT)!r}); import mmseg_pan'
    env = {'PATH': '/usr/bin:/bin', 'PYTHONPATH': str(tmp_path)}
    silent = run_command([sys.executable, '-c', code], env=env, cwd=tmp_path)
    assert (silent.returncode, silent.stdout, silent.stderr) == (0, '', '')
    told = run_command([sys.executable, '-c', f'{code}; import users_module'], env=env)
    found = [line for line in told.stderr.splitlines() if 'UserWarning: ' in line]
    assert [line.split('UserWarning: ')[1] for line in found] == texts
