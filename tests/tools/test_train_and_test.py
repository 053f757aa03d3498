"""tools/train.py, tools/test.py and the launch scripts as subprocesses on toy data."""

import json
import os
import re
import shlex
import shutil
import socket
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from tests.paths import ROOT
from tests.processes import run_command

TOY = ROOT / 'configs/pan/pan_r18-d16_toy.py'
SMALL = [
    '--cfg-options',
    'randomness.seed=0',
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
    'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False',
    'model.data_preprocessor.size=[64,64]',
    'default_hooks.checkpoint.interval=3',
    'default_hooks.logger.interval=1',
    'train_cfg.val_interval=6',
]


def small(iterations=6, **more):
    return [*SMALL, f'train_cfg.max_iters={iterations}', *(f'{k}={v}' for k, v in more.items())]


@pytest.fixture(scope='module')
def trained(tmp_path_factory, toy_root):
    """Work dir of one finished run: the heads' two configs share everything else."""
    folder = tmp_path_factory.mktemp('trained') / 'run'
    env = {**os.environ, 'TOY_ROOT': str(toy_root), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': ''}
    command = [sys.executable, ROOT / 'tools/train.py', TOY, '--work-dir', folder]
    done = run_command([*command, *small()], env=env, cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    assert len([*folder.glob('*/*.log')]) == 1
    return folder, done.stdout


def test_the_screen_has_the_summary_and_the_progress(trained):
    folder, output = trained
    lines = output.splitlines()
    assert lines[:2] == ['', 'Training'], output[:2000]
    assert 'System environment' not in output
    log = min(folder.glob('*/*.log'))  # the first one: other tests may have added theirs
    for text in ('System environment', 'Config:', 'Initialization information', 'Hooks will be'):
        assert text in log.read_text()


def next_steps(output):
    rows = output[output.index('\nNext\n') :].split('\n\n')[0].splitlines()[2:]
    return dict(row.split(maxsplit=1) for row in rows)


def test_a_training_ends_with_commands_that_run(trained):
    here = trained[0].parent  # where it was typed
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': ''}
    env.pop('TOY_ROOT', None)  # the commands hold all that they need
    rows = next_steps(trained[1])
    assert list(rows) == ['test', 'report', 'predict']
    assert rows['report'].startswith(f'{rows["test"]} --report ')
    for name, last, left in (
        ('report', {'predict'}, 'report/index.html'),
        ('predict', set(), 'predictions/val_00000.png'),
    ):
        command = shlex.split(rows[name])
        assert command[0] == 'python'
        done = run_command([sys.executable, *command[1:]], env=env, cwd=here)
        assert (done.returncode, done.stderr) == (0, ''), done.stdout
        assert set(next_steps(done.stdout)) == last if last else 'Next' not in done.stdout
        assert (trained[0] / left).is_file() or (here / left).is_file()


def test_summary_says_what_a_person_wants_to_know(trained):
    folder, output = trained
    head = output[output.index('\nTraining\n') :].split('\n\n')[0]
    assert 'Starts from iteration 0' in head
    for name, value in {
        'device': r'\S+',
        'batch': r'2 \(1 x 2\); the learning rate is meant for 8$',
        'learning rate': r'0\.0003',
        'iterations': '0 of 6 done',
        'training images': '16',
        'data loading': 'in the training process$',
        'epochs': '0.8',
        'validation images': '4',
        'decode head': r'\d+\.\d+ G multiply-adds at 64x64, \d+\.\d+ M parameters',
        'results': re.escape(str(folder)),
    }.items():
        assert re.search(rf'^  {name} +{value}', head, re.M), (name, head)
    assert 'eta: ' in output
    (share,) = re.findall(r'Of \d+ s of training, ([\d.]+)% were spent waiting for data', output)
    assert 0 < float(share) < 100


def test_training_leaves_checkpoints_and_metrics(trained):
    folder, output = trained
    assert {'iter_3.pth', 'iter_6.pth'} <= {p.name for p in folder.iterdir()}
    assert re.search(r'Iter\(val\) \[4/4\].*mIoU: \d', output)


def test_checkpoints_load_without_running_code(trained):
    """In a process that knows neither mmengine nor this package."""
    code = 'import sys, torch; c = torch.load(sys.argv[1], weights_only=True); print(*c)'
    done = run_command([sys.executable, '-c', code, trained[0] / 'iter_6.pth'])
    assert done.returncode == 0, done.stderr
    assert {'state_dict', 'optimizer', 'message_hub'} <= set(done.stdout.split())


def test_resume_goes_on_where_it_stopped(trained, run_tool, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / 'again')
    (folder / 'iter_6.pth').unlink()
    output = run_tool('train.py', '--resume', TOY, '--work-dir', folder, *small()).stdout
    assert f'Resumes {folder / "iter_3.pth"}.' in output
    assert re.search(r'^  iterations +3 of 6 done', output, re.M)
    steps = re.findall(r'Iter\(train\) \[\s*(\d+)/6\]', output)
    assert [int(s) for s in steps] == [4, 5, 6]
    assert 'Weights only' not in output
    assert 'not instance of HistoryBuffer' not in output
    assert (folder / 'iter_6.pth').is_file()


def test_resume_without_a_checkpoint_is_an_error_and_writes_nothing(run_tool, tmp_path):
    done = run_tool('train.py', TOY, '--resume', '--work-dir', 'new', *small(), check=False)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith('error: There is no checkpoint in new')
    assert not (tmp_path / 'new').exists()


def test_auto_scale_lr_and_no_validate(run_tool, tmp_path):
    output = run_tool(
        'train.py', TOY, '--auto-scale-lr', '--no-validate', *small(1, param_scheduler='[]')
    ).stdout
    assert re.search(r'^  learning rate +0\.00075', output, re.M)  # 3e-3 x 2 / 8
    assert 'validation images' not in output
    assert 'Iter(val)' not in output
    assert (tmp_path / 'work_dirs/pan_r18-d16_toy').is_dir()  # the default work dir


def test_test_writes_metrics_maps_and_pictures(trained, run_tool, tmp_path):
    checkpoint = trained[0] / 'iter_6.pth'
    output = run_tool(
        'test.py', TOY, checkpoint, '--work-dir', 'out', '--out', 'maps', '--show-dir', 'shown',
        *SMALL,
    ).stdout  # fmt: skip
    assert re.search(r'^  test images +4', output, re.M)
    (metrics,) = (tmp_path / 'out').glob('*/*.json')
    assert {'mIoU', 'mAcc', 'aAcc'} <= set(json.loads(metrics.read_text()))
    maps = sorted((tmp_path / 'maps').iterdir())
    assert [p.name for p in maps] == [f'val_{i:05d}.png' for i in range(4)]
    for path in maps:
        labels = np.asarray(Image.open(path))
        assert labels.shape == (64, 64)
        assert labels.max() < 7
    assert len(list((tmp_path / 'shown').rglob('*.png'))) == 4


def test_test_reports_the_metrics_of_its_maps(trained, run_tool, tmp_path, toy_root):
    """The mIoU printed is that of the maps written, counted once more by hand."""
    output = run_tool('test.py', TOY, trained[0] / 'iter_6.pth', '--out', 'maps', *SMALL).stdout
    hits, union = np.zeros(7), np.zeros(7)
    for path in (tmp_path / 'maps').iterdir():
        truth = np.asarray(Image.open(toy_root / 'SegmentationClass' / path.name))
        found = np.asarray(Image.open(path))
        for label in range(7):
            a, b = (found == label) & (truth != 255), truth == label
            hits[label] += (a & b).sum()
            union[label] += (a | b).sum()
    with np.errstate(invalid='ignore'):
        expected = 100 * np.nanmean(hits / union)
    printed = float(re.search(r'mIoU: (\d+\.\d+)', output)[1])
    assert printed == pytest.approx(expected, abs=0.01)


def test_test_time_augmentation(trained, run_tool):
    output = run_tool('test.py', TOY, trained[0] / 'iter_6.pth', '--tta', *SMALL).stdout
    assert re.search(r'Iter\(test\) \[4/4\].*mIoU: \d', output)


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return str(s.getsockname()[1])


def launch_script(name, *args, cwd, toy_root):
    return run_command(
        ['bash', ROOT / 'tools' / name, *args],
        cwd=cwd,
        env={
            **os.environ,
            'PORT': free_port(),
            'PYTHON': sys.executable,
            'TOY_ROOT': str(toy_root),
            'OMP_NUM_THREADS': '1',
            'PYTHONWARNINGS': 'ignore',
            'PYTHONPATH': '',
        },
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason='two gloo processes on CPUs')
def test_two_processes_on_a_cpu(toy_root, tmp_path):
    done = launch_script(
        'dist_train.sh', TOY, 2, '--work-dir', 'run', *small(), cwd=tmp_path, toy_root=toy_root
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r'^  batch +4 \(2 x 2\)', done.stdout, re.M)
    assert done.stdout.count('\nTraining\n') == 1
    done = launch_script(
        'dist_test.sh', TOY, 'run/iter_6.pth', 2, *SMALL, cwd=tmp_path, toy_root=toy_root
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r'Iter\(test\) \[2/2\].*mIoU: \d', done.stdout)


@pytest.mark.parametrize(
    'script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh']
)
def test_launch_scripts_say_how_to_use_them(script, tmp_path, toy_root):
    done = launch_script(script, cwd=tmp_path, toy_root=toy_root)
    assert done.returncode == 2
    assert f'error: usage: bash tools/{script}' in done.stderr


def test_slurm_starts_one_torchrun_a_node(tmp_path, toy_root, monkeypatch):
    """With a stand-in for srun: what would be asked of Slurm."""
    srun = tmp_path / 'srun'
    srun.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    srun.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    monkeypatch.setenv('GPUS', '16')
    config = ROOT / 'configs/pan/pan_r18-d16_voc.py'
    done = launch_script(
        'slurm_train.sh', 'part', 'job', config, '--amp', cwd=tmp_path, toy_root=toy_root
    )
    words = done.stdout.splitlines()
    assert {'--gres=gpu:8', '--nodes=2', '--ntasks-per-node=1', '--job-name=job'} <= set(words)
    assert words[-4:] == [str(ROOT / 'tools/train.py'), str(config), '--divide-batch', '--amp']
    refused = launch_script('slurm_train.sh', 'part', 'job', TOY, cwd=tmp_path, toy_root=toy_root)
    assert refused.returncode == 2
    assert '--gres' not in refused.stdout  # srun was not asked
    assert 'trains on 8 images a step' in refused.stderr and '16 processes' in refused.stderr


@pytest.mark.parametrize(
    ('processes', 'sentence'),
    [
        ('3', 'trains on 8 images a step .*, and 3 processes cannot share them evenly; start 1 or'),
        ('gpu', 'PROCESSES and NNODES must be whole numbers, 1 or more, not gpu'),
    ],
)
def test_a_batch_that_processes_cannot_share_is_refused_before_they_start(
    toy_root, tmp_path, processes, sentence
):
    done = launch_script('dist_train.sh', TOY, processes, cwd=tmp_path, toy_root=toy_root)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.match(f'error: .*{sentence}', line)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize('told', ['--auto-scale-lr', '--cfg-options'])
def test_a_batch_that_is_told_is_not_divided(run_tool, told):
    more = ['train_dataloader.batch_size=2'] if told == '--cfg-options' else []
    line = ['train.py', TOY, '--divide-batch', '--only-check']
    run_tool(*line, told, *more, WORLD_SIZE='3')


MISTAKES = {
    'folder': (
        'train_dataloader.dataset.data_root=nowhere',
        r'data folder nowhere does not exist; make it with',
    ),
    'list': ('train_dataloader.dataset.ann_file=no.txt', r'list .*no\.txt does not exist'),
    'validation': ('val_dataloader.dataset.ann_file=no.txt', r'list .*no\.txt does not exist'),
}


@pytest.mark.parametrize('mistake', list(MISTAKES))
def test_missing_data_is_one_sentence(run_tool, tmp_path, mistake):
    option, sentence = MISTAKES[mistake]
    done = run_tool('train.py', TOY, *small(), option, check=False)
    assert done.returncode == 2
    (line,) = [x for x in done.stderr.splitlines() if x.startswith('error: ')]
    assert re.search(sentence, line)
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'work_dirs').exists()


@pytest.mark.parametrize(
    'kind', ['JPEGImages/train_00003.jpg', 'SegmentationClass/train_00003.png']
)
def test_missing_file_is_named(run_tool, tmp_path, toy_root, kind):
    root = shutil.copytree(toy_root, tmp_path / 'toy')
    (root / kind).unlink()
    done = run_tool('train.py', TOY, *small(), check=False, TOY_ROOT=str(root))
    assert done.returncode == 2
    assert f'error: {root / kind} not found, though' in done.stderr
    assert not (tmp_path / 'work_dirs').exists()


def test_missing_pretrained_weights(run_tool, tmp_path):
    done = run_tool(
        'train.py', ROOT / 'configs/pan/pan_r18-d16_voc.py', check=False, VOC_ROOT='nowhere'
    )
    assert done.returncode == 2
    assert 'set the environment variable VOC_ROOT' in done.stderr
    config = tmp_path / 'pretrained.py'
    config.write_text(
        f"_base_ = '{TOY}'\n"
        "init_cfg = dict(_delete_=True, type='Pretrained', checkpoint='no.pth')\n"
        'model = dict(backbone=dict(init_cfg=init_cfg))\n'
    )
    done = run_tool('train.py', config, *small(), check=False)
    assert done.returncode == 2
    assert 'pretrained weights no.pth could not be loaded' in done.stderr
    assert not (tmp_path / 'work_dirs').exists()


def test_wrong_in_channels(run_tool):
    done = run_tool(
        'train.py', TOY, *small(), 'model.decode_head.in_channels=[16,32,64,99]', check=False
    )
    assert done.returncode == 2
    assert 'set in_channels=[16, 32, 64, 128]' in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize('tool', ['train.py', 'test.py'])
def test_unknown_flags_and_values(run_tool, tool):
    for args in (['--launcher', 'ssh'], ['--no-such-flag']):
        done = run_tool(tool, TOY, 'x.pth', *args, check=False)
        assert done.returncode == 2
        assert 'error: ' in done.stderr


def test_missing_checkpoint(run_tool):
    done = run_tool('test.py', TOY, 'no.pth', check=False)
    assert done.returncode == 2
    assert 'error: The checkpoint no.pth does not exist' in done.stderr
