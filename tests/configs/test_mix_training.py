"""Short training runs of every config of configs/mix on the toy data set.

    python -m pytest -m slow -s tests/configs/test_mix_training.py | grep '^|'

prints the table of docs/backbones.md.
"""

import statistics

import pytest
from mmengine.config import Config

from mmseg_pan import cli
from mmseg_pan.datasets.toy import ToyShapesDataset, make_toy_shapes
from tests.mixing import MIX, load_mix
from tests.paths import ROOT

ITERATIONS, BATCH, SIDE = 20, 4, 64
WINDOW = 5


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'toy_shapes'
    make_toy_shapes(root, train=160, val=1, size=SIDE)
    return root


def toy_version(cfg: Config, data_root, work_dir) -> Config:
    """Replace data and schedule; the model stays as it is, but for its classes."""
    toy = Config.fromfile(ROOT / 'configs/_base_/datasets/toy.py')
    dataset = dict(toy.train_dataloader.dataset, data_root=str(data_root))
    two_classes = cfg.model.decode_head.num_classes == 2
    if two_classes:
        dataset['metainfo'] = dict(classes=('background', 'square'))
    for head in ('decode_head', 'auxiliary_head'):
        if head in cfg.model and not two_classes:
            cfg.model[head].num_classes = len(ToyShapesDataset.METAINFO['classes'])
    cfg.model.data_preprocessor.size = (SIDE, SIDE)
    cfg.train_dataloader = dict(
        toy.train_dataloader,
        batch_size=BATCH,
        num_workers=0,
        persistent_workers=False,
        dataset=dataset,
    )
    # One rate for all: the warm-up of the transformers is longer than the whole run.
    optimizer = dict(type='AdamW', lr=1e-3, weight_decay=1e-2, fused=True)
    cfg.optim_wrapper = dict(type='OptimWrapper', optimizer=optimizer)
    cfg.param_scheduler = []
    cfg.train_cfg.max_iters = ITERATIONS
    cfg.default_hooks = dict(checkpoint=None)
    cfg.randomness = dict(seed=0)
    cfg.work_dir = str(work_dir)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize('name', MIX)
def test_loss_falls(name, shapes, tmp_path):
    runner = cli.build_runner(toy_version(load_mix(name), shapes, tmp_path))
    runner.train()
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert len(losses) == ITERATIONS
    first, last = statistics.mean(losses[:WINDOW]), statistics.mean(losses[-WINDOW:])
    print(f'\n| `{name}` | {first:.2f} | {last:.2f} | {last / first:.2f} |')
    assert last < 0.85 * first
