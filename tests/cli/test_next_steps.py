"""What a tool says to type next."""

import shlex
from types import SimpleNamespace

import pytest
from mmengine.hooks import CheckpointHook

from mmseg_pan import cli
from mmseg_pan.cli import next_steps


@pytest.mark.parametrize(
    ('typed', 'kept'),
    [
        ('a.py b.pth', 'a.py b.pth'),
        ('a.py b.pth --launcher pytorch --tta', 'a.py b.pth --tta'),
        ('a.py --launcher=pytorch --local-rank=0 b.pth', 'a.py b.pth'),
        ('--local_rank 0 a.py b.pth', 'a.py b.pth'),
    ],
)
def test_a_launcher_is_left_out(typed, kept):
    assert next_steps._in_one_process(typed.split()) == kept.split()


def hook(last=None, best=None, several=None):
    one = CheckpointHook(save_best=list(several) if several else None)
    one.last_ckpt, one.best_ckpt_path = last, best
    if several:
        one.best_ckpt_path_dict = several
    return one


@pytest.mark.parametrize(
    ('hooks', 'expected'),
    [
        ([], None),
        ([hook()], None),
        ([hook('last.pth')], 'last.pth'),
        ([hook('last.pth', 'best.pth')], 'best.pth'),
        ([hook('last.pth', several={'mIoU': None, 'mAcc': 'acc.pth'})], 'acc.pth'),
    ],
)
def test_the_best_checkpoint_is_named_or_else_the_last(hooks, expected):
    assert next_steps._best_or_last(SimpleNamespace(hooks=hooks)) == expected


class Data:
    def get_data_info(self, index):
        return dict(img_path=f'my photos/{index}.jpg')


def test_paths_below_the_current_folder_are_short(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = 'train.py', tmp_path / 'run' / 'a.pth', tmp_path.parent / 'b', '--out'
    assert next_steps._line(*words) == f'python train.py run/a.pth {tmp_path.parent}/b --out'


def after_test(monkeypatch, capsys, report=False, config='c.py', dataset=None):
    monkeypatch.setattr(next_steps.sys, 'argv', ['tools/test.py'])
    loader = SimpleNamespace(dataset=dataset or Data())
    runner = SimpleNamespace(work_dir='w', test_loop=SimpleNamespace(dataloader=loader))
    cli.print_after_test(runner, ['tools/test.py', 'c.py', 'b.pth'], 'b.pth', config, report)
    rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line]
    assert rows[0] == ['Next']
    return {name: shlex.split(line) for name, line in rows[1:]}


def test_after_a_test_comes_its_report_and_a_prediction(monkeypatch, capsys):
    rows = after_test(monkeypatch, capsys)
    assert rows['report'] == 'python tools/test.py c.py b.pth --report w/report'.split()
    assert rows['predict'] == [
        *('python', 'tools/predict.py', 'my photos/0.jpg', '--config', 'c.py'),
        *('--checkpoint', 'b.pth', '--out', 'predictions'),
    ]
    assert list(after_test(monkeypatch, capsys, report=True)) == ['predict']


def test_a_data_set_without_paths_gets_a_name_to_fill_in(monkeypatch, capsys):
    rows = after_test(monkeypatch, capsys, config=None, dataset=object())
    assert rows['predict'][2:4] == ['photo.jpg', '--checkpoint']
