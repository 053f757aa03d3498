"""Predict label maps of images with a segmentor's own test pipeline."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from mmseg.models.segmentors.base import BaseSegmentor

from mmseg_pan.datasets.reading import Loading
from mmseg_pan.errors import UserError

from .memory import check_memory
from .windows import windowed_logits

#: Pixels of a window's side. VOC's pipelines give no larger images, Cityscapes' no wider ones.
WINDOW = 2048
SMALLEST_WINDOW = 64  # four cells of a map at output stride 16

#: MMSegmentation's inference_model and MMSegInferencer put the latter two in the first's place.
_LOADERS = ('LoadImageFromFile', 'LoadImageFromNDArray', 'InferencerLoader')


class Predictor:
    """A segmentor that takes images of any size.

    Args:
        model: Any MMSeg segmentor in evaluation mode, with ``cfg.test_pipeline`` and
            ``dataset_meta``, as :func:`~mmseg_pan.inference.load_segmentor` gives it.
        window: An image with a longer side after the pipeline is processed in windows of
            this side, in pixels.
        batch: Most images in one step of the network.

    Raises:
        UserError: If the pipeline does not begin with an image file.
    """

    def __init__(self, model: BaseSegmentor, window: int = WINDOW, batch: int = 1):
        self.model = model
        self.window = window
        self.batch = batch
        self.classes = len(model.dataset_meta['classes'])
        self.pipeline = Compose(without_files(model.cfg.test_pipeline))
        #: How the network's images are loaded.
        self.loading = Loading.of(model.cfg.test_pipeline) or Loading()

    @property
    def device(self) -> torch.device:
        """Where the network's inputs go; an exported network has no parameters to ask."""
        return self.model.data_preprocessor.device

    def check_size(self, height: int, width: int) -> None:
        """Refuse an image that does not fit into memory, by its size alone.

        Raises:
            UserError: If it does not fit.
        """
        check_memory(self.classes, (height, width), device=self.device)

    def prepare(self, image: np.ndarray) -> dict:
        """Run the test pipeline.

        Args:
            image: As the pipeline's loader gives it, ``(H, W, 3)`` uint8, BGR, by default.

        Returns:
            ``inputs`` (C, h, w) and ``data_samples``.

        Raises:
            UserError: If the pipeline cannot resize it, or the result does not fit into memory.
        """
        height, width = image.shape[:2]
        try:
            prepared = self.pipeline(dict(img=image))
        except cv2.error as error:
            raise UserError(
                f'{width}x{height} pixels cannot go through the test pipeline '
                f'({error.err or error}); cut or pad the image.'
            ) from error
        channels, *seen = prepared['inputs'].shape
        mean = getattr(self.model.data_preprocessor, 'mean', None)
        if mean is not None and len(mean) != channels:
            raise UserError(
                f'The image has {channels} channels after the test pipeline, and the network '
                f'takes {len(mean)}; save it with {len(mean)} channels.'
            )
        check_memory(self.classes, (height, width), tuple(seen), self.device)
        return prepared

    @torch.inference_mode()
    def predict(self, prepared: Sequence[dict]) -> list[np.ndarray]:
        """Segment prepared images; those of one size go through the network together.

        Args:
            prepared: What :meth:`prepare` gave.

        Returns:
            Class ids ``(H, W)`` at the size of each image, uint8, or uint16 where there are
            more than 256 classes.

        Raises:
            UserError: If a batch does not fit into the GPU's memory.
        """
        by_size = {}
        for index, item in enumerate(prepared):
            by_size.setdefault(item['inputs'].shape, []).append(index)
        labels = [None] * len(prepared)
        for group in by_size.values():
            for start in range(0, len(group), self.batch):
                indices = group[start : start + self.batch]
                for index, found in zip(
                    indices, self._step([prepared[i] for i in indices]), strict=True
                ):
                    labels[index] = found
        return labels

    def _step(self, items: list[dict]) -> list[np.ndarray]:
        try:
            data = self.model.data_preprocessor(pseudo_collate(items), training=False)
            inputs, samples = data['inputs'], data['data_samples']
            if max(inputs.shape[2:]) <= self.window:
                samples = self.model(inputs, samples, mode='predict')
            else:
                metas = [sample.metainfo for sample in samples]
                logits = windowed_logits(self.model, inputs, metas, self.window)
                samples = self.model.postprocess_result(logits, samples)
        except torch.cuda.OutOfMemoryError:
            raise UserError(
                f'A batch of {len(items)} images does not fit into memory of {self.device}; type '
                'a smaller --batch or --window.'
            ) from None
        kind = np.uint8 if self.classes <= 256 else np.uint16
        return [sample.pred_sem_seg.data[0].cpu().numpy().astype(kind) for sample in samples]


def without_files(pipeline: Sequence[dict]) -> list[dict]:
    """Return the test pipeline without masks, starting from an array instead of a file.

    Raises:
        UserError: If it does not begin with ``LoadImageFromFile``.
    """
    first, *others = pipeline
    if first['type'] not in _LOADERS:
        raise UserError(
            f'The test pipeline of the config begins with {first["type"]}, but this tool reads '
            'image files only (LoadImageFromFile); give another config with --config.'
        )
    others = [item for item in others if 'Annotation' not in item['type']]
    return [{**first, 'type': 'LoadImageFromNDArray'}, *others]
