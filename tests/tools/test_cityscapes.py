"""Training and the test server's label maps on a miniature of Cityscapes in the official layout."""

import runpy
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.evaluation.metrics import citys_metric
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_pan import UserError, cli
from tests.engine.runs import train
from tests.paths import ROOT

#: Official ids of the 19 trained classes, in their order.
IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
CITIES = {'train': ('aachen', 'bochum'), 'val': ('lindau',), 'test': ('berlin', 'bonn')}
WIDTH, HEIGHT = 128, 64


@pytest.fixture(scope='module')
def cityscapes(tmp_path_factory):
    """As the archives are unpacked: a folder for each city; the test's masks are left out."""
    root = tmp_path_factory.mktemp('data') / 'cityscapes'
    random = np.random.default_rng(0)
    for split, cities in CITIES.items():
        for city in cities:
            images, masks = root / 'leftImg8bit' / split / city, root / 'gtFine' / split / city
            images.mkdir(parents=True)
            masks.mkdir(parents=True)
            for frame in range(2):
                name = f'{city}_{frame:06d}_000019'
                trained = random.integers(0, 20, (HEIGHT // 16, WIDTH // 16)).astype(np.uint8)
                trained = trained.repeat(16, 0).repeat(16, 1)
                pixels = np.stack([trained * 12] * 3, axis=-1)
                Image.fromarray(pixels).save(images / f'{name}_leftImg8bit.png')
                if split == 'test':
                    continue
                official = np.append(IDS, 0).astype(np.uint8)[trained]
                trained[trained == 19] = 255
                Image.fromarray(official).save(masks / f'{name}_gtFine_labelIds.png')
                Image.fromarray(trained).save(masks / f'{name}_gtFine_labelTrainIds.png')
    return root


@pytest.fixture
def small_config(cityscapes, monkeypatch):
    """A config of configs/pan at a sixteenth of its size, with a network of seconds."""
    monkeypatch.setenv('CITYSCAPES_ROOT', str(cityscapes))

    def load(name: str) -> Config:
        cfg = Config.fromfile(ROOT / f'configs/pan/{name}.py')
        cfg.model.backbone.update(depth=18, base_channels=16, stem_channels=16, init_cfg=None)
        cfg.model.decode_head.update(in_channels=(16, 32, 64, 128), channels=16, pyramid_channels=8)
        cfg.model.data_preprocessor.size = (64, 64)
        for split in ('train', 'val', 'test'):
            loader = cfg[f'{split}_dataloader']
            loader.update(num_workers=0, persistent_workers=False)
            for step in loader.dataset.pipeline:
                if 'scale' in step:
                    step.scale = (WIDTH, HEIGHT)
                if 'crop_size' in step:
                    step.crop_size = (64, 64)
        cfg.train_dataloader.batch_size = 2
        cfg.train_cfg.update(max_iters=2, val_interval=2)
        cfg.log_level = 'WARNING'
        return cfg

    return load


def test_train_validate_and_write_what_the_server_takes(small_config, tmp_path, monkeypatch):
    if citys_metric.CSEval is None:  # cityscapesscripts is not installed: its ids
        labels = {number: SimpleNamespace(id=label) for number, label in enumerate(IDS)}
        monkeypatch.setattr(citys_metric, 'CSEval', SimpleNamespace())
        monkeypatch.setattr(citys_metric, 'CSLabels', SimpleNamespace(trainId2label=labels))
    monkeypatch.chdir(tmp_path)
    cfg = small_config('pan_r101-d16_cityscapes')
    cfg.work_dir = 'run'
    runner = train(cfg)
    assert len(runner.train_dataloader.dataset) == 4
    assert 0 <= runner.message_hub.get_scalar('val/mIoU').current() <= 100

    server = small_config('pan_r101-d16_cityscapes_test-server')
    server.dump('server.py')
    server.test_evaluator = dict(type='IoUMetric', format_only=True)
    server.dump('numbers.py')  # the same without the official ids
    for config, *options in (['server.py'], ['numbers.py', '--out', 'numbers']):
        line = ['test.py', config, 'run/iter_2.pth', '--work-dir', 'test', *options]
        monkeypatch.setattr(sys, 'argv', line)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / 'tools/test.py'), run_name='__main__')
        assert not ended.value.code
    written = sorted((tmp_path / 'work_dirs/cityscapes_test-server').iterdir())
    names = [
        f'{city}_{frame:06d}_000019_leftImg8bit.png' for city in CITIES['test'] for frame in (0, 1)
    ]
    assert [path.name for path in written] == names
    for path in written:
        labels = np.asarray(Image.open(path))
        assert labels.shape == (HEIGHT, WIDTH)
        (numbers,) = (tmp_path / 'numbers').rglob(path.name.replace('_leftImg8bit', '*'))
        assert np.array_equal(labels, np.array(IDS)[np.asarray(Image.open(numbers))])


def test_masks_that_were_not_made_are_told_with_the_command(small_config, cityscapes, tmp_path):
    cfg = small_config('pan_r101-d16_cityscapes')
    cfg.train_dataloader.dataset.data_prefix.seg_map_path = 'gtFine/test'
    with pytest.raises(
        UserError, match=r'_labelTrainIds\.png and 3 other .*csCreateTrainIdLabelImgs'
    ):
        DATASETS.build(cfg.train_dataloader.dataset)


def test_the_servers_maps_need_cityscapesscripts(small_config, monkeypatch):
    monkeypatch.setattr(citys_metric, 'CSEval', None)
    cli.check_evaluators(small_config('pan_r101-d16_cityscapes'))
    with pytest.raises(UserError, match='"pip install cityscapesscripts"'):
        cli.check_evaluators(small_config('pan_r101-d16_cityscapes_test-server'))
