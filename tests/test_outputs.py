"""Names of results, and whose files are not overwritten."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmseg_pan import UserError
from mmseg_pan.outputs import (
    LONGEST,
    MARK,
    check_folder,
    check_writable,
    fitting_name,
    is_result,
    name_output,
    png_mark,
)


@pytest.mark.parametrize(
    ('typed', 'named'),
    [
        ('pan', 'pan.onnx'),
        ('pan.onnx', 'pan.onnx'),
        ('pan.v1', 'pan.v1.onnx'),
        ('2024.05.12', '2024.05.12.onnx'),
        ('pan.', 'pan..onnx'),
        ('.pan', '.pan.onnx'),
        ('pan.onnx.bak', 'pan.onnx.bak.onnx'),
    ],
)
def test_suffix_is_added_and_replaces_nothing(tmp_path, typed, named):
    assert name_output(tmp_path / typed, '.onnx').name == named


def test_any_of_several_suffixes_is_kept(tmp_path):
    for name in ('a.tgz', 'a.tar.gz'):
        assert name_output(tmp_path / name, '.tgz', '.tar.gz').name == name


@pytest.mark.parametrize('link', [None, os.symlink, os.link])
def test_input_is_never_written_to(tmp_path, link):
    source = tmp_path / 'net.xml'
    source.write_text(MARK)
    out = tmp_path / 'other.xml' if link else source
    if link:
        link(source, out)
    with pytest.raises(UserError, match='would overwrite the input'):
        name_output(out, '.xml', inputs=[source])


def test_own_result_is_written_again_and_other_files_are_not(tmp_path):
    ours, theirs, folder = tmp_path / 'ours.png', tmp_path / 'theirs.png', tmp_path / 'folder.png'
    picture = Image.fromarray(np.zeros((4, 4), np.uint8))
    picture.save(ours, pnginfo=png_mark())
    picture.save(theirs)
    folder.mkdir()
    assert name_output(ours, '.png') == ours
    with pytest.raises(UserError, match=r'theirs\.png was not written by this tool'):
        name_output(theirs, '.png')
    with pytest.raises(UserError, match=r'folder\.png is a folder'):
        name_output(folder, '.png')


def test_empty_file_has_nothing_to_lose(tmp_path):
    (tmp_path / 'a').touch()
    assert is_result(tmp_path / 'a')
    assert not is_result(tmp_path / 'missing')


def test_folder_of_the_data_set_is_refused(tmp_path):
    masks = tmp_path / 'masks'
    masks.mkdir()
    link = tmp_path / 'link'
    link.symlink_to(masks)
    for folder in (masks, link, masks / 'new', masks / '..' / 'masks'):
        with pytest.raises(UserError, match=f"{masks} holds the data set's own files"):
            check_folder(folder, [masks])
    check_folder(tmp_path / 'results', [masks])
    assert not (tmp_path / 'results').exists()


def test_folder_below_a_file_or_with_a_name_too_long(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='is a file, but outputs need a folder'):
        check_writable(tmp_path / 'file' / 'out')
    with pytest.raises(UserError, match='255 bytes'):
        check_writable(tmp_path / ('x' * 300) / 'out')
    with pytest.raises(UserError, match='255 bytes'):
        name_output(tmp_path / ('図' * 90), '.onnx')


@given(st.text(st.characters(exclude_characters='/\0', exclude_categories=['Cs']), max_size=300))
def test_every_name_fits(stem):
    name = fitting_name(stem, '.png')
    assert len(os.fsencode(name)) <= LONGEST
    assert name.endswith('.png')
    assert name == stem + '.png' or len(os.fsencode(stem)) > LONGEST - 4


def test_long_names_stay_different():
    assert fitting_name('図' * 90 + 'a', '.png') != fitting_name('図' * 90 + 'b', '.png')
