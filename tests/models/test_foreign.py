"""PANHead on every backbone family that the installed MMSegmentation has a config for."""

import importlib

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_pan import UserError
from tests.models.foreign import FOREIGN, NEEDS_MMPRETRAIN, SHIPPED, with_pan_head

SIDE = 128


def test_enough_configs_and_all_of_them_are_shipped():
    assert len(set(FOREIGN)) == 40
    assert [name for name in FOREIGN if not (SHIPPED / name).is_file()] == []


@pytest.mark.slow
@pytest.mark.parametrize('name', FOREIGN, ids=[name.split('/')[1][:-3] for name in FOREIGN])
def test_pan_head_runs_forward_and_backward(name):
    if name.startswith(NEEDS_MMPRETRAIN):
        try:
            importlib.import_module('mmseg_pan.models.mmpretrain')
        except UserError as error:
            pytest.skip(str(error))
    model = MODELS.build(with_pan_head(name, SIDE))
    model.train()
    labels = torch.randint(21, (2, 1, SIDE, SIDE))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    losses = model(torch.rand(2, 3, SIDE, SIDE), samples, mode='loss')
    losses['decode.loss_ce'].backward()
    assert [n for n, p in model.decode_head.named_parameters() if p.grad is None] == []
    assert [n for n, p in model.backbone.named_parameters() if p.grad is not None]
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    model.eval()
    with torch.no_grad():
        logits = model(torch.rand(1, 3, SIDE, SIDE), mode='tensor')
    assert logits.shape[:2] == (1, 21)
