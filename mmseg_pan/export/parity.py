"""Compare an exported network with its original on test images."""

import statistics
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmseg.datasets import BaseSegDataset
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.segmentors.base import BaseSegmentor
from torch import Tensor

from mmseg_pan.devices import now
from mmseg_pan.errors import UserError
from mmseg_pan.evaluation.confusion import confusion_matrix, mean_iou
from mmseg_pan.evaluation.label_map_files import single_datasets
from mmseg_pan.evaluation.label_maps import postprocess_labels
from mmseg_pan.weights.exported import ExportedSegmentor, open_exported

from .graph import SegmentorGraph
from .synthetic import TOLERANCE, compare_label_maps


def compare_networks(
    reference: BaseSegmentor,
    others: Mapping[str, BaseSegmentor],
    dataset: BaseSegDataset,
    images: int = 0,
) -> dict[str, dict[str, float]]:
    """Segment the images of a data set with all of them, image by image in turns.

    Args:
        reference: The segmentor that was exported.
        others: Exported networks by name.
        dataset: With labels, and its pipeline for testing.
        images: How many images, spread over the data set; 0: all.

    Returns:
        For 'reference' and each name: 'difference', the largest absolute difference of logits;
        'same', the share of pixels with the reference's class; 'mIoU' in per cent; 'seconds' of
        an image, median; 'speed' to the reference, median of the images' ratios.
    """
    models = {'reference': reference, **others}
    classes = len(dataset.metainfo['classes'])
    ignored = next(single_datasets(dataset)).ignore_index
    found = {name: dict(difference=0.0, same=0, seconds=[], matrix=0) for name in models}
    pixels = 0
    indices = spread(dataset, images)
    for step, index in enumerate([indices[0], *indices]):  # the first one warms up
        batch = pseudo_collate([dataset[index]])
        expected = labels = None
        for name, model in models.items():
            logits, seconds = segment(model, batch)
            (sample,) = postprocess_labels(model, logits, [batch['data_samples'][0].clone()])
            prediction = sample.pred_sem_seg.data
            if expected is None:
                expected, labels = logits, prediction
            if step == 0:
                continue
            row = found[name]
            row['difference'] = max(row['difference'], float((logits - expected).abs().max()))
            row['same'] += int((prediction == labels).sum())
            row['seconds'].append(seconds)
            truth = sample.gt_sem_seg.data
            row['matrix'] = row['matrix'] + confusion_matrix(
                truth[0].cpu().numpy(), prediction[0].cpu().numpy(), classes, ignored
            )
        pixels += labels.numel() if step else 0
    times = found['reference']['seconds']
    return {
        name: dict(
            difference=row['difference'],
            same=row['same'] / pixels,
            mIoU=mean_iou(row['matrix'], dataset.metainfo['classes']),
            seconds=statistics.median(row['seconds']),
            speed=statistics.median(a / b for a, b in zip(times, row['seconds'], strict=True)),
        )
        for name, row in found.items()
    }


def compare_export(
    model: EncoderDecoder,
    file: Path,
    dataset: BaseSegDataset,
    images: int,
    tolerance: float = TOLERANCE,
) -> str:
    """Compare an exported file with its network on test images.

    A network of a fixed size sees resized images: its table shows what that costs, and only
    one of class ids, which is compared at its own size, is refused for other classes.

    Args:
        model: The network.
        file: ONNX or OpenVINO's .xml.
        dataset: With labels, and its pipeline for testing.
        images: How many images, spread over the data set; 0: all.
        tolerance: Share of pixels that may get another class.

    Returns:
        What was found, to print.

    Raises:
        UserError: If more of them do.
    """
    about = open_exported(file)[1]
    if about.labels:
        graph = SegmentorGraph(model, about.preprocess, labels=True)
        changed = compare_label_maps(graph, file, dataset, spread(dataset, images))
        check_same({file.name: dict(same=1 - changed)}, file.name, tolerance)
        return f'{file.name} predicts the same class for {1 - changed:.4%} of the pixels.'
    exported = {file.name: ExportedSegmentor(str(file))}
    rows = compare_networks(model, exported, dataset, images)
    if about.shape is None:
        check_same(rows, file.name, tolerance)
    return parity_table(rows)


def spread(dataset: BaseSegDataset, images: int) -> list[int]:
    """Choose indices of images, evenly over a data set; 0: all."""
    count = min(images or len(dataset), len(dataset))
    return np.linspace(0, len(dataset) - 1, count).astype(int).tolist()


def check_same(rows: Mapping[str, Mapping[str, float]], name: str, tolerance: float) -> None:
    """Refuse an export that changes too many pixels.

    Args:
        rows: What :func:`compare` found.
        name: The exported network.
        tolerance: Share of pixels that may get another class.

    Raises:
        UserError: If more of them do.
    """
    changed = 1 - rows[name]['same']
    if changed > tolerance:
        raise UserError(
            f'{name} predicts another class for {changed:.2%} of the pixels, more than '
            f'{tolerance:.2%}; do not use it, or allow more with --tolerance.'
        )


def segment(model: BaseSegmentor, batch: dict) -> tuple[Tensor, float]:
    """Run the network on a collated batch: logits at the size of its input, and seconds."""
    data = model.data_preprocessor(batch, False)
    metas = [sample.metainfo for sample in data['data_samples']]
    with torch.inference_mode():
        start = now()
        logits = model.inference(data['inputs'], metas)
        seconds = now() - start
    return logits.float().cpu(), seconds


def parity_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Write what :func:`compare` found as a Markdown table."""
    lines = [
        '| | largest difference of logits | same class | mIoU % | ms per image | speedup |',
        '| --- | ---: | ---: | ---: | ---: | ---: |',
    ]
    for name, row in rows.items():
        lines.append(
            f'| {name} | {row["difference"]:.1e} | {row["same"]:.4%} | {row["mIoU"]:.2f} '
            f'| {1e3 * row["seconds"]:.0f} | {row["speed"]:.2f} |'
        )
    return '\n'.join(lines)
