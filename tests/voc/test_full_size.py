"""All 10,582 images under their official ids, with tiny masks and the built-in manifest."""

import io

import numpy as np
import pytest
from PIL import Image

from mmseg_pan.datasets import VOCAugDataset
from mmseg_pan.datasets.masks import encode_mask
from mmseg_pan.verification.verify import verify
from mmseg_pan.voc.converter import prepare_voc_aug
from mmseg_pan.voc.manifest import VOC_2012_AUG, hash_ids
from tests.mini_voc import write_lists, write_mat

NAMES = ('train', 'val', 'trainaug', 'aug')


@pytest.fixture(scope='session')
def official(voc_root) -> dict[str, list[str]]:
    """The official lists."""
    folder = voc_root / 'ImageSets' / 'Segmentation'
    if not (folder / 'full_aug.txt').is_file():
        pytest.skip(f'{folder} holds no full_aug.txt: no official lists here')
    return {name: (folder / f'full_{name}.txt').read_text().split() for name in NAMES}


def test_manifest_is_that_of_the_official_lists(official):
    for name, ids in official.items():
        facts = VOC_2012_AUG.lists[name]
        assert (facts.count, facts.sha256) == (len(ids), hash_ids(ids)), name
    assert [VOC_2012_AUG.lists[name].count for name in NAMES] == [1464, 1449, 10582, 9118]


@pytest.mark.slow
def test_full_size_from_folders(official, tmp_path):
    voc = tmp_path / 'VOCdevkit' / 'VOC2012'
    sbd = tmp_path / 'VOCaug' / 'dataset'
    for folder in (voc / 'JPEGImages', voc / 'SegmentationClass', sbd / 'cls'):
        folder.mkdir(parents=True)
    mask = np.zeros((8, 8), np.uint8)
    mask[2:5] = 15
    own = encode_mask(np.where(mask, 7, 255).astype(np.uint8))
    picture = io.BytesIO()
    Image.new('RGB', (8, 8)).save(picture, 'JPEG')
    template = tmp_path / 'template.mat'
    write_mat(template, mask)
    mat = template.read_bytes()
    train, val, aug = (official[name] for name in ('train', 'val', 'aug'))
    for name in train + val + aug:
        (voc / 'JPEGImages' / f'{name}.jpg').write_bytes(picture.getvalue())
    for name in train + val:
        (voc / 'SegmentationClass' / f'{name}.png').write_bytes(own)
    in_both = train[:1000] + val[:1237]  # SBD has 11,355: 2,237 of them are VOC's
    for name in aug + in_both:
        (sbd / 'cls' / f'{name}.mat').write_bytes(mat)
    write_lists(voc / 'ImageSets' / 'Segmentation', train=train[::-1], val=val)
    write_lists(sbd, train=(aug + in_both)[:8498], val=(aug + in_both)[8498:])

    prepare_voc_aug(tmp_path / 'VOCdevkit', sbd.parent)

    for name in NAMES:
        path = voc / 'ImageSets' / 'Segmentation' / f'{name}.txt'
        assert path.read_text() == ''.join(f'{item}\n' for item in sorted(official[name]))
    out = voc / 'SegmentationClassAug'
    assert len(list(out.iterdir())) == 12_031
    assert (out / f'{train[0]}.png').read_bytes() == own
    assert (out / f'{aug[0]}.png').read_bytes() == encode_mask(mask)
    result = verify(voc)
    assert (result.pairs, result.faults) == (12_031, [])
    for name, masks, count in (
        ('trainaug', 'SegmentationClassAug', 10_582),
        ('aug', 'SegmentationClassAug', 9_118),
    ):
        dataset = VOCAugDataset(
            data_root=str(voc),
            data_prefix=dict(img_path='JPEGImages', seg_map_path=masks),
            ann_file=f'ImageSets/Segmentation/{name}.txt',
        )
        assert len(dataset) == count
    said = []
    prepare_voc_aug(tmp_path / 'VOCdevkit', out, say=said.append)  # again, from the result
    assert '12,031 masks' in said[0]
    assert '0 written, 12,031 right' in said[0]
