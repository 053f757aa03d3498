"""Which files belong to a data set: training and verification list the same ones."""

import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmseg.datasets import BaseSegDataset

from mmseg_pan.datasets.lists import walk_files
from mmseg_pan.errors import UserError
from mmseg_pan.inference.sources import find_sources
from mmseg_pan.verification.splits import read_splits
from mmseg_pan.verification.verify import verify
from tests.datasets.own_data import arguments, build, config_file, write_pair


def listed(root: Path, **changes) -> list[str]:
    """Names that training reads; verification and prediction must agree."""
    dataset = build(root, **changes)
    trained = [dataset.get_data_info(index) for index in range(len(dataset))]
    (split,) = read_splits(config_file(root, **changes))
    assert split.pairs == [(item['img_path'], item['seg_map_path']) for item in trained]
    return [os.path.relpath(item['img_path'], root / 'images') for item in trained]


def test_plain_data_is_listed_as_mmsegmentation_does(tmp_path):
    for name in ('b.jpg', 'a.jpg', 'deep/c.jpg', 'a-b/d.jpg', 'a.b.jpg'):
        write_pair(tmp_path, name)
    (tmp_path / 'list.txt').write_text('b\ndeep/c\na.b\nb\n')
    for ann_file in ('', 'list.txt'):
        changes = {**arguments(tmp_path, ann_file=ann_file)}
        del changes['type']
        stock, ours = BaseSegDataset(**changes), build(tmp_path, ann_file=ann_file)
        assert [stock.get_data_info(i) for i in range(len(stock))] == [
            ours.get_data_info(i) for i in range(len(ours))
        ]


def test_linked_folders_are_entered_once_and_hidden_ones_never(tmp_path):
    write_pair(tmp_path / 'elsewhere', 'a.jpg')
    for kind in ('images', 'masks'):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / 'part').symlink_to(tmp_path / 'elsewhere' / kind)
    (tmp_path / 'images/part/back').symlink_to(tmp_path / 'images')
    write_pair(tmp_path, '.ipynb_checkpoints/a.jpg')
    (tmp_path / 'images/._a.jpg').write_bytes(b'x')
    assert listed(tmp_path) == ['part/a.jpg']
    sources = find_sources([str(tmp_path / 'images')], tmp_path / 'out', 'classes')
    assert [str(source.name) for source in sources] == ['part/a']


def test_empty_folders_are_refused_by_both(tmp_path):
    write_pair(tmp_path)
    (tmp_path / 'images/a.jpg').unlink()
    for look in (build, lambda root: verify(config_file(root), processes=1)):
        with pytest.raises(UserError, match='images contains no images'):
            look(tmp_path)
    (tmp_path / 'list.txt').write_text('\n\n')
    with pytest.raises(UserError, match=r'list\.txt contains no images'):
        build(tmp_path, ann_file='list.txt')


@pytest.fixture
def warnings(caplog, monkeypatch):
    """What is logged; mmengine's loggers keep their records to themselves."""
    found = []
    monkeypatch.setattr(
        'mmseg_pan.datasets.checked.print_log',
        lambda text, logger, level: found.append(text) if level == logging.WARNING else None,
    )
    return found


@pytest.mark.parametrize('other', ['b.JPG', 'b.jpeg', 'deep/b.png', 'b.TIFF'])
def test_images_with_other_suffixes_are_named(tmp_path, warnings, other):
    write_pair(tmp_path, 'a.jpg')
    write_pair(tmp_path, other)
    assert listed(tmp_path) == ['a.jpg']
    (fault,) = verify(config_file(tmp_path), processes=1).faults
    assert fault.kind == 'left out' and other in fault.detail
    assert len(warnings) == 1 and f'{other}: img_suffix is' in warnings[0]
    (tmp_path / 'images/a.jpg').unlink()
    suffix = Path(other).suffix
    with pytest.raises(UserError, match=rf"img_suffix='\.jpg'.* set img_suffix='{suffix}'"):
        build(tmp_path)


def test_masks_beside_the_images_are_not_left_out(tmp_path):
    image = write_pair(tmp_path)
    (tmp_path / 'masks/a.png').rename(image.with_name('a_mask.png'))
    prefix = dict(img_path='images', seg_map_path='images')
    config = config_file(tmp_path, data_prefix=prefix, seg_map_suffix='_mask.png')
    assert verify(config, processes=1).faults == []


LINES = {
    'mark': b'\xef\xbb\xbfa\nb c\n',
    'UTF-16': 'a\nb c\n'.encode('utf-16'),
    'UTF-16, other order': b'\xfe\xff' + 'a\nb c\n'.encode('utf-16-be'),
    'UTF-16 without a mark': 'a\nb c\n'.encode('utf-16-le'),
    'CRLF': b'a\r\nb c\r\n',
    'CR': b'a\rb c',
    'empty lines': b'\n\na\n \t\nb c\n\n',
    'suffixes': b'a.jpg\nb c.jpg\n',
    'paths': b'images/a.jpg\n./images/b c.jpg\n',
    'Windows': b'images\\a.jpg\r\nimages\\b c.jpg\r\n',
    'two columns': b'images/a.jpg masks/a.png\nb c\n',
    'tabs': b'a\ta\nb c\n',
    'commas': b'a.jpg,a.png\nb c.jpg\n',
    'spaces around': b'  a \nb c\t\n',
}


@pytest.mark.parametrize('name', LINES)
def test_lists_with_a_plain_meaning_are_read(tmp_path, name):
    write_pair(tmp_path, 'a.jpg')
    write_pair(tmp_path, 'b c.jpg')
    (tmp_path / 'list.txt').write_bytes(LINES[name])
    assert listed(tmp_path, ann_file='list.txt') == ['a.jpg', 'b c.jpg']
    dataset = build(tmp_path, ann_file='list.txt')
    for sample, stem in zip((dataset.get_data_info(i) for i in (0, 1)), ('a', 'b c'), strict=True):
        assert sample['seg_map_path'] == str(tmp_path / f'masks/{stem}.png')
    assert not verify(config_file(tmp_path, ann_file='list.txt'), processes=1).harmful


def test_two_columns_may_name_any_mask(tmp_path):
    write_pair(tmp_path, 'a.jpg')
    (tmp_path / 'masks/a.png').rename(tmp_path / 'masks/other.png')
    (tmp_path / 'list.txt').write_text('images/a.jpg masks/other.png')
    (sample,) = build(tmp_path, ann_file='list.txt').load_data_list()
    assert sample['seg_map_path'] == str(tmp_path / 'masks/other.png')


@pytest.mark.parametrize(
    ('content', 'match'),
    [
        (b'a\na -1\n', r"Line 2 of .*list\.txt is unclear: 'a -1'"),
        (b'image,mask\na.jpg,a.png\n', 'Line 1 of .* is unclear'),
        (b'a a a\n', 'Line 1 of .* is unclear'),
        (b'a\n\na.jpg none.png\n', 'Line 3 of .* is unclear'),
        ('a\nnaïve\n'.encode('latin-1'), r'list\.txt is not text: line 2 cannot be read as UTF-8'),
        (b'a\nc\n', r'c\.jpg and 1 other files not found, though .*list\.txt names them'),
    ],
)
def test_lists_without_a_plain_meaning_are_refused_by_line(tmp_path, content, match):
    write_pair(tmp_path, 'a.jpg')
    (tmp_path / 'list.txt').write_bytes(content)
    with pytest.raises(UserError, match=match):
        build(tmp_path, ann_file='list.txt')
    try:
        faults = verify(config_file(tmp_path, ann_file='list.txt'), processes=1).faults
    except UserError as error:
        assert 'line 2' in str(error)
    else:
        assert 'breaks' in {fault.severity for fault in faults}


def test_data_sets_of_mmsegmentation_are_listed_as_they_read(tmp_path):
    """A name with its suffix means another file there."""
    write_pair(tmp_path, 'a.jpg')
    (tmp_path / 'list.txt').write_text('a.jpg\n')
    config = config_file(tmp_path, type='BaseSegDataset', ann_file='list.txt')
    result = verify(config, processes=1)
    assert {fault.kind for fault in result.faults} == {'unclear line in list', 'missing'}
    assert result.splits[0].pairs[0][0].endswith('a.jpg.jpg')


def test_bias_is_reported_when_a_training_starts(tmp_path, warnings):
    """Masks of 0 and 255, ignored masks and images that are named twice; each kind once."""
    for name, ids in (('a', (0, 255)), ('b', (0, 255)), ('c', (255,)), ('d', (0, 1))):
        write_pair(tmp_path, f'{name}.jpg', ids=ids)
    (tmp_path / 'list.txt').write_text('a\nb\nc\nd\nd\n')
    dataset = build(tmp_path, ann_file='list.txt')
    for index in range(len(dataset)):
        dataset[index]
    assert [text.split(', ')[0].split(': ')[-1] for text in warnings] == [
        'duplicate id',
        'grey 0/255 mask',
        'only ignored',
    ]
    assert 'masks/a.png' in warnings[1] and '255 is ignored by the loss' in warnings[1]


@given(st.lists(st.sampled_from('abcdefgh'), unique=True, min_size=1))
def test_files_come_sorted_whatever_the_disk_gives(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp('files')
    for name in names:
        (folder / name).touch()
    assert [path.name for path in walk_files(folder)] == sorted(names)


def test_masks_that_belong_to_no_image_are_named(tmp_path):
    write_pair(tmp_path)
    write_pair(tmp_path, 'deep/b.jpg')
    assert verify(config_file(tmp_path)).faults == []
    for name in ('deep/b.jpg', *(f'lost{number}.jpg' for number in range(6))):
        write_pair(tmp_path, name).unlink()
    (tmp_path / 'masks/notes.txt').write_text('no mask')
    result = verify(config_file(tmp_path))
    (fault,) = result.faults
    assert (fault.kind, fault.path) == ('mask without image', str(tmp_path / 'masks'))
    assert fault.detail == 'deep/b.png, lost0.png, lost1.png, lost2.png, lost3.png and 2 more'
    assert not result.harmful  # they may be of another split


def test_masks_that_a_list_does_not_name_are_no_fault(tmp_path):
    write_pair(tmp_path)
    write_pair(tmp_path, 'other.jpg')
    (tmp_path / 'list.txt').write_text('a\n')
    assert verify(config_file(tmp_path, ann_file='list.txt')).faults == []


@pytest.mark.parametrize('kind', ['CheckedSegDataset', 'BaseSegDataset'])
def test_masks_beside_their_images(kind, tmp_path):
    """One folder for both: an image is no mask, whatever its suffix."""
    image = write_pair(tmp_path)
    (tmp_path / 'masks/a.png').rename(tmp_path / 'images/a_mask.png')
    image.rename(tmp_path / 'images/a.png')
    folders = dict(img_path='images', seg_map_path='images')
    more = dict(data_prefix=folders, img_suffix='.png', seg_map_suffix='_mask.png', type=kind)
    faults = verify(config_file(tmp_path, **more)).faults
    assert 'mask without image' not in [fault.kind for fault in faults]
