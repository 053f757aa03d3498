"""The model zoo's list of configs: names, recipes and measured results."""

from pathlib import Path

import yaml
from mmengine.config import Config

from .results import read_results

DATA = dict(
    VOCAugDataset='Pascal VOC 2012 + Aug',
    CityscapesDataset='Cityscapes',
    ToyShapesDataset='toy shapes',
)
# Where weights lie and how memory is laid out: not another recipe.
LOCAL = {'model.backbone.init_cfg.checkpoint', 'custom_hooks'}
COLLECTION = dict(
    Name='PAN',
    License='Apache License 2.0',
    Metadata={'Training Data': sorted(DATA.values())},
    Paper=dict(
        Title='Pyramid Attention Network for Semantic Segmentation',
        URL='https://arxiv.org/abs/1805.10180',
    ),
    README='configs/pan/README.md',
    Framework='PyTorch',
)


def metafile(root: Path) -> str:
    """List every config of configs/pan, with the mean over seeds where there are results.

    Args:
        root: Of the checkout.
    """
    folder = root / 'configs' / 'pan'
    lines = [line for file in sorted(folder.glob('results/*.jsonl')) for line in read_results(file)]
    models = [_entry(file, root, lines) for file in sorted(folder.glob('*.py'))]
    head = '# Written by tools/misc/write_results.py.\n'
    content = dict(Collections=[COLLECTION], Models=models)
    return head + yaml.safe_dump(content, sort_keys=False, width=100)


def _entry(file: Path, root: Path, lines: list[dict]) -> dict:
    cfg = Config.fromfile(file)
    path = str(file.relative_to(root))
    backbone = cfg.model.backbone
    depth = f'-{backbone.depth}' if 'depth' in backbone else ''
    data = DATA[cfg.test_dataloader.dataset.type]
    entry = {
        'Name': file.stem,
        'In Collection': 'PAN',
        'Config': path,
        'Metadata': {
            'Training Data': data,
            'Batch Size': cfg.auto_scale_lr.base_batch_size,
            'Architecture': [f'{backbone.type}{depth}', cfg.model.decode_head.type],
            'Iterations': cfg.train_cfg.max_iters,
        },
    }
    # With other options than the config's, a run says nothing about the config.
    # One run a seed, though several files may have it.
    found = {
        line['seed']: line
        for line in lines
        if line.get('config') == path and not set(line['options']) - LOCAL
    }
    runs = list(found.values())
    if runs:
        means = {
            key: round(sum(line[key] for line in runs) / len(runs), 2)
            for key in runs[0]
            if key.startswith('mIoU')
        }
        entry['Metadata']['Training Resources'] = runs[0]['device']
        # A part of a data set is not the data set.
        images = runs[0].get('test_images')
        name = f'{data}, {images} images' if images else data
        entry['Results'] = dict(Task='Semantic Segmentation', Dataset=name, Metrics=means)
    return entry
