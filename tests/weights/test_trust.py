"""What is loaded, what is not, and what runs: nothing."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader

from mmseg_pan import UserError
from mmseg_pan.weights.trust import check_readable, find_damage, safe_loading
from tests.engine.faults import Attack
from tests.paths import ROOT

TOY = ROOT / 'configs/pan/pan_r18-d16_toy.py'


@pytest.fixture
def no_code():
    with safe_loading():
        yield


def published(path, numpy_1=False):
    """A checkpoint as stock mmengine writes and publishes them."""
    buffer = HistoryBuffer([3.0, 2.0], [1, 1])
    buffer.update(1.0)
    content = dict(
        meta=dict(iter=3, seed=np.int64(7), mean=np.arange(3.0), small=np.float32(1)),
        state_dict=dict(weight=torch.ones(2)),
        message_hub=dict(log_scalars={'train/loss': buffer}, runtime_info=dict(iter=2)),
    )
    torch.save(content, path)
    if numpy_1:  # the same length, so that the zip file stays whole but for its checksum
        old, new = b'numpy._core.multiarray', b'numpy.core.multiarray'
        with torch.serialization.safe_globals([]):
            import io
            import zipfile

            out = io.BytesIO()
            with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, 'w') as target:
                for item in source.infolist():
                    data = source.read(item)
                    if item.filename.endswith('data.pkl'):
                        assert old in data
                        data = data.replace(old, new)
                    target.writestr(item, data)
            path.write_bytes(out.getvalue())
    return content


@pytest.mark.parametrize('numpy_1', [False, True])
def test_published_checkpoints_load_without_code(tmp_path, no_code, numpy_1):
    """By mmengine's own loader, whatever the stack, again and again."""
    path = tmp_path / 'zoo.pth'
    content = published(path, numpy_1)
    check_readable(path)
    for _ in range(2):
        found = CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
        assert found['meta']['seed'] == 7
        assert found['meta']['mean'].tolist() == [0, 1, 2]
        history = found['message_hub']['log_scalars']['train/loss']
        assert history.data[0].tolist() == [3, 2, 1]
        assert history.mean() == 2
        assert torch.equal(found['state_dict']['weight'], content['state_dict']['weight'])


@pytest.mark.parametrize('zipped', [True, False])
def test_malicious_pickle_does_not_run(tmp_path, no_code, zipped):
    path, mark = tmp_path / 'bad.pth', tmp_path / 'ran'
    content = dict(state_dict={}, message_hub=Attack(mark))
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(pickle.UnpicklingError):
        CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    with pytest.raises(UserError, match=r'bad\.pth holds more than .* "--unsafe-load"'):
        check_readable(path)
    assert not mark.exists()


def test_getattr_of_a_history_is_not_getattr(tmp_path, no_code):
    """Mmengine's own list of safe objects holds getattr itself."""

    class Reach:
        def __reduce__(self):
            return getattr, (HistoryBuffer, '__init__')

    torch.save(dict(x=Reach()), tmp_path / 'x.pth')
    with pytest.raises(UserError, match='could run code when loaded'):
        check_readable(tmp_path / 'x.pth')


@pytest.mark.parametrize('tool', ['test.py', 'train.py', 'load_from'])
def test_tools_run_no_code_unless_told_to(tmp_path, run_tool, tool):
    path, mark = tmp_path / 'bad.pth', tmp_path / 'ran'
    torch.save(dict(state_dict={}, meta={}, x=Attack(mark)), path)
    args = {
        'test.py': ['test.py', TOY, path],
        'train.py': ['train.py', TOY, '--resume', path],
        'load_from': ['train.py', TOY, '--cfg-options', f'load_from={path}'],
    }[tool]
    done = run_tool(*args, check=False)
    assert done.returncode == 2
    assert f'error: The checkpoint {path} holds more than tensors' in done.stderr
    assert 'mkdir' in done.stderr
    assert 'type the same command with "--unsafe-load"' in done.stderr
    assert not mark.exists()
    assert not (tmp_path / 'work_dirs').exists()


def test_unsafe_load_is_a_choice(tmp_path, run_tool):
    path, mark = tmp_path / 'bad.pth', tmp_path / 'ran'
    torch.save(dict(state_dict={}, meta={}, x=Attack(mark)), path)
    done = run_tool('test.py', '--unsafe-load', TOY, path, check=False)
    assert mark.is_dir()
    assert 'does not fit the config' in done.stderr  # it was read, and holds no weights


def test_weights_that_fit_in_part_are_refused(tmp_path, run_tool):
    torch.save(dict(state_dict={'backbone.x': torch.ones(1)}, meta={}), tmp_path / 'part.pth')
    done = run_tool('test.py', TOY, tmp_path / 'part.pth', check=False)
    assert done.returncode == 2
    assert 'part.pth does not fit the config' in done.stderr
    assert 'keys missing (backbone.stem.0.weight' in done.stderr


def test_damage_is_found_in_every_byte_of_the_tensors(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save(dict(weight=torch.arange(4096.0)), path)
    whole = path.read_bytes()
    assert find_damage(path) is None
    for position in range(whole.index(b'\0\0\x80?'), len(whole) - 2000, 997):
        spoilt = bytearray(whole)
        spoilt[position] ^= 4
        path.write_bytes(spoilt)
        assert find_damage(path), position
    for length in range(0, len(whole), 499):
        path.write_bytes(whole[:length])
        assert find_damage(path), length


def test_old_format_has_no_checksums_but_loads(tmp_path):
    path = tmp_path / 'old.pth'
    torch.save(dict(weight=torch.ones(9)), path, _use_new_zipfile_serialization=False)
    check_readable(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r'old\.pth cannot be read'):
        check_readable(path)


def test_import_alone_changes_nothing():
    """A library must not decide for a process what torch may load."""
    code = 'import os, mmseg_pan; assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ'
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True, cwd=ROOT)
