"""What docs/data.md says about people's own data, done as it stands there."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SMALL = [  # for speed only: the config of the page is trained as it stands
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
    'train_dataloader.dataset.pipeline.2.scale=(64,64)',
    'train_dataloader.dataset.pipeline.3.crop_size=(64,64)',
    'val_dataloader.dataset.pipeline.1.scale=(64,64)',
    'model.data_preprocessor.size=(64,64)',
    'model.backbone.init_cfg=None',
    'train_cfg.max_iters=3',
    'train_cfg.val_interval=3',
    'default_hooks.logger.interval=1',
]


def page_config() -> str:
    page = (ROOT / 'docs' / 'data.md').read_text()
    (block,) = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
    return block


def page_commands() -> list[str]:
    """The tools that the page calls on this config."""
    page = (ROOT / 'docs' / 'data.md').read_text()
    return re.findall(r'python tools/(\S+) configs/pan/my_parts\.py', page)


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder with the configs, the page's config among them, and generated parts."""
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    (tmp_path / 'configs' / 'pan' / 'my_parts.py').write_text(page_config())
    random = np.random.default_rng(0)
    for split, count in (('train', 6), ('val', 2)):
        images = tmp_path / 'data' / 'parts' / 'images' / split
        masks = tmp_path / 'data' / 'parts' / 'masks' / split
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for number in range(count):
            mask = np.zeros((48, 64), np.uint8)
            mask[8:24, 8:40] = 1 + number % 2
            mask[0] = 255
            picture = random.integers(0, 60, (48, 64, 3)) + mask[..., None] % 255 * 80
            Image.fromarray(picture.astype(np.uint8)).save(images / f'part{number}.jpg')
            Image.fromarray(mask).save(masks / f'part{number}.png')
    return tmp_path


def test_the_page_keeps_its_promise_of_about_fifteen_lines():
    assert len(page_config().splitlines()) <= 20


@pytest.mark.slow
def test_own_images_and_masks_train_as_the_page_says(run_tool, project):
    """The commands run in the folder of the project, as every test's folder is."""
    config = 'configs/pan/my_parts.py'
    verify, browse, train = page_commands()
    done = run_tool(verify, config)
    assert 'No faults found.' in done.stdout
    assert '| scratch ' in done.stdout
    run_tool(browse, config, '--number', '2')
    assert len(list((project / 'work_dirs' / 'my_parts' / 'browse').iterdir())) == 2
    run_tool(train, config, '--cfg-options', *SMALL)
    (log,) = (project / 'work_dirs' / 'my_parts').glob('*/vis_data/scalars.json')
    records = [json.loads(line) for line in log.read_text().splitlines()]
    losses = [record['loss'] for record in records if 'loss' in record]
    assert len(losses) == 3
    assert np.isfinite(losses).all()
    assert any('mIoU' in record for record in records)
