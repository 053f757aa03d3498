"""Names of exported networks: nothing but an exported network is overwritten."""

import os

import pytest

from mmseg_pan import UserError
from mmseg_pan.export.quantize import quantize
from mmseg_pan.export.writing import name_network
from mmseg_pan.weights.exported import KEY


@pytest.mark.parametrize(
    ('typed', 'named'),
    [
        ('pan', 'pan.onnx'),
        ('pan.v1', 'pan.v1.onnx'),
        ('pan.onnx', 'pan.onnx'),
        ('pan.ONNX', 'pan.ONNX'),
        ('.onnx', '.onnx.onnx'),
        ('pan.xml', 'pan.xml.onnx'),
    ],
)
def test_suffix_is_added(typed, named, tmp_path):
    assert name_network(tmp_path / typed, '.onnx') == tmp_path / named


def test_only_exported_networks_are_overwritten(tmp_path):
    out = tmp_path / 'pan.onnx'
    out.write_bytes(b'...' + KEY.encode())
    assert name_network(out, '.onnx') == out
    for content in (b'', b'mine'):
        out.write_bytes(content)
        with pytest.raises(UserError, match=r'pan\.onnx .*choose another --out'):
            name_network(out, '.onnx')
    (tmp_path / 'folder.onnx').mkdir()
    with pytest.raises(UserError, match=r'folder\.onnx is a folder'):
        name_network(tmp_path / 'folder', '.onnx')
    (tmp_path / 'gone.onnx').symlink_to(tmp_path / 'nowhere')
    with pytest.raises(UserError, match=r'gone\.onnx was not written by this tool'):
        name_network(tmp_path / 'gone', '.onnx')


def test_weights_of_something_else_are_kept(tmp_path):
    (tmp_path / 'pan.bin').write_bytes(b'mine')
    with pytest.raises(UserError, match=r'pan\.bin would be overwritten, and has no pan\.xml'):
        name_network(tmp_path / 'pan', '.xml')
    assert name_network(tmp_path / 'pan', '.onnx').name == 'pan.onnx'


@pytest.mark.parametrize('link', [os.symlink, os.link])
def test_the_input_of_a_quantization_is_kept(link, tmp_path):
    source = tmp_path / 'pan.xml'
    source.write_bytes(KEY.encode())
    link(source, tmp_path / 'int8.xml')
    for name in ('pan.xml', 'pan', 'int8'):
        with pytest.raises(UserError, match=r'would overwrite the input .*pan\.xml'):
            quantize(source, [], tmp_path / name)


def test_a_folder_that_cannot_be_made_is_told_before_the_work(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='file is a file, but outputs need a folder'):
        name_network(tmp_path / 'file/new/pan', '.onnx')
