"""Every fault, planted one by one in real photographs, and none in the untouched ones."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmseg_pan.datasets.inspection import SEVERITY
from mmseg_pan.datasets.masks import encode_mask
from mmseg_pan.errors import UserError
from mmseg_pan.verification.findings import (
    fault_table,
    frequency_table,
    summary,
    write_json,
    write_plot,
)
from mmseg_pan.verification.verify import Verification, verify
from tests.datasets.own_data import HEIGHT, WIDTH, build, config_file, write_pair
from tests.mini_voc import write_lists

LISTS = 'ImageSets/Segmentation'


@pytest.fixture(scope='session')
def few_photographs(voc_root, tmp_path_factory) -> Path:
    """Eight pairs of each list."""
    root = tmp_path_factory.mktemp('voc') / 'VOC2012'
    lists = {
        name: (voc_root / LISTS / f'{name}.txt').read_text().split()[:8]
        for name in ('train', 'val', 'aug')
    }
    write_lists(root / LISTS, **lists)
    for folder in ('JPEGImages', 'SegmentationClass', 'SegmentationClassAug'):
        (root / folder).mkdir()
    for name, ids in lists.items():
        masks = 'SegmentationClassAug' if name == 'aug' else 'SegmentationClass'
        for item in ids:
            shutil.copy(voc_root / 'JPEGImages' / f'{item}.jpg', root / 'JPEGImages')
            shutil.copy(voc_root / masks / f'{item}.png', root / masks)
    return root


class Copy:
    """A copy of the photographs, one pair of which is damaged."""

    def __init__(self, root: Path):
        self.root = root
        self.id = (root / LISTS / 'train.txt').read_text().split()[3]
        self.image = root / 'JPEGImages' / f'{self.id}.jpg'
        self.mask = root / 'SegmentationClass' / f'{self.id}.png'
        self.list = root / LISTS / 'train.txt'

    def ids(self) -> np.ndarray:
        with Image.open(self.mask) as image:
            return np.asarray(image).copy()

    def append(self, text: str) -> None:
        self.list.write_text(self.list.read_text() + text)

    def replace_in_list(self, new: str) -> None:
        self.list.write_text(self.list.read_text().replace(self.id, new))


@pytest.fixture
def photographs(few_photographs, tmp_path) -> Copy:
    shutil.copytree(few_photographs, tmp_path / 'VOC2012')
    return Copy(tmp_path / 'VOC2012')


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def drop_end_mark(copy: Copy) -> None:
    data = copy.image.read_bytes()
    assert data.endswith(b'\xff\xd9')
    copy.image.write_bytes(data[:-2])


def add_thumbnail_and_cut(copy: Copy) -> None:
    """A thumbnail inside the EXIF data has an end mark of its own."""
    thumbnail = copy.image.read_bytes()
    drop_end_mark(copy)
    data = copy.image.read_bytes()
    block = b'Exif\0\0' + thumbnail[:200] + b'\xff\xd9'
    header = b'\xff\xe1' + (len(block) + 2).to_bytes(2, 'big')
    copy.image.write_bytes(data[:2] + header + block + data[2:])


def rotate(copy: Copy, orientation: int) -> None:
    with Image.open(copy.image) as image:
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(copy.image, exif=exif, quality=95)


def paint(copy: Copy, *ids: int) -> None:
    mask = copy.ids()
    mask[0, : len(ids)] = ids
    copy.mask.write_bytes(encode_mask(mask))


def wide_ids(copy: Copy) -> None:
    mask = copy.ids().astype(np.uint16)
    mask[0, 0] = 300
    Image.fromarray(mask).save(copy.mask)


def black_and_white(copy: Copy) -> None:
    Image.fromarray(np.where(copy.ids() > 0, 255, 0).astype(np.uint8)).save(copy.mask)


def black_and_white_palette(copy: Copy) -> None:
    image = Image.fromarray(np.where(copy.ids() > 0, 255, 0).astype(np.uint8))
    image.putpalette([channel for grey in range(256) for channel in (grey,) * 3])
    image.save(copy.mask)


def convert_mask(copy: Copy, mode: str) -> None:
    with Image.open(copy.mask) as image:
        image.convert(mode).save(copy.mask)


def halve_mask(copy: Copy) -> None:
    copy.mask.write_bytes(encode_mask(copy.ids()[::2]))


def only_ignored(copy: Copy) -> None:
    copy.mask.write_bytes(encode_mask(np.full_like(copy.ids(), 255)))


def copy_to_val(copy: Copy) -> None:
    with (copy.root / LISTS / 'val.txt').open('a') as file:
        file.write(f'{copy.id}\n')


def copy_to_aug(copy: Copy) -> None:
    with (copy.root / LISTS / 'aug.txt').open('a') as file:
        file.write(f'{copy.id}\n')
    shutil.copy(copy.mask, copy.root / 'SegmentationClassAug')


def flip_bytes_of_mask(copy: Copy) -> None:
    data = bytearray(copy.mask.read_bytes())
    start = data.index(b'IDAT') + 8
    data[start : start + 40] = bytes(255 - byte for byte in data[start : start + 40])
    copy.mask.write_bytes(data)


def add_column(copy: Copy) -> None:
    copy.replace_in_list(f'JPEGImages/{copy.id}.jpg SegmentationClass/{copy.id}.png')


def twelve_bits(copy: Copy) -> None:
    with Image.open(copy.image) as image:
        values = np.asarray(image.convert('L')).astype(np.uint16) * 16
    Image.fromarray(values).save(copy.image, 'PNG')


def floating_point(copy: Copy) -> None:
    with Image.open(copy.image) as image:
        image.convert('F').save(copy.image, 'TIFF')


def animate(copy: Copy) -> None:
    with Image.open(copy.image) as image:
        image.save(copy.image, 'GIF', save_all=True, append_images=[image.rotate(180)])


def make_transparent(copy: Copy) -> None:
    with Image.open(copy.image) as image:
        image.putalpha(255)
        image.paste((0, 0, 0, 0), (0, 0, 5, 5))
        image.save(copy.image, 'PNG')


FAULTS = {
    'image missing': ('missing', lambda c: c.image.unlink(), 'image', 'no such file'),
    'mask missing': ('missing', lambda c: c.mask.unlink(), 'mask', 'no such file'),
    'image of noise': ('unreadable', lambda c: c.image.write_bytes(b'no' * 99), 'image', 'cannot'),
    'mask of noise': ('unreadable', lambda c: c.mask.write_bytes(b'no' * 99), 'mask', 'cannot'),
    'mask with flipped bytes': ('unreadable', flip_bytes_of_mask, 'mask', ''),
    'half an image': ('truncated', lambda c: cut(c.image, 0.5), 'image', 'no end mark'),
    'image without end mark': ('truncated', drop_end_mark, 'image', 'no end mark'),
    'only a thumbnail ends': ('truncated', add_thumbnail_and_cut, 'image', 'no end mark'),
    'half a mask': ('truncated', lambda c: cut(c.mask, 0.5), 'mask', 'no end mark'),
    'empty image': ('zero bytes', lambda c: c.image.write_bytes(b''), 'image', 'empty'),
    'empty mask': ('zero bytes', lambda c: c.mask.write_bytes(b''), 'mask', 'empty'),
    'half the mask rows': ('different sizes', halve_mask, 'mask', 'and the image loads as'),
    'RGB mask': ('colour mask', lambda c: convert_mask(c, 'RGB'), 'mask', 'mode RGB'),
    'RGBA mask': ('colour mask', lambda c: convert_mask(c, 'RGBA'), 'mask', 'mode RGBA'),
    'grey mask': ('grey 0/255 mask', black_and_white, 'mask', 'black and white'),
    'grey palette': ('grey 0/255 mask', black_and_white_palette, 'mask', 'black and white'),
    'foreign ids': ('illegal ids', lambda c: paint(c, 21, 254), 'mask', 'ids 21, 254'),
    '16-bit id': ('illegal ids', wide_ids, 'mask', 'ids 300'),
    'only 255': ('only ignored', only_ignored, 'mask', 'every pixel is 255'),
    'train id in val': ('in train and val', copy_to_val, 'image', 'val.txt'),
    'id twice in a list': ('duplicate id', lambda c: c.append(f'{c.id}\n'), 'list', '2 times'),
    'id in two lists': ('duplicate id', copy_to_aug, 'image', 'aug.txt'),
    'space': ('space in list', lambda c: c.replace_in_list(f'{c.id} '), 'list', 'lines 4'),
    'tab before': ('space in list', lambda c: c.replace_in_list(f'\t{c.id}'), 'list', 'lines 4'),
    'extension': (
        'extension in list',
        lambda c: c.replace_in_list(f'{c.id}.jpg'),
        'list',
        'lines 4',
    ),
    'empty line': ('empty line in list', lambda c: c.append('\n'), 'list', 'lines 9'),
    'two columns': ('two columns in list', add_column, 'list', 'lines 4'),
    'a class list of VOC': (
        'unclear line in list',
        lambda c: c.append(f'{c.id} -1\n'),
        'list',
        'line 9',
    ),
    'twelve bits': ('low values', twelve_bits, 'image', 'no value above'),
    'floating point': ('unknown range', floating_point, 'image', 'mode F'),
    'animation': ('several frames', animate, 'image', '2 frames'),
    'transparent corner': ('transparency', make_transparent, 'image', 'colours stored below'),
    'turned upside down': ('EXIF rotation', lambda c: rotate(c, 3), 'image', 'orientation 3'),
}


def test_planted_faults_cover_the_whole_list():
    of_folders = {'left out', 'mask without image'}  # a list leaves nothing out
    assert {kind for kind, *_ in FAULTS.values()} | of_folders == set(SEVERITY)


@pytest.mark.parametrize('name', FAULTS)
def test_planted_fault_is_found_and_nothing_else(photographs, name):
    kind, plant, where, detail = FAULTS[name]
    plant(photographs)
    result = verify(photographs.root, processes=1)
    assert [(fault.kind, fault.path) for fault in result.faults] == [
        (kind, str(getattr(photographs, where)))
    ]
    assert detail in result.faults[0].detail
    assert result.harmful == (SEVERITY[kind] != 'harmless')
    assert kind in fault_table(result)
    assert str(getattr(photographs, where)) in fault_table(result)


def test_image_on_its_side_does_not_fit_its_mask(photographs):
    rotate(photographs, 6)
    kinds = [fault.kind for fault in verify(photographs.root, processes=1).faults]
    assert sorted(kinds) == ['EXIF rotation', 'different sizes']


def test_few_untouched_photographs(few_photographs):
    result = verify(few_photographs, processes=2)
    assert (result.pairs, result.faults, result.harmful) == (24, [], False)


def test_all_untouched_photographs(voc_root):
    result = verify(voc_root)
    assert result.faults == []
    assert [len(split.pairs) for split in result.splits] == [437, 2694, 245]


@pytest.fixture(scope='module')
def own_data(tmp_path_factory) -> Path:
    """Four images with known pixels: no photographs needed."""
    root = tmp_path_factory.mktemp('own')
    write_lists(root / LISTS, train=['a', 'b'], aug=['c'], val=['d'])
    for folder in ('JPEGImages', 'SegmentationClass', 'SegmentationClassAug'):
        (root / folder).mkdir()
    for name in 'abcd':
        Image.new('RGB', (10, 10)).save(root / 'JPEGImages' / f'{name}.jpg')
        mask = np.zeros((10, 10), np.uint8)
        mask[:3] = ' abcd'.index(name)
        mask[9] = 255
        folder = 'SegmentationClassAug' if name == 'c' else 'SegmentationClass'
        (root / folder / f'{name}.png').write_bytes(encode_mask(mask))
    return root


def test_class_frequencies(own_data):
    result = verify(own_data, processes=1)
    assert result.counts['train'].pixels[:5].tolist() == [180, 30, 30, 30, 0]
    assert result.counts['train'].images[:5].tolist() == [3, 1, 1, 1, 0]
    assert result.counts['val'].pixels[:5].tolist() == [60, 0, 0, 0, 30]
    line = next(line for line in frequency_table(result).splitlines() if '| aeroplane' in line)
    assert line.split('|')[2:5] == [
        '            30 ',
        '             1 ',
        '  11.11% ###              ',
    ]
    assert 'No pixel of these classes in train: boat, bottle' in summary(result)


def test_json_and_plot(own_data, tmp_path):
    result = verify(own_data, processes=1)
    write_json(result, tmp_path / 'found.json')
    content = json.loads((tmp_path / 'found.json').read_text())
    assert content['faults'] == []
    assert content['harmful'] is False
    assert content['frequencies']['train']['pixels'][:2] == [180, 30]
    write_plot(result, tmp_path / 'classes.png')
    with Image.open(tmp_path / 'classes.png') as plot:
        assert np.asarray(plot.convert('L')).std() > 10  # something is drawn


def config_of(own_data: Path, tmp_path: Path, **changes) -> Path:
    dataset = dict(
        type='CheckedSegDataset',
        data_root=str(own_data),
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file=f'{LISTS}/train.txt',
        metainfo=dict(classes=['background', 'one', 'two']),
    )
    dataset.update(changes)
    wrapped = dict(
        type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[dataset])
    )
    path = tmp_path / 'config.py'
    path.write_text(f'train_dataloader = {dict(dataset=wrapped)!r}\n')
    return path


def test_config_with_wrapped_data_sets_and_own_classes(own_data, tmp_path):
    result = verify(config_of(own_data, tmp_path), processes=1)
    assert result.classes == ('background', 'one', 'two')
    assert (result.pairs, result.faults) == (2, [])
    fewer = dict(classes=['background', 'one'])
    result = verify(config_of(own_data, tmp_path, metainfo=fewer), processes=1)
    assert [(fault.kind, fault.detail) for fault in result.faults] == [('illegal ids', 'ids 2')]


def test_folder_without_a_list(own_data, tmp_path):
    result = verify(config_of(own_data, tmp_path, ann_file=''), processes=1)
    assert [fault.kind for fault in result.faults] == ['illegal ids', 'missing']  # 4 in d, c


def test_reduced_zero_label(own_data, tmp_path):
    """Id 0 becomes ignored and 1 becomes the first class."""
    changes = dict(reduce_zero_label=True, metainfo=dict(classes=['one', 'two']))
    result = verify(config_of(own_data, tmp_path, **changes), processes=1)
    assert result.faults == []
    assert result.counts['train'].pixels.tolist() == [30, 30]


def test_subset_of_the_classes(own_data, tmp_path):
    """Other classes of the data set become ignored; foreign ids stay faults."""
    changes = dict(type='VOCAugDataset', metainfo=dict(classes=['background', 'bicycle']))
    result = verify(config_of(own_data, tmp_path, **changes), processes=1)
    assert result.faults == []
    assert result.counts['train'].pixels.tolist() == [120, 30]


@pytest.mark.parametrize(
    ('classes', 'expected'),
    [(['background', 'aeroplane'], [3, 4]), (['tvmonitor', 'background'], [2, 3])],
)
def test_subset_of_the_classes_with_a_reduced_zero_label(tmp_path, classes, expected):
    """The ids in the file are one above those that the map of classes knows."""
    write_pair(tmp_path)
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    for item, count in ((0, 1), (1, 3), (2, 4), (21, 2)):  # unlabelled, and three classes
        mask[item, :count] = item
    changes = dict(type='VOCAugDataset', reduce_zero_label=True, metainfo=dict(classes=classes))
    Image.fromarray(mask).save(tmp_path / 'masks/a.png')
    result = verify(config_file(tmp_path, **changes), processes=1)
    assert result.faults == []
    assert result.counts['train'].pixels.tolist() == expected
    loaded = build(tmp_path, **changes)[0]['data_samples'].gt_sem_seg.data
    assert [int((loaded == item).sum()) for item in (0, 1)] == expected
    mask[0, 0] = 22
    Image.fromarray(mask).save(tmp_path / 'masks/a.png')
    result = verify(config_file(tmp_path, **changes), processes=1)
    assert [(fault.kind, fault.detail) for fault in result.faults] == [('illegal ids', 'ids 22')]
    with pytest.raises(UserError, match=r'ids 22, legal are 1.* and 0, .*, 255 \(ignored\)'):
        build(tmp_path, **changes)[0]


def test_targets_that_are_nothing_of_the_kind(tmp_path):
    with pytest.raises(UserError, match='nothing does not exist; give a config such as'):
        verify(tmp_path / 'nothing')
    with pytest.raises(UserError, match=r'holds no ImageSets/Segmentation/train\.txt'):
        verify(tmp_path)
    config = tmp_path / 'config.py'
    config.write_text('a = 1\n')
    with pytest.raises(UserError, match='names no data set'):
        verify(config)
    config.write_text('train_dataloader = dict(dataset=dict(type="CheckedSegDataset"))\n')
    with pytest.raises(UserError, match='names no classes'):
        verify(config)


def test_very_many_faults_stay_readable():
    from mmseg_pan.datasets.inspection import Fault

    faults = [Fault('missing', f'{number}.jpg', 'no such file') for number in range(300)]
    table = fault_table(Verification([], faults, (), {}))
    assert table.count('missing') == 200
    assert table.endswith('and 100 more; "--json FILE" holds all of them')


def test_folder_of_another_converter_with_trainaug_only(photographs):
    """Its train list is part of trainaug, whose masks all lie in SegmentationClassAug."""
    lists = photographs.root / LISTS
    aug, val = ((lists / f'{name}.txt').read_text().split() for name in ('aug', 'val'))
    (lists / 'aug.txt').unlink()
    write_lists(lists, trainaug=aug + val[:1])
    shutil.copy(
        photographs.root / 'SegmentationClass' / f'{val[0]}.png',
        photographs.root / 'SegmentationClassAug',
    )
    result = verify(photographs.root, processes=1)
    assert [fault.kind for fault in result.faults] == ['in train and val']
