"""PAN and its FCN baseline on the toy data set: the quick start."""

import os
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from mmseg_pan.datasets.toy import ToyShapesDataset, make_toy_shapes
from mmseg_pan.errors import UserError
from mmseg_pan.figures import write_picture
from mmseg_pan.reports.plots import draw_curves
from mmseg_pan.reports.training_logs import curve, read_rows

from .results import read_results
from .runner import run_all
from .spec import check_experiments, read_spec

matplotlib.use('Agg')
import matplotlib.pyplot as plt

SPEC = 'configs/pan/results/quickstart.yaml'  # from the root of the checkout


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


def run_demonstration(root: Path, data: Path, out: Path, options: dict) -> None:
    """Train and test PAN and FCN, and leave a table, loss curves and pictures.

    Args:
        root: Of the checkout.
        data: Toy data set; made where it is missing.
        out: Where runs, results and pictures go.
        options: Changes of both configs, as ``--cfg-options`` gives them.

    Raises:
        UserError: If ``root`` is no checkout, or a run failed.
    """
    # A separate record: the one in the repository has runs of another machine.
    spec = read_spec(root / SPEC, root, out / 'results.jsonl')
    spec = spec._replace(
        experiments=[e._replace(options=e.options | options) for e in spec.experiments]
    )
    check_experiments(spec)
    if data.exists() and not data.is_dir():
        raise UserError(f'--data {data} is no folder; name the folder of the toy data set.')
    if not data.exists():
        make_toy_shapes(data)
    os.environ['TOY_ROOT'] = str(data.resolve())  # configs look there
    run_all(spec, out)
    runs = {e.name: e.folder(e.identity(root)) for e in spec.experiments}
    folders = {name: out / run for name, run in runs.items()}
    losses = {name: dict(loss=curve(read_rows(f), 'loss')) for name, f in folders.items()}
    write_picture(draw_curves(losses, dict(loss='training loss (cross-entropy)')), out / 'loss.png')
    draw_predictions(data, folders, out / 'predictions.png')
    # A record of an earlier version may hold other runs.
    shown = [set(side) for side in ({runs['PAN']}, {runs['FCN']})]
    print_table(
        [
            line
            for line in read_results(spec.results.path)
            if line.get('run') in runs.values()
            or [set(side) for side in line.get('runs', [])] == shown
        ]
    )
    print(f'\nPictures: {out / "predictions.png"}\nLoss:     {out / "loss.png"}')


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
                f'(these two networks; 95 % interval over the images: {gap["images_low"]:+.1f} to '
                f'{gap["images_high"]:+.1f}).'
            )
