"""Test-time augmentation of an exported network."""

import copy

import pytest
import torch
from mmseg.structures import SegDataSample

from mmseg_pan.evaluation import FastTTAModel
from mmseg_pan.inference import load_segmentor
from tests.paths import TOY


@pytest.mark.parametrize('direction', ['horizontal', 'diagonal'])
def test_probabilities_are_those_of_the_checkpoint(toy_checkpoint, exported, direction):
    sides = (97, 129)
    data = dict(inputs=[], data_samples=[])
    image = torch.randint(256, (3, *sides), dtype=torch.uint8)
    for flip in (False, True):
        meta = dict(ori_shape=sides, img_shape=sides, flip=flip, flip_direction=direction)
        dims = (2,) if direction == 'horizontal' else (1, 2)
        data['inputs'].append([image.flip(dims) if flip else image])
        data['data_samples'].append([SegDataSample(metainfo=meta)])
    found = []
    for file in (toy_checkpoint, exported()):
        model = load_segmentor(file, TOY, 'cpu')
        model.data_preprocessor.test_cfg = None
        with torch.no_grad():
            found.append(FastTTAModel(model).average(copy.deepcopy(data))[0])
    assert found[0].std() > 0.01
    assert (found[0] - found[1]).abs().max() < 1e-3
