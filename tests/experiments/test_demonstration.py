"""The README's first command, cut down to a few iterations."""

import os
import sys

import numpy as np
from PIL import Image

from tests.paths import ROOT
from tests.processes import run_command


def run_demo(toy_root, folder):
    return run_command(
        [
            *(sys.executable, '-W', 'ignore', 'tools/demo.py'),
            *('--data', str(toy_root), '--out', str(folder), '--cfg-options'),
            *('train_cfg.max_iters=4', 'default_hooks.logger.interval=1'),
            *('train_dataloader.batch_size=2', 'model.data_preprocessor.size=[64,64]'),
        ],
        cwd=ROOT,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'COLUMNS': '80'},
    )


def test_demo_trains_tests_draws_and_costs_nothing_again(toy_root, tmp_path):
    out = tmp_path / 'demo'
    done = run_demo(toy_root, out)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    table = done.stdout[done.stdout.index('toy shapes') :]
    assert [line.split()[0] for line in table.splitlines()[1:3]] == ['FCN', 'PAN']
    for name in ('predictions.png', 'loss.png'):
        picture = np.asarray(Image.open(out / name).convert('RGB'))
        assert min(picture.shape[:2]) > 300
        assert picture.std() > 10
    again = run_demo(toy_root, out)
    assert again.returncode == 0
    assert 'Iter(' not in again.stdout
    assert again.stdout.endswith(table)
