"""Tables of a page are filled from the record, whatever language its words are in."""

import json
import shutil

import pytest

from mmseg_pan import UserError
from mmseg_pan.experiments.pages import with_cells
from tests.paths import ROOT

PAGE = """Text with 1.23.
<!-- measured: heads
columns: mIoU | aAcc:1 | seconds:0 | cost multiply_adds
rows: PAN | FCN
-->
| Kopf | mIoU % | Genauigkeit | Sekunden | G |
| --- | ---: | ---: | ---: | ---: |
| **PAN**, 128 Kanäle | 0 | 0 | 0 | 0 |
| FCN | ? | 99.9 | | |
<!-- end -->
More text.
"""
TIMED = """<!-- measured: benchmark_r101.txt
columns: head ms | to the first
rows: psp_r101-d16_voc
-->
| head | ms | ratio |
| --- | --- | --- |
| PSP | | |
<!-- end -->
"""


def run(name, seed, miou, **changes):
    line = dict(kind='run', name=name, seed=seed, mIoU=miou, aAcc=90.0, lists={'val.txt': '1'})
    return line | dict(iterations=100, seconds_per_iteration=0.5) | changes


@pytest.fixture
def root(tmp_path):
    for name in ('docs/images/accuracy_cost.json', 'configs/pan/results/benchmark_r101.txt'):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def record(root, *lines):
    file = root / 'configs/pan/results/heads.jsonl'
    file.write_text(''.join(json.dumps(line) + '\n' for line in lines))


def test_cells_come_from_the_runs_that_the_comment_names(root):
    record(root, run('FCN', 0, 40.0), run('PAN', 0, 60.0), run('PAN', 1, 62.0))
    rows = with_cells(PAGE, root).splitlines()
    assert rows[7] == '| **PAN**, 128 Kanäle | 61.00 (1.41) | 90.0 (0.0) | 50 (0) | 0.88 |'
    assert rows[8] == '| FCN | 40.00 | 90.0 | 50 | 2.56 |'
    again = with_cells('\n'.join(rows) + '\n', root)
    assert again.splitlines() == rows
    assert rows[:7] + rows[9:] == PAGE.splitlines()[:7] + PAGE.splitlines()[9:]


def test_cells_of_a_benchmark_are_its_own(root):
    assert '| PSP | 233 (228-234) | 1.11 |' in with_cells(TIMED, root)


def test_a_column_of_one_class(root):
    page = PAGE.replace('columns: mIoU |', 'columns: IoU cat |')
    record(root, *(run(name, 0, 50.0, IoU=dict(cat=70.25, sofa=None)) for name in ('PAN', 'FCN')))
    assert '| FCN | 70.25 |' in with_cells(page, root)
    with pytest.raises(UserError, match='contains no "IoU sofa"'):
        with_cells(page.replace('IoU cat', 'IoU sofa'), root)


def test_runs_of_two_recipes_are_never_averaged(root):
    old = [run(name, 0, 10.0, lists={'val.txt': '0'}) for name in ('PAN', 'FCN')]
    record(root, *old, run('PAN', 0, 60.0), run('FCN', 0, 40.0))
    assert '| 60.00 |' in with_cells(PAGE, root)
    record(root, *old, run('PAN', 0, 60.0))
    with pytest.raises(UserError, match=r'newest runs of PAN, FCN in heads\.jsonl read different'):
        with_cells(PAGE, root)


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('rows: PAN | FCN', 'rows: PAN | PSP', r'heads\.jsonl contains no "PSP"'),
        ('aAcc:1', 'mFscore', r'heads\.jsonl contains no "mFscore"'),
        ('cost multiply_adds', 'cost joules', r'accuracy_cost\.json contains no "joules of PAN"'),
        ('| FCN | ? | 99.9 | | |\n', '', r'1 rows .* names 2 rows and 4 columns'),
        ('| seconds:0', '', r'2 rows .* names 2 rows and 3 columns'),
    ],
)
def test_what_the_record_does_not_hold(root, old, new, message):
    record(root, run('FCN', 0, 40.0), run('PAN', 0, 60.0))
    with pytest.raises(UserError, match=message):
        with_cells(PAGE.replace(old, new), root)


def test_a_benchmark_without_the_column(root):
    with pytest.raises(UserError, match=r'benchmark_r101\.txt contains no "watts of psp_r101'):
        with_cells(TIMED.replace('to the first', 'watts'), root)
