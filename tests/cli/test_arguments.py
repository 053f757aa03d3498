"""Wrong command lines give an error message before anything is read."""

import os
import re
import runpy
import subprocess
import sys

import pytest

from mmseg_pan.cli import ArgumentParser
from tests.paths import ROOT

#: Options with numbers, and a number that none of them takes.
NUMBERS = {
    'analysis_tools/accuracy_cost.py': ['x --out x.png --shape 0 9', 'x --out x.png --rounds 0'],
    'analysis_tools/benchmark.py': ['x --shape 9 0', 'x --batch 0', 'x --rounds 0'],
    'analysis_tools/browse_dataset.py': ['x --number 0'],
    'analysis_tools/get_flops.py': ['x --shape 0 10', 'x --shape 10 -1', 'x --shape ten 10'],
    'analysis_tools/scaling.py': [
        f'x --out x.png --{option} 0' for option in ('sides', 'batches', 'samples', 'rounds')
    ]
    + ['x --out x.png --workers -1'],
    'analysis_tools/window_share.py': ['x --windows 0'],
    'dataset_converters/toy_shapes.py': ['x --train 0', 'x --val 0', 'x --size 0'],
    'deployment/export.py': ['x y --shape 0 0', 'x y --images -3'],
    'deployment/parity.py': ['x y z --images -1'],
    'deployment/quantize.py': ['x y --out z --images 0'],
}


@pytest.mark.parametrize(
    ('tool', 'line'), [(tool, line) for tool, lines in NUMBERS.items() for line in lines]
)
def test_numbers_that_make_no_sense(tool, line, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', [tool, *line.split()])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
    assert ended.value.code == 2
    option = re.findall(r'--[a-z]+', line)[-1]
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f'error: argument {option}: ') and 'is not a whole number' in error
    assert os.listdir() == []


def test_every_tool_takes_the_parser_with_one_sentence():
    """But the quick start, which runs before anything is installed."""
    texts = {path: path.read_text() for path in (ROOT / 'tools').rglob('*.py')}
    with_parser = {path for path, text in texts.items() if 'ArgumentParser(' in text}
    assert len(with_parser) > 20
    stock = {path.name for path in with_parser if 'argparse.ArgumentParser(' in texts[path]}
    assert stock == {'quickstart.py'}


def test_unknown_arguments_and_docstrings_taken_away(capsys):
    """``python -OO`` leaves no docstring to describe a tool by."""
    parser = ArgumentParser(None, prog='tool.py')
    with pytest.raises(SystemExit, match='2'):
        parser.parse_args(['--unknown'])
    assert capsys.readouterr().err == (
        'error: unrecognized arguments: --unknown; type "tool.py --help".\n'
    )
    assert ArgumentParser('First line.\n\nMore.').description == 'First line.'


def test_a_reader_that_goes_is_no_traceback(tmp_path):
    code = (
        'from mmseg_pan.cli import run_tool\n'
        'run_tool(lambda: [print("x" * 1000) for _ in range(1000)] and None)'
    )
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        stdout=write,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, '')


def test_another_pipe_that_breaks_is_an_error():
    code = (
        'from mmseg_pan.cli import run_tool\n'
        'def main(): raise BrokenPipeError("of a loader")\n'
        'run_tool(main)'
    )
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code], capture_output=True, cwd=ROOT, text=True
    )
    assert done.returncode == 1 and 'of a loader' in done.stderr
