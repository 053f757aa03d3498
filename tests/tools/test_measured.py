"""tools/test.py measures the network and the labels that it names, or refuses to."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from tests.paths import ROOT, TOY

CONFIG = """
_base_ = {base!r}
common = dict(
    type='CheckedSegDataset', data_root={root!r}, ann_file='', img_suffix='.png',
    metainfo=dict(classes=tuple('abcdefg')),
    data_prefix=dict(img_path='images', seg_map_path='masks'), pipeline=_base_.test_pipeline,
)
loader = dict(num_workers=0, persistent_workers=False, dataset=dict(_delete_=True, **common))
train_dataloader = dict(batch_size=2, **loader)
val_dataloader = loader
test_dataloader = loader
model = dict(data_preprocessor=dict(size=(64, 64)))
default_hooks = dict(checkpoint=dict(interval=2))
train_cfg = dict(max_iters=2, val_interval=2)
{more}
"""


@pytest.fixture
def config(tmp_path):
    """Write a config for two folders that hold images of the same names."""
    random = np.random.default_rng(0)
    for name, size in (('one/1', 40), ('two/1', 10), ('two/2', 20)):
        mask = np.zeros((64, 64), np.uint8)
        mask[:size, :size] = 1 + size // 20
        mask[60:] = 250
        for kind, array in (('images', random.integers(0, 255, (64, 64, 3))), ('masks', mask)):
            path = tmp_path / f'data/{kind}/{name}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(path)

    def write(more='', name='config'):
        path = tmp_path / f'{name}.py'
        path.write_text(CONFIG.format(base=str(TOY), root=str(tmp_path / 'data'), more=more))
        return path

    return write


ONE_PLACE = 'test_evaluator = dict(ignore_index=250)'


def test_table_report_and_matrix_give_one_number(config, run_tool, tmp_path, toy_checkpoint):
    cfg = config(ONE_PLACE)
    table = run_tool('test.py', cfg, toy_checkpoint, '--report', 'report').stdout
    expected = float(re.findall(r'mIoU: ([\d.]+)', table)[-1])
    page = (tmp_path / 'report/index.html').read_text()
    assert float(re.findall(r'mIoU ([\d.]+)', page)[0]) == pytest.approx(expected, abs=0.006)
    maps = tmp_path / 'report/predictions'
    assert sorted(str(p.relative_to(maps)) for p in maps.rglob('*.png')) == [
        'one/1.png', 'two/1.png', 'two/2.png',
    ]  # fmt: skip
    assert 'one/1.png' in page and 'two/1.png' in page
    drawn = run_tool('analysis_tools/confusion_matrix.py', cfg, maps, '--out', 'm.png').stdout
    assert float(re.findall(r'mIoU ([\d.]+)', drawn)[0]) == pytest.approx(expected, abs=0.006)


PARTS = """
def part(folder):
    prefix = dict(img_path='images/' + folder, seg_map_path='masks/' + folder)
    return dict(common, data_prefix=prefix)
one, two = part('one'), part('two')
test_dataloader = dict(loader, dataset=dict(_delete_=True, {}))
"""
WRAPPED = {
    'several': "type='ConcatDataset', datasets=[two, one]",
    'repeated': "type='RepeatDataset', times=2, dataset=dict(common)",
    'one of them repeated': (
        "type='ConcatDataset', datasets=[dict(type='RepeatDataset', times=3, dataset=two), one]"
    ),
}


@pytest.mark.parametrize('name', list(WRAPPED))
def test_wrapped_data_sets_give_one_number_too(name, config, run_tool, tmp_path, toy_checkpoint):
    cfg = config(PARTS.format(WRAPPED[name]) + ONE_PLACE)
    table = run_tool('test.py', cfg, toy_checkpoint, '--report', 'report').stdout
    expected = float(re.findall(r'mIoU: ([\d.]+)', table)[-1])
    page = (tmp_path / 'report/index.html').read_text()
    assert float(re.findall(r'mIoU ([\d.]+)', page)[0]) == pytest.approx(expected, abs=0.006)
    for image in ('one/1.png', 'two/1.png', 'two/2.png'):
        assert image in page
    assert [f'>{letter}<' in page for letter in 'abc'] == [True] * 3  # names of the classes
    maps = tmp_path / 'report/predictions'
    drawn = run_tool('analysis_tools/confusion_matrix.py', cfg, maps, '--out', 'm.png').stdout
    assert float(re.findall(r'mIoU ([\d.]+)', drawn)[0]) == pytest.approx(expected, abs=0.006)


def test_parts_of_other_classes_are_refused(config, run_tool, toy_checkpoint):
    parts = PARTS.format(WRAPPED['several'])
    other = "\ntwo['metainfo'] = dict(classes=tuple('abcdegf'))\ntest_dataloader"
    cfg = config(parts.replace('\ntest_dataloader', other, 1) + ONE_PLACE)
    done = run_tool('test.py', cfg, toy_checkpoint, check=False)
    assert done.returncode == 2
    assert 'error: The parts of test_dataloader have different classes' in done.stderr


def test_an_ignored_id_that_one_place_sets_trains(config, run_tool):
    run_tool('train.py', config(ONE_PLACE), '--work-dir', 'run')


def test_a_disagreement_starts_nothing(config, run_tool, tmp_path, toy_checkpoint):
    cfg = config(f'{ONE_PLACE}\nmodel["decode_head"] = dict(ignore_index=255)')
    for tool, *args in (['train.py', cfg], ['test.py', cfg, toy_checkpoint, '--report', 'r']):
        done = run_tool(tool, *args, check=False)
        assert done.returncode == 2
        assert 'model.decode_head has ignore_index=255' in done.stderr
        assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'work_dirs').exists() and not (tmp_path / 'r').exists()


def test_wrong_checkpoints_are_refused(config, run_tool, tmp_path, toy_checkpoint):
    cfg = config(ONE_PLACE)
    saved = torch.load(toy_checkpoint, weights_only=False)
    del saved['state_dict']['decode_head.conv_seg.bias']
    torch.save(saved, tmp_path / 'part.pth')
    other = ROOT / 'configs/pan/fcn_r18-d16_toy.py'
    for one, checkpoint, words in (
        (cfg, 'part.pth', 'does not fit the config: 1 keys missing (decode_head.conv_seg.bias)'),
        (other, toy_checkpoint, 'does not fit the config'),
    ):
        done = run_tool('test.py', one, checkpoint, check=False)
        assert done.returncode == 2
        (line,) = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
        assert words in line and len(line) < 310
        assert 'mIoU:' not in done.stdout


def test_weights_of_averaged_compiled_and_parallel_trainings(
    config, run_tool, tmp_path, toy_checkpoint
):
    """A test with EMAHook, which loads the weights as well and is strict."""
    saved = torch.load(toy_checkpoint, weights_only=False)
    state = saved['state_dict']
    saved['state_dict'] = {f'module._orig_mod.{key}': value for key, value in state.items()}
    saved['state_dict']['module._orig_mod.auxiliary_head.conv_seg.bias'] = torch.zeros(7)
    torch.save(saved, tmp_path / 'wrapped.pth')
    averaged = config(f"{ONE_PLACE}\ncustom_hooks = [dict(type='EMAHook')]", 'averaged')
    scores = [
        re.findall(r'mIoU: ([\d.]+)', run_tool('test.py', *args).stdout)[-1]
        for args in ((config(ONE_PLACE), toy_checkpoint), (averaged, 'wrapped.pth'))
    ]
    assert scores[0] == scores[1]


def test_classes_in_another_order_are_refused(config, run_tool, tmp_path, toy_checkpoint):
    saved = torch.load(toy_checkpoint, weights_only=False)
    saved['meta']['dataset_meta'] = dict(classes=tuple('abcdegf'))
    torch.save(saved, tmp_path / 'order.pth')
    done = run_tool('test.py', config(ONE_PLACE), 'order.pth', check=False)
    assert done.returncode == 2
    assert "in another order ('g' has the id 5, where the data set has 'f')" in done.stderr


def test_an_exported_network_of_other_classes(config, run_tool, exported, tmp_path):
    cfg = config(f'{ONE_PLACE}\nfor d in (test_dataloader, train_dataloader):\n'
                 "    d['dataset']['metainfo'] = dict(classes=tuple('abcd'))")  # fmt: skip
    done = run_tool('test.py', cfg, exported(), check=False)
    assert done.returncode == 2
    assert 'has 7 classes, and the data set 4; give the config' in done.stderr
