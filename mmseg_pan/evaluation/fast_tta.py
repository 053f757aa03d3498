"""Test-time augmentation with a running sum instead of the logits of each augmentation."""

from collections.abc import Iterator

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from .label_maps import argmax_over_classes, original_view


@MODELS.register_module()
class FastTTAModel(BaseTTAModel):
    """MMSeg's ``SegTTAModel`` with less work around the network.

    Probabilities are summed as they come: memory holds one map of them whatever the
    number of augmentations. The mean is that of ``SegTTAModel`` to rounding. On a GPU an
    image and its flip go through the network in one batch.

    With one logit a pixel ``SegTTAModel`` takes the sigmoid of a sigmoid, which is above
    one half everywhere; here it is taken once.
    """

    def test_step(self, data: dict) -> list[SegDataSample]:
        """Predict the label maps of a batch.

        Args:
            data: What ``TestTimeAug`` and ``pseudo_collate`` give: ``inputs`` and
                ``data_samples``, for each augmentation a list of the batch's images.

        Returns:
            For each image the sample of its first augmentation with ``pred_sem_seg`` of
            shape (1, H, W) at the original size.
        """
        samples = data['data_samples'][0]
        for sample, probabilities in zip(samples, self.average(data), strict=True):
            if len(probabilities) == 1:
                threshold = self.module.decode_head.threshold
                labels = (probabilities > threshold).to(probabilities)
            else:
                labels = argmax_over_classes(probabilities)
            sample.set_data({'pred_sem_seg': PixelData(data=labels)})
        return samples

    @property
    def batches_flips(self) -> bool:
        """Whether augmentations of one size share a pass.

        Not on a CPU: for the six scales of VOC and MobileNetV2, batches of two took 1.25
        (channels-last) to 1.4 times the time of single images, whose maps fit the cache.
        """
        # The data preprocessor's: an exported network has no parameters to ask.
        return self.module.data_preprocessor.device.type != 'cpu'

    def average(self, data: dict) -> list[Tensor]:
        """Return the mean probabilities of each image, (C, H, W) at the original size."""
        count = len(data['inputs'])
        images = len(data['inputs'][0])
        sums: list[Tensor | None] = [None] * images
        for chosen in _passes(data['inputs'], self.batches_flips):
            batch = {
                key: _joined([values[index] for index in chosen]) for key, values in data.items()
            }
            batch = self.module.data_preprocessor(batch, False)
            metas = [sample.metainfo for sample in batch['data_samples']]
            all_logits = self.module.inference(batch['inputs'], metas)
            for i, (logits, meta) in enumerate(zip(all_logits.split(1), metas, strict=True)):
                probabilities = self._probabilities(logits, meta)
                image = i % images
                if sums[image] is None:
                    sums[image] = probabilities
                else:
                    sums[image] += probabilities
        return [total.div_(count) for total in sums]

    def _probabilities(self, logits: Tensor, meta: dict) -> Tensor:
        logits = resize(
            original_view(logits, meta),
            size=meta['ori_shape'],
            mode='bilinear',
            align_corners=self.module.align_corners,
            warning=False,
        )[0]
        if len(logits) == 1:
            return logits.sigmoid()
        if logits.stride(0) == 1:  # channels last: torch's softmax is twice as fast along them
            return logits.permute(1, 2, 0).softmax(dim=-1).permute(2, 0, 1)
        return logits.softmax(dim=0)

    def merge_preds(self, data_samples_list: list) -> list:
        """Not used: there is nothing to merge."""
        raise NotImplementedError('FastTTAModel sums probabilities in test_step')


def _joined(values: list) -> list | Tensor:
    """Put batches together: lists of images or samples, or images that are stacked already."""
    if all(isinstance(value, Tensor) for value in values):
        return torch.cat(values)
    return [item for value in values for item in value]


def _passes(inputs: list[list[Tensor]], batched: bool) -> Iterator[list[int]]:
    """Group neighbouring augmentations whose images have the same sizes, or none."""
    chosen: list[int] = []
    for index, images in enumerate(inputs):
        same = chosen and [x.shape for x in images] == [x.shape for x in inputs[chosen[0]]]
        if chosen and not (batched and same):
            yield chosen
            chosen = []
        chosen.append(index)
    yield chosen
