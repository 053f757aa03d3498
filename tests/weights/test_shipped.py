"""The model in the package: whole, described, and of use."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS

from mmseg_pan.configs.contents import for_inference
from mmseg_pan.evaluation.confusion import confusion_matrix, iou_by_class, truths
from mmseg_pan.experiments.results import read_results
from mmseg_pan.inference import load_segmentor
from mmseg_pan.inference.images import read_image
from mmseg_pan.inference.predictor import Predictor
from mmseg_pan.models.distillation import network_alone
from mmseg_pan.weights.published import SHIPPED, open_checkpoint
from tests.paths import ROOT

LINES = {
    line['name']: line
    for line in read_results(ROOT / 'configs/pan/results/model_deeplabv3.jsonl')
    if line['kind'] == 'run'
}
RUN = LINES['PAN from DeepLabV3, multi-scale soft labels']
TEST = LINES['the file in the package']


def test_file_is_small_whole_and_the_only_one():
    assert list(SHIPPED.parent.glob('*.safetensors')) == [SHIPPED]
    digest = hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
    assert SHIPPED.stem.endswith(f'-{digest[:8]}')
    assert SHIPPED.stat().st_size <= 8e6
    assert digest in (ROOT / 'configs/pan/README.md').read_text()


def test_pages_say_how_good_the_file_itself_is():
    """Not the training's checkpoint, which was in full precision."""
    spec = (ROOT / 'configs/pan/results/model_deeplabv3.yaml').read_text()
    assert f'checkpoint: mmseg_pan/weights/{SHIPPED.name}' in spec
    assert TEST['iterations'] == 0 < RUN['iterations']
    for page in ('README.md', 'configs/pan/README.md'):
        assert f'{TEST["mIoU_nine"]:.2f}' in (ROOT / page).read_text()


def test_it_is_better_than_the_network_it_learnt_from():
    source = LINES['DeepLabV3, the start']
    for mean in ('mIoU_nine', 'mIoU_seven'):
        assert TEST[mean] > source[mean], mean
    assert TEST['IoU']['person'] >= source['IoU']['person']


def test_file_says_what_it_is_made_of():
    opened = open_checkpoint(SHIPPED)
    assert set(opened.provenance) == {'command', 'config', 'seed', 'commit', 'data', 'licence'}
    assert opened.provenance['config'] == RUN['config']
    assert opened.provenance['seed'] == str(RUN['seed'])
    assert opened.provenance['commit'] in RUN['commits']
    assert opened.metrics == {k: v for k, v in RUN.items() if k.startswith('mIoU') or k == 'aAcc'}
    cfg = Config.fromfile(ROOT / RUN['config'])
    cfg.model = network_alone(cfg.model)  # the teacher is needed only for training
    found, expected = opened.cfg.to_dict(), Config(for_inference(cfg)).to_dict()
    assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)
    assert len(opened.classes) == 21


def test_on_photographs(voc_root, monkeypatch):
    """Every sixth photograph of val: about what the results file says of all of them."""
    monkeypatch.setenv('VOC_ROOT', str(voc_root))
    cfg = Config.fromfile(ROOT / RUN['config'])
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    model = load_segmentor(SHIPPED)
    predictor = Predictor(model)
    matrix = 0
    for number, (path, truth) in enumerate(truths(dataset)):
        if number % 6 == 0:
            (labels,) = predictor.predict([predictor.prepare(read_image(Path(path)))])
            matrix = matrix + confusion_matrix(truth, labels, 21)
    frequent = [model.dataset_meta['classes'].index(n) for n in ('background', 'cat', 'dog')]
    expected = np.mean([RUN['IoU'][n] for n in ('background', 'cat', 'dog')])
    assert np.mean(iou_by_class(matrix)[frequent]) == pytest.approx(expected, abs=4)
