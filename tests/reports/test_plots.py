"""analyze_logs.py, confusion_matrix.py, and test.py --report, as a user types them."""

import json
import re
import runpy
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image

from mmseg_pan.reports import plots
from mmseg_pan.reports.training_logs import curve, read_rows, scalars
from tests.paths import ROOT

TOY = ROOT / 'configs/pan/pan_r18-d16_toy.py'


@pytest.fixture
def call(monkeypatch, capsys, toy_root):
    """Run a tool in this process, without the seconds of importing."""

    def call(tool, *args):
        monkeypatch.setenv('TOY_ROOT', str(toy_root))
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / 'tools/analysis_tools' / tool), run_name='__main__')
        output, errors = capsys.readouterr()
        return subprocess.CompletedProcess(args, ended.value.code or 0, output, errors)

    return call


@pytest.fixture
def drawn(monkeypatch):
    """What reaches matplotlib: the figures, before they become bytes."""
    figures = []
    encode = plots.encode
    monkeypatch.setattr(plots, 'encode', lambda f, *kind: figures.append(f) or encode(f, *kind))
    return figures


def assert_refused(done, pattern):
    assert done.returncode == 2
    # The last line and the only one; before it mmengine logs which variables a config reads.
    (line,) = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
    assert done.stderr.splitlines()[-1] == line and re.search(pattern, line), line


def write_log(folder, start, rows):
    file = folder / start / 'vis_data' / 'scalars.json'
    file.parent.mkdir(parents=True)
    file.write_text('\n'.join(map(json.dumps, rows)))
    return file


def steps(*numbers, loss=1.0):
    return [dict(step=n, loss=loss / n, lr=0.1) for n in numbers]


def lines(axes):
    return [tuple(zip(*map(list, line.get_data()), strict=True)) for line in axes.lines]


def test_curves_of_two_runs(call, drawn, tmp_path):
    validation = [dict(step=40, mIoU=30.0)]
    write_log(tmp_path / 'pan', '1', [*steps(20, 40), *validation])
    log = write_log(tmp_path / 'fcn', '1', steps(20, 40, loss=2))
    out = tmp_path / 'curves.png'
    done = call(
        'analyze_logs.py', tmp_path / 'pan', log, '--keys', 'loss', 'lr', '--legend', 'PAN', 'FCN',
        '--out', out,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.strip() == str(out)
    assert Image.open(out).size[1] > 400
    (figure,) = drawn
    assert [panel.get_ylabel() for panel in figure.axes] == ['loss', 'lr']
    assert lines(figure.axes[0])[:2] == [((20, 0.05), (40, 0.025)), ((20, 0.1), (40, 0.05))]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ['PAN', 'FCN']
    call('analyze_logs.py', tmp_path / 'pan', '--keys', 'mIoU', '--out', tmp_path / 'curve.svg')
    assert lines(drawn[1].axes[0]) == [((40, 30.0),)]
    assert (tmp_path / 'curve.svg').read_text().startswith('<?xml')


def test_starts_of_one_run_are_joined_by_iteration(tmp_path):
    """The second start continues at 40: what the first logged after that was lost."""
    log = write_log(tmp_path, '1', [*steps(20, 40, 60), dict(step=40, mIoU=1.0)])
    log.write_text(log.read_text() + '\n{"loss": 0.1, "st')  # killed in the middle of a line
    write_log(tmp_path, '2', steps(50, 70, loss=7))
    rows = read_rows(tmp_path)
    assert curve(rows, 'loss') == ([20, 40, 50, 70], [1 / 20, 1 / 40, 7 / 50, 7 / 70])
    assert curve(rows, 'mIoU') == ([40], [1.0])
    assert list(scalars(tmp_path)) == [20, 40, 50, 70]
    write_log(tmp_path, '3', steps(20))  # started from scratch
    assert list(scalars(tmp_path)) == [20]
    assert curve(read_rows(tmp_path / '2'), 'loss')[0] == [50, 70]


@given(starts=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), min_size=1, max_size=4))
def test_joined_iterations_rise_and_end_where_the_last_start_did(tmp_path_factory, starts):
    folder = tmp_path_factory.mktemp('starts')
    for number, (first, count) in enumerate(starts):
        write_log(folder, str(number), steps(*range(first + 1, first + count + 1), loss=number))
    found = list(scalars(folder))
    assert found == sorted(set(found))
    assert found[-1] == sum(starts[-1])
    assert set(range(starts[-1][0] + 1, sum(starts[-1]) + 1)) <= set(found)


def test_mistakes_of_analyze_logs(call, tmp_path):
    write_log(tmp_path / 'run', '1', steps(1, 2))
    (tmp_path / 'empty').mkdir()
    text = tmp_path / 'train.log'
    text.write_bytes(b'\xff Iter(train) loss: 1')
    out = tmp_path / 'x.png'
    run = tmp_path / 'run'
    for args, pattern in (
        ([tmp_path / 'no', '--out', out], 'no does not exist; give a work dir'),
        ([tmp_path / 'empty', '--out', out], r'empty contains no training log; .*scalars\.json'),
        ([text, '--out', out], r'train\.log contains no training log'),
        ([run, '--keys', 'los', '--out', out], r'no "los" \(did you mean loss\?\); .* loss, lr'),
        ([run, '--keys', 'mIoU', '--out', out], r'has no "mIoU"; choose --keys from loss, lr'),
        ([run, run, '--out', out], 'There are 2 runs but 1 different names'),
        ([run, '--legend', 'a', 'b', '--out', out], 'There are 1 runs but 2 different names'),
        ([run, '--out', tmp_path / 'x.txt'], r'must end in one of .*\.png'),
        ([run, '--out', tmp_path / 'no' / 'x.png'], 'no of --out does not exist; create it first'),
        ([run, '--out', tmp_path], 'must end in one of'),
    ):
        assert_refused(call('analyze_logs.py', *args), pattern)
    (tmp_path / 'folder.png').mkdir()
    done = call('analyze_logs.py', run, '--out', tmp_path / 'folder.png')
    assert_refused(done, r'folder\.png is a folder; name a file')
    assert not out.exists()


@pytest.fixture
def maps(toy_root, tmp_path):
    """Label maps that miss the upper half of everything."""
    folder = tmp_path / 'maps'
    folder.mkdir()
    for name in (toy_root / 'ImageSets/Segmentation/val.txt').read_text().split():
        found = np.array(Image.open(toy_root / f'SegmentationClass/{name}.png'))
        found[found == 255] = 0
        found[:32] = 0
        Image.fromarray(found).save(folder / f'{name}.png')
    return folder


def pixels_of(toy_root):
    """Pixels of each true class, and of them in the lower half, where they were found."""
    found = np.zeros((2, 7), int)
    for name in (toy_root / 'ImageSets/Segmentation/val.txt').read_text().split():
        truth = np.array(Image.open(toy_root / f'SegmentationClass/{name}.png'))
        for row, part in enumerate((truth, truth[32:])):
            found[row] += np.bincount(part[part != 255], minlength=7)
    return found


def test_confusion_matrix_of_label_maps(call, drawn, toy_root, maps, tmp_path):
    out = tmp_path / 'matrix.png'
    done = call('confusion_matrix.py', TOY, maps, '--out', out)
    assert done.returncode == 0, done.stderr
    assert re.search(rf'{out}: 4 images, mIoU \d+\.\d\d', done.stdout)
    assert call('confusion_matrix.py', TOY, maps, '--out', out, '--normalize').returncode == 0
    assert Image.open(out).size[0] > 300
    every, lower = pixels_of(toy_root)
    counts, shares = (np.ma.getdata(figure.axes[0].images[0].get_array()) for figure in drawn)
    np.testing.assert_array_equal(counts[1:, 0], (every - lower)[1:])
    np.testing.assert_array_equal(counts.diagonal()[1:], lower[1:])
    there = every > 0
    np.testing.assert_allclose(shares.sum(1)[there], 100)
    np.testing.assert_allclose(
        shares.diagonal()[1:][there[1:]], (100 * lower / every)[1:][there[1:]]
    )
    names = [label.get_text() for label in drawn[0].axes[0].get_yticklabels()]
    assert names == ['background', 'disk', 'ring', 'square', 'triangle', 'star', 'cross']


def test_mistakes_of_confusion_matrix(call, maps, tmp_path):
    out = tmp_path / 'x.png'
    done = call('confusion_matrix.py', TOY, tmp_path / 'no', '--out', out)
    assert_refused(
        done, r'no does not exist; .*tools/test\.py .*pan_r18-d16_toy\.py CHECKPOINT --out'
    )
    done = call('confusion_matrix.py', TOY.with_name('pan_r18-d16_toi.py'), maps, '--out', out)
    assert_refused(done, 'did you mean .*pan_r18-d16_toy')
    unlabelled = tmp_path / 'unlabelled.py'
    cfg = Config.fromfile(TOY)
    del cfg.test_dataloader.dataset.data_prefix['seg_map_path']
    cfg.dump(unlabelled)
    done = call('confusion_matrix.py', unlabelled, maps, '--out', out)
    assert_refused(done, 'A confusion matrix needs labels to compare with')
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(maps / 'val_00002.png')
    done = call('confusion_matrix.py', TOY, maps, '--out', out)
    assert_refused(done, r'val_00002\.jpg in .* contains the id 9, .* classes 0 to 6')
    (maps / 'val_00001.png').unlink()
    done = call('confusion_matrix.py', TOY, maps, '--out', out)
    assert_refused(done, r'val_00001\.png does not exist or is not an image')
    assert not out.exists()


def test_names_that_look_like_formulas_are_drawn():
    matrix = np.array([[3, 1], [0, 0]])
    for normalize in (True, False):
        assert plots.draw_confusion(matrix, ['$\\frac{$', 'x' * 300], normalize)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    file = tmp_path_factory.mktemp('untrained') / 'iter_1.pth'
    model = MODELS.build(Config.fromfile(TOY).model)
    torch.save(dict(state_dict=model.state_dict()), file)
    return file


def test_report_of_a_test_and_its_comparison(checkpoint, run_tool, tmp_path):
    small = [
        '--work-dir', 'out', '--cfg-options', 'model.data_preprocessor.size=[64,64]',
        'test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False',
    ]  # fmt: skip
    output = run_tool('test.py', TOY, checkpoint, '--report', 'first', *small).stdout
    assert 'Report: first/index.html' in output
    assert {p.name for p in (tmp_path / 'first').iterdir()} == {
        'index.html', 'report.npz', 'predictions',
    }  # fmt: skip
    assert len(list((tmp_path / 'first/predictions').glob('*.png'))) == 4
    page = (tmp_path / 'first/index.html').read_text()
    (metrics,) = (tmp_path / 'out').glob('*/*.json')
    metrics = json.loads(metrics.read_text())
    assert f'id="miou">{metrics["mIoU"]:.2f}<' in page
    assert f'id="accuracy">{metrics["aAcc"]:.2f}<' in page
    for fact in (TOY, checkpoint, f'torch {torch.__version__}', '--report first', 'PANHead'):
        assert str(fact) in page
    assert len(re.findall(r'<td>[0-9a-f]{64}</td>', page)) == 1

    output = run_tool(
        'test.py', TOY, checkpoint, '--out', 'maps', '--report', 'second', '--compare', 'first',
        *small,
    ).stdout  # fmt: skip
    assert not (tmp_path / 'second/predictions').exists()
    assert len(list((tmp_path / 'maps').glob('*.png'))) == 4
    assert '+0.00 points' in (tmp_path / 'second/index.html').read_text()


@pytest.mark.parametrize(
    ('flags', 'pattern'),
    [
        (['--report', 'r', '--compare', 'no'], r'no is not a report: it has no report\.npz;'),
        (['--compare', 'r'], '--compare needs --report; type'),
    ],
)
def test_mistakes_cost_no_test(checkpoint, run_tool, tmp_path, flags, pattern):
    done = run_tool('test.py', TOY, checkpoint, *flags, check=False)
    assert_refused(done, pattern)
    assert 'Iter(test)' not in done.stdout
    assert not (tmp_path / 'r').exists()
