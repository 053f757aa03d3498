"""Config files that cannot be read: one sentence that names the file at fault."""

import runpy
import shutil
import sys

import pytest
from PIL import Image

from mmseg_pan import UserError
from mmseg_pan.configs.contents import read_config
from tests.paths import ROOT, TOY

LAZY = 'from mmengine.config import read_base\nwith read_base():\n    from .{} import *\n'

#: The text of my.py, and what its sentence says. open.py is a file beside it that does not parse.
FAULTS = {
    'syntax': ('a = 1\nb = dict(c=1\n', r'/my\.py, line 2, is no valid Python \(.* never closed'),
    'indentation': ('a = 1\n  b = 2\n', r'/my\.py, line 2, is no valid Python \(unexpected ind'),
    'tabs': ('if 1:\n\ta = 1\n        b = 2\n', r'/my\.py, line 3, is no valid Python \(incons'),
    'null bytes': ('a = 1\0\n', r'/my\.py.* is no valid Python'),
    'syntax of a base': ("_base_ = ['good.py', 'open.py']\n", r'/open\.py, line 1, is no valid'),
    'syntax of a lazy base': (LAZY.format('open'), r'/open\.py, line 1, is no valid Python'),
    'no base': ("_base_ = 'none.py'\n", r'/my\.py inherits .*/none\.py, which is no file; correct'),
    'one base of two': ("_base_ = ['good.py', '../x/none.py']\n", r'none\.py, which is no file'),
    'a base that is a folder': ("_base_ = '.'\n", r'/my\.py inherits .* which is no file'),
    'no lazy base': (LAZY.format('none'), r'/my\.py inherits .*/none\.py, which is no file'),
    'a base of a base': ("_base_ = 'orphan.py'\n", r'/none\.py, which is no file'),
    'an unknown name': ('a = b\n', r"/my\.py cannot be read \(name 'b' is not defined\)"),
    'not UTF-8': ('a = "ä"\n', r'/my\.py cannot be read as py in UTF-8 \(.*0xe4'),
    'bases of one key': ("_base_ = ['good.py', 'other.py']\n", r"does not fit .* keys: \{'good'\}"),
    'a variable': ("a = '{{$NO_SUCH_1:}}'\n", r'NO_SUCH_1, which is not set; type "export N'),
    'a dict for a number': ("_base_ = 'good.py'\ngood = dict(a=1)\n", r'my\.py does not fit the'),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'good.py').write_text('good = 1\n')
    (tmp_path / 'other.py').write_text('good = 2\n')
    (tmp_path / 'open.py').write_text('a = (\n')
    (tmp_path / 'orphan.py').write_text("_base_ = 'none.py'\n")
    return tmp_path


@pytest.mark.parametrize('name', list(FAULTS))
def test_the_file_at_fault_is_named(name, folder):
    text, words = FAULTS[name]
    (folder / 'my.py').write_text(text, encoding='latin-1')
    with pytest.raises(UserError, match=words) as error:
        read_config(folder / 'my.py')
    assert len(str(error.value)) <= 300 and '\n' not in str(error.value)


def test_a_variable_that_is_empty(monkeypatch):
    monkeypatch.setenv('VOC_ROOT', '')
    words = r'VOC_ROOT, which is empty; type "export VOC_ROOT=VALUE", or "unset VOC_ROOT" if'
    with pytest.raises(UserError, match=words):
        read_config(ROOT / 'configs/pan/pan_r101-d16_voc.py')


@pytest.mark.parametrize(
    ('file', 'text', 'words'),
    [
        ('my.json', '{"a": 1,', r'my\.json cannot be read as json .*Expecting'),
        ('my.yaml', 'a: [1\nb: {', r'my\.yaml cannot be read as yaml .*did not find'),
        ('my.txt', 'a = 1', r'my\.txt must end in \.py, \.json, \.yaml, \.yml'),
    ],
)
def test_other_formats(file, text, words, tmp_path):
    (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match=words):
        read_config(tmp_path / file)


def test_module_of_custom_imports_that_does_not_parse(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'unfinished_module.py').write_text('def f(:\n')
    (tmp_path / 'my.py').write_text("custom_imports = dict(imports=['unfinished_module'])\n")
    with pytest.raises(UserError, match=r'unfinished_module\.py, line 1, is no valid Python'):
        read_config(tmp_path / 'my.py')


def test_a_defect_in_a_module_keeps_its_traceback(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'defective_module.py').write_text('1 / 0\n')
    (tmp_path / 'my.py').write_text("custom_imports = dict(imports=['defective_module'])\n")
    with pytest.raises(ZeroDivisionError):
        read_config(tmp_path / 'my.py')


#: A command line for every tool that reads a config; {} is the config.
TOOLS = {
    'train.py': '{}',
    'test.py': '{} x.pth',
    'predict.py': 'x.jpg --config {} --checkpoint x.pth --out out',
    'verify_dataset.py': '{}',
    'run_experiments.py': '{}',
    'deployment/export.py': '{} x.pth --out x',
    'deployment/parity.py': '{} x.pth x.onnx',
    'deployment/quantize.py': '{} x.xml --out y',
    'analysis_tools/accuracy_cost.py': '{} --out x.png',
    'analysis_tools/attention.py': '{} x.pth x.jpg',
    'analysis_tools/benchmark.py': '{}',
    'analysis_tools/browse_dataset.py': '{}',
    'analysis_tools/confusion_matrix.py': '{} x --out x.png',
    'analysis_tools/get_flops.py': '{}',
    'analysis_tools/scaling.py': '{} --out x.png',
    'analysis_tools/window_share.py': 'x.jpg --checkpoint x.pth --config {} --windows 64',
    'misc/publish_model.py': 'x.pth --config {} --out x.pth',
    'model_converters/deeplab2mmseg.py': '{} b.pth h.pth out.pth',
}
#: They name a config in their help, and read none, or those of the repository.
OTHERS = {
    'demo.py',
    'voc_server_archive.py',
    'misc/write_results.py',
    'dataset_converters/annotations.py',
}


def test_every_tool_that_reads_a_config_is_here():
    found = {
        str(path.relative_to(ROOT / 'tools'))
        for path in (ROOT / 'tools').rglob('*.py')
        if 'config' in path.read_text()
    }
    assert found - OTHERS == set(TOOLS)


@pytest.mark.parametrize('tool', list(TOOLS))
def test_tools_end_with_one_sentence(tool, folder, toy_checkpoint, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    shutil.copy(toy_checkpoint, 'x.pth')
    Image.new('RGB', (64, 64)).save('x.jpg')
    monkeypatch.setattr(sys, 'argv', [tool, *TOOLS[tool].format('open.py').split()])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
    errors = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    (line,) = [line for line in errors if line.startswith('error: ')]
    assert 'open.py, line 1, is no valid Python' in line


def test_sound_configs_are_read():
    assert read_config(TOY).model.type == 'EncoderDecoder'
