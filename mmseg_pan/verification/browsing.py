"""Pictures of what the network sees: augmented, normalised and padded, next to the mask."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from mmseg.registry import DATASETS, MODELS
from PIL import Image, ImageDraw

from mmseg_pan.errors import UserError
from mmseg_pan.evaluation.label_map_files import (
    dataset_folders,
    dataset_images,
    image_name,
    image_root,
)
from mmseg_pan.files import write_whole
from mmseg_pan.fonts import drawable_names, missing_letters, picture_font
from mmseg_pan.outputs import check_folder, check_result, png_mark, result_names

_LEGEND = 18  # pixels of a line
_TEXT = 12
_GAP = 6


def browse(config: Config, folder: Path, number: int, split: str = 'train') -> Iterator[Path]:
    """Write pictures of samples, chosen by the config's seed.

    A sample goes the whole way to the network: the pipeline, then the model's data
    preprocessor, whose normalisation is undone again for the picture.

    Args:
        config: A training config.
        folder: Where the pictures go.
        number: How many.
        split: ``train``, ``val`` or ``test``.

    Yields:
        The files, as they are written.

    Raises:
        UserError: If the config lacks the split or the model's data preprocessor, or the
            folder holds files of the data set or others that would be overwritten.
    """
    loader, model = config.get(f'{split}_dataloader'), config.get('model', {})
    if not loader or 'data_preprocessor' not in model:
        raise UserError(
            f'The config has no {split}_dataloader or no model.data_preprocessor; give one that '
            'can be trained, such as configs/pan/pan_r101-d16_voc.py.'
        )
    init_default_scope('mmseg')
    dataset = DATASETS.build(loader.dataset)
    preprocessor = MODELS.build(model.data_preprocessor)
    folder = Path(folder)
    check_folder(folder, dataset_folders(dataset), '--output-dir')
    root = image_root(dataset)
    images = {path: Path(image_name(path, root)) for path in dataset_images(dataset)}
    names = result_names(images.values(), '.png')
    for name in names.values():
        check_result(folder / name, option='--output-dir')
    if note := missing_letters(dataset.metainfo['classes']):
        print_log(note)
    seed = config.get('randomness', {}).get('seed') or 0
    set_random_seed(seed)
    order = np.random.default_rng(seed).permutation(len(dataset))[:number]
    for index in order:
        batch = preprocessor(pseudo_collate([dataset[int(index)]]), training=split == 'train')
        sample = batch['data_samples'][0]
        image = denormalised(batch['inputs'][0], preprocessor)
        mask = sample.gt_sem_seg.data[0].numpy()
        if mask.shape != image.shape[:2]:  # in evaluation masks keep their size
            image = np.asarray(Image.fromarray(image).resize(mask.shape[::-1]))
        picture = beside(image, mask, dataset.metainfo)
        path = folder / names[images[os.path.abspath(sample.img_path)]]
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        picture.save(buffer, 'PNG', pnginfo=png_mark())
        write_whole(path, buffer.getvalue(), durable=False)
        yield path


def denormalised(inputs: torch.Tensor, preprocessor: torch.nn.Module) -> np.ndarray:
    """Undo a preprocessor's normalisation.

    Args:
        inputs: ``(C, H, W)`` as the network gets it, RGB or grey; of more bands the first three.
        preprocessor: Its ``mean`` and ``std`` are used where it has them.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    mean = getattr(preprocessor, 'mean', torch.zeros(1))
    std = getattr(preprocessor, 'std', torch.ones(1))
    image = (inputs * std + mean).round().clamp(0, 255).to(torch.uint8)
    image = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    return image.permute(1, 2, 0).numpy()


def beside(image: np.ndarray, mask: np.ndarray, metainfo: dict) -> Image.Image:
    """The image, its mask in the classes' colours, and the names of those that occur.

    Args:
        image: ``(H, W, 3)`` uint8.
        mask: ``(H, W)`` ids; those outside the classes are drawn white.
        metainfo: ``classes`` and ``palette`` of the data set.
    """
    names, palette = drawable_names(metainfo['classes']), np.asarray(metainfo['palette'], np.uint8)
    colours = np.full((256, 3), 255, np.uint8)
    colours[: len(palette)] = palette
    height, width = mask.shape
    present = [int(item) for item in np.unique(mask)]
    legend = (len(present) * _LEGEND) + _GAP
    picture = Image.new('RGB', (2 * width + _GAP, height + legend), (40, 40, 40))
    picture.paste(Image.fromarray(image), (0, 0))
    picture.paste(Image.fromarray(colours[mask]), (width + _GAP, 0))
    draw = ImageDraw.Draw(picture)
    for line, item in enumerate(present):
        top = height + _GAP + line * _LEGEND
        draw.rectangle((_GAP, top, _GAP + 12, top + 12), tuple(colours[item].tolist()), 'white')
        name = names[item] if item < len(names) else 'ignored'
        text = f'{item} {name}, {(mask == item).mean():.1%}'
        draw.text((_GAP + 20, top), text, 'white', picture_font(text, _TEXT))
    return picture
