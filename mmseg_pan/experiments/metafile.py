"""The model zoo's list of configs: names, recipes and measured results."""

from pathlib import Path

import yaml
from mmengine.config import Config

from .recipes import by_recipe
from .results import read_results

DATA = dict(
    VOCAugDataset='Pascal VOC 2012 + Aug',
    CheckedCityscapesDataset='Cityscapes',
    ToyShapesDataset='toy shapes',
)
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

    A result is of one results file, one machine, one set of options and one set of lists; what
    differs in any of them is a result of its own.

    Args:
        root: Of the checkout.
    """
    folder = root / 'configs' / 'pan'
    found = [
        _result(file.relative_to(root), runs)
        for file in sorted(folder.glob('results/*.jsonl'))
        for runs in by_recipe(read_results(file))
        if runs[0]['iterations']  # else the test of a file, which says nothing of the recipe
    ]
    models = [_entry(file, root, found) for file in sorted(folder.glob('*.py'))]
    head = '# Written by tools/misc/write_results.py.\n'
    content = dict(Collections=[COLLECTION], Models=models)
    return head + yaml.safe_dump(content, sort_keys=False, width=100)


def _entry(file: Path, root: Path, found: list[tuple[str, dict]]) -> dict:
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
    results = [
        result | dict(Dataset=f'{data}{result["Dataset"]}')
        for config, result in found
        if config == path
    ]
    if results:
        entry['Results'] = results
    return entry


def _result(file: Path, runs: list[dict]) -> tuple[str, dict]:
    """Config of some runs, and their mean as a result without the data set's name."""
    first = runs[0]
    # A part of a data set is not the data set.
    images = first.get('test_images')
    means = {
        key: round(sum(line[key] for line in runs) / len(runs), 2)
        for key in first
        if key.startswith('mIoU')
    }
    return first['config'], {
        'Task': 'Semantic Segmentation',
        'Dataset': f', {images} images' if images else '',
        'Metrics': means,
        'Record': str(file),
        'Seeds': [line['seed'] for line in runs],
        'Training Resources': first['device'],
        'Iterations': first['iterations'],
        'Options': first['options'],
        'Lists': {
            name.rpartition('/')[2]: digest[:12] if digest else 'unknown'
            for name, digest in (first.get('lists') or {}).items()
        },
    }
