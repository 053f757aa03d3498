"""The README's first command: PAN beside its FCN baseline on the toy shapes.

    python -m mmseg_pan.demo

Trains and tests what configs/pan/results/quickstart.yaml lists, and leaves a table, loss
curves and pictures. What is done already is not done again.
"""

import argparse
import os
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from mmseg_pan.datasets.toy import ToyShapesDataset, make_toy_shapes
from mmseg_pan.engine import cli
from mmseg_pan.engine.experiments import ROOT, read_spec, run_all
from mmseg_pan.engine.results import read_results
from mmseg_pan.evaluation.plots import draw_curves, write_picture
from mmseg_pan.evaluation.training_logs import curve, read_rows

matplotlib.use('Agg')
import matplotlib.pyplot as plt

SPEC = ROOT / 'configs/pan/results/quickstart.yaml'


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
    parser.add_argument('--cfg-options', nargs='+', action=cli.ConfigOptions, default={})
    args = parser.parse_args()
    if not args.data.exists():
        make_toy_shapes(args.data)
    os.environ['TOY_ROOT'] = str(args.data.resolve())  # configs look there
    spec = read_spec(SPEC, args.out / 'results.jsonl')  # what is on record is another machine's
    spec = spec._replace(
        experiments=[e._replace(options=e.options | args.cfg_options) for e in spec.experiments]
    )
    run_all(spec, args.out)
    folders = {experiment.name: args.out / experiment.folder for experiment in spec.experiments}
    losses = {name: dict(loss=curve(read_rows(f), 'loss')) for name, f in folders.items()}
    write_picture(
        draw_curves(losses, dict(loss='training loss (cross-entropy)')), args.out / 'loss.png'
    )
    draw_predictions(args.data, folders, args.out / 'predictions.png')
    print_table(read_results(spec.results.path))
    print(f'\nPictures: {args.out / "predictions.png"}\nLoss:     {args.out / "loss.png"}')


def print_table(lines: list[dict]) -> None:
    """Print runs and their comparisons, as :func:`read_results` gives them."""
    print(f'\n{"toy shapes":<16}{"mIoU %":>8}{"accuracy %":>12}{"training":>11}')
    for line in lines:
        if line['kind'] == 'run':
            seconds = line['iterations'] * line['seconds_per_iteration']
            print(f'{line["name"]:<16}{line["mIoU"]:>8.1f}{line["aAcc"]:>12.1f}{seconds:>9.0f} s')
    for line in lines:
        if line['kind'] == 'comparison':
            gap = line['mIoU']
            print(
                f'\n{line["first"]} is {gap["mean"]:+.1f} points of mIoU from {line["second"]} '
                f'(95 % interval over the images: {gap["low"]:+.1f} to {gap["high"]:+.1f}).'
            )


if __name__ == '__main__':
    cli.run_tool(main)
