"""The README's first command: PAN beside its FCN baseline on the toy shapes.

    python -m mmseg_pan.demo

Trains both with tools/train.py, tests both with tools/test.py, and leaves a table, loss
curves and pictures. What is done already is not done again.
"""

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from mmseg_pan.datasets.toy import ToyShapesDataset, make_toy_shapes
from mmseg_pan.engine import cli
from mmseg_pan.engine.experiments import train_and_test, training_time
from mmseg_pan.evaluation.plots import draw_curves, write_picture
from mmseg_pan.evaluation.training_logs import curve, read_rows, scalars
from mmseg_pan.files import write_whole

matplotlib.use('Agg')
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
HEADS = {'FCN (baseline)': 'fcn_r18-d16_toy', 'PAN': 'pan_r18-d16_toy'}


def train_and_test_once(config: str, folder: Path, options: list[str]) -> dict[str, float]:
    """Train and test one config, unless that was done before.

    Args:
        config: Stem of a config in ``configs/pan``.
        folder: Where its checkpoints, predictions and metrics go.
        options: ``--cfg-options`` of both tools.

    Returns:
        Metrics in per cent, as the test writes them, and ``seconds`` of training.

    Raises:
        UserError: If a tool failed; its own words are above.
    """
    result = folder / 'result.json'
    if result.is_file():
        return json.loads(result.read_text())
    train_and_test(ROOT / 'configs' / 'pan' / f'{config}.py', folder, options)
    metrics = json.loads(max(folder.glob('*/[0-9]*_[0-9]*.json')).read_text())
    seconds = training_time(folder)['seconds_per_iteration'] * max(scalars(folder))
    metrics['seconds'] = round(seconds)
    write_whole(result, json.dumps(metrics).encode())
    return metrics


def draw_predictions(data: Path, folders: dict[str, Path], file: Path, count: int = 6) -> None:
    """Draw image, truth and each run's prediction, one row an image."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(ToyShapesDataset.METAINFO['palette'])] = ToyShapesDataset.METAINFO['palette']
    palette[255] = 224
    names = (data / 'ImageSets/Segmentation/val.txt').read_text().split()[:count]
    columns = ['image', 'truth', *folders]
    figure, axes = plt.subplots(
        len(names), len(columns), figsize=(2 * len(columns), 2 * len(names)), squeeze=False
    )
    for row, name in zip(axes, names, strict=True):
        truth = Image.open(data / f'SegmentationClass/{name}.png')
        maps = [truth, *(Image.open(f / f'predictions/{name}.png') for f in folders.values())]
        pictures = [Image.open(data / f'JPEGImages/{name}.jpg')]
        pictures += [palette[np.asarray(m)] for m in maps]
        for cell, picture in zip(row, pictures, strict=True):
            cell.imshow(picture)
            cell.axis('off')
    for cell, title in zip(axes[0], columns, strict=True):
        cell.set_title(title)
    classes = ToyShapesDataset.METAINFO['classes']
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=palette[i] / 255, label=c) for i, c in enumerate(classes)
    ]
    figure.legend(handles=handles, loc='lower center', ncols=len(classes), frameon=False)
    plt.savefig(file, dpi=120, bbox_inches='tight')
    plt.close()


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, default=ROOT / 'data' / 'toy_shapes')
    parser.add_argument('--out', type=Path, default=ROOT / 'work_dirs' / 'demo')
    parser.add_argument('--cfg-options', nargs='*', default=[], metavar='KEY=VALUE')
    args = parser.parse_args()
    if not args.data.exists():
        make_toy_shapes(args.data)
    splits = [f'{split}_dataloader.dataset.data_root={args.data}' for split in ('train', 'test')]
    options = ['randomness.seed=0', *splits, *args.cfg_options]
    folders = {name: args.out / config for name, config in HEADS.items()}
    results = {
        name: train_and_test_once(HEADS[name], folder, options) for name, folder in folders.items()
    }
    losses = {name: dict(loss=curve(read_rows(f), 'loss')) for name, f in folders.items()}
    write_picture(
        draw_curves(losses, dict(loss='training loss (cross-entropy)')), args.out / 'loss.png'
    )
    draw_predictions(args.data, folders, args.out / 'predictions.png')
    print(f'\n{"toy shapes":<16}{"mIoU %":>8}{"accuracy %":>12}{"training":>11}')
    for name, r in results.items():
        print(f'{name:<16}{r["mIoU"]:>8.1f}{r["aAcc"]:>12.1f}{r["seconds"]:>9.0f} s')
    print(f'\nPictures: {args.out / "predictions.png"}\nLoss:     {args.out / "loss.png"}')


if __name__ == '__main__':
    cli.run_tool(main)
