"""Two processes on a CPU: the same gradient, and nothing lost with a lost process."""

import json
import os
import re
import signal
import socket
import sys

import pytest
import torch

from tests.engine.runs import BATCH, differences, small_cfg, trained_state
from tests.paths import ROOT
from tests.processes import run_command

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='two gloo processes on CPUs')
LIMIT_S = 60  # a lost process must be noticed within a minute


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return str(s.getsockname()[1])


def environment(**more):
    return {
        **os.environ,
        'PORT': free_port(),
        'PYTHON': sys.executable,
        'PYTHONPATH': str(ROOT),
        'PYTHONWARNINGS': 'ignore',
        'OMP_NUM_THREADS': '1',
        **more,
    }


def train_on_two(work_dir, toy_root, *args, fault=None, restarts=0):
    """Train six iterations by tools/dist_train.sh, with a checkpoint at every second one."""
    cfg = small_cfg(
        work_dir, toy_root, workers=1, ema=True, auto_scale_lr__base_batch_size=2 * BATCH
    )
    cfg.custom_imports.imports += ['tests.started_fast', 'tests.engine.faults']
    if fault:
        cfg.custom_hooks.append(dict(type='SignalOneProcess', **fault))
    work_dir.mkdir(exist_ok=True)
    cfg.dump(work_dir / 'config.py')
    return run_command(
        ['bash', ROOT / 'tools/dist_train.sh', work_dir / 'config.py', '2', *args],
        seconds=LIMIT_S + 60,
        env=environment(MAX_RESTARTS=str(restarts)),
    )


@pytest.fixture(scope='module')
def straight(tmp_path_factory, toy_root):
    folder = tmp_path_factory.mktemp('two') / 'straight'
    done = train_on_two(folder, toy_root)
    assert done.returncode == 0, done.stderr[-3000:]
    return trained_state(folder / 'iter_6.pth')


def test_gradient_equals_that_of_one_process_with_both_batches():
    launch = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2']
    done = run_command(
        [*launch, f'--master_port={free_port()}', ROOT / 'tests/engine/gradients.py'],
        seconds=LIMIT_S,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(re.search(r'difference (\S+)', done.stdout)[1]) < 1e-9


@pytest.mark.slow
def test_a_killed_process_ends_the_job_and_a_restart_ends_in_the_same_weights(
    tmp_path, toy_root, straight
):
    fault = dict(iteration=3, number=int(signal.SIGKILL))
    done = train_on_two(tmp_path / 'run', toy_root, fault=fault)
    assert done.returncode == 1
    assert re.search(r'rank +: 1 \(local_rank: 1\)\s+exitcode +: -9', done.stderr)
    assert {p.name for p in (tmp_path / 'run').glob('*.pth')} == {'iter_2.pth'}
    fault['iteration'] = 5
    done = train_on_two(tmp_path / 'run', toy_root, '--resume', 'auto', fault=fault, restarts=1)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f'Resumes {tmp_path}/run/iter_2.pth.' in done.stdout
    assert f'Resumes {tmp_path}/run/iter_4.pth.' in done.stdout
    assert differences(trained_state(tmp_path / 'run/iter_6.pth'), straight) == {}


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_at_the_same_step(tmp_path, toy_root, straight):
    fault = dict(iteration=3, number=int(signal.SIGTERM))
    done = train_on_two(tmp_path / 'run', toy_root, fault=fault)
    assert done.returncode == 1  # torchrun's own; it names the processes'
    assert re.search(r'exitcode +: 75', done.stderr)
    assert {p.name for p in (tmp_path / 'run').glob('*.pth')} == {'iter_2.pth', 'iter_3.pth'}
    done = train_on_two(tmp_path / 'run', toy_root, '--resume')
    assert done.returncode == 0, done.stderr[-3000:]
    assert differences(trained_state(tmp_path / 'run/iter_6.pth'), straight) == {}


@pytest.mark.slow
def test_a_recipe_is_the_same_on_one_two_and_four_processes(tmp_path, toy_root):
    """With random transforms; dropout, which is drawn for each process, is left out."""
    steps = {}
    for processes in (1, 2, 4):
        folder = tmp_path / str(processes)
        folder.mkdir()
        cfg = small_cfg(folder, toy_root, iterations=4, model__decode_head__dropout_ratio=0)
        cfg.train_dataloader.batch_size = 3  # of no account: the recipe's is 8
        cfg.custom_imports.imports += ['tests.started_fast', 'tests.engine.recording']
        cfg.custom_hooks += [
            dict(type='FrozenNormHook', modules=['backbone', 'decode_head']),
            dict(type='RecordSteps', file=str(folder / 'steps.json')),
        ]
        # AdamW's first steps are as large for a gradient of rounding errors as for any other.
        cfg.optim_wrapper.optimizer = dict(type='SGD', lr=0.05, momentum=0.9)
        cfg.dump(folder / 'config.py')
        done = run_command(
            ['bash', ROOT / 'tools/dist_train.sh', folder / 'config.py', str(processes)],
            env=environment(),
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert f'  8 ({processes} x {8 // processes})\n' in done.stdout
        assert re.search(r'^  epochs +2\.0$', done.stdout, re.M)  # 4 steps of 8 of 16 images
        steps[processes] = json.loads((folder / 'steps.json').read_text())
    alone = steps[1]
    assert [len(step['samples']) for step in alone] == [8] * 4
    losses = [step['loss'] for step in alone]
    assert max(losses) - min(losses) > 0.01
    for processes in (2, 4):
        for one, shared in zip(alone, steps[processes], strict=True):
            assert shared['samples'] == one['samples']
            assert shared['loss'] == pytest.approx(one['loss'], rel=1e-6)
