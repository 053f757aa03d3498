"""All tools on a GPU, as a person types them, on the toy data set: ``pytest -m gpu``.

The same tests run on a CPU, to see that they are right themselves, with

    MMSEG_PAN_GPU_TESTS_DEVICE=cpu pytest -m gpu
"""

import json
import os
import re
import signal
import sys

import pytest
import torch

from mmseg_pan.datasets.toy import make_toy_shapes
from mmseg_pan.devices import has_bfloat16
from mmseg_pan.export.writing import export
from mmseg_pan.inference import load_segmentor
from tests.engine.runs import BATCH, small_cfg
from tests.paths import ROOT
from tests.processes import run_command
from tests.tools.test_train_and_test import free_port

ON_CPU = os.environ.get('MMSEG_PAN_GPU_TESTS_DEVICE') == 'cpu'
CARDS = 0 if ON_CPU else torch.cuda.device_count()

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not (ON_CPU or CARDS),
        reason='torch finds no GPU; MMSEG_PAN_GPU_TESTS_DEVICE=cpu runs the test on the CPU',
    ),
]


class Bench:
    """A folder with data, a config and what the tools write."""

    def __init__(self, folder):
        self.folder = folder
        make_toy_shapes(folder / 'toy', train=16, val=4, size=96)  # exports take 65 and more
        self.cfg = small_cfg(folder / 'run', folder / 'toy', val_interval=6, interval=3)
        self.cfg.log_level = 'INFO'
        self.cfg.custom_imports.imports.append('tests.engine.faults')
        self.cfg.dump(folder / 'config.py')
        self.config = folder / 'config.py'

    def type(self, *command, code=0):
        """Run a command in the folder; returns what it prints."""
        environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
        environment |= {'PORT': free_port(), 'PYTHON': sys.executable, 'PYTHONWARNINGS': 'ignore'}
        if ON_CPU:
            environment['CUDA_VISIBLE_DEVICES'] = ''
        done = run_command(command, cwd=self.folder, env=environment)
        assert done.returncode == code, done.stdout[-2000:] + done.stderr[-4000:]
        assert 'Traceback' not in done.stderr or code, done.stderr
        return done.stdout

    def tool(self, name, *args, code=0):
        """Run a tool."""
        return self.type(sys.executable, ROOT / 'tools' / name, *args, code=code)

    def train(self, name, *args, code=0):
        """Train six iterations; returns the output, which names the device that was used."""
        output = self.tool('train.py', self.config, '--work-dir', name, *args, code=code)
        device = (
            r'CPU, (1 thread|\d+ threads)$' if ON_CPU else re.escape(torch.cuda.get_device_name())
        )
        assert re.search(rf'^  device +{device}', output, re.M), output[-3000:]
        return output

    def losses(self, name):
        """Losses by iteration, all logs of a work dir together."""
        lines = [
            json.loads(line)
            for file in sorted((self.folder / name).glob('*/vis_data/scalars.json'))
            for line in file.read_text().splitlines()
        ]
        return {line['step']: line['loss'] for line in lines if 'loss' in line}


def miou(output):
    return float(re.findall(r'mIoU: +([\d.]+)', output)[-1])


@pytest.fixture(scope='module')
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp('gpu'))


@pytest.fixture(scope='module')
def checkpoint(bench):
    """Of a run of its own: the tests can run one by one."""
    bench.train('run')
    return bench.folder / 'run/iter_6.pth'


@pytest.fixture(scope='module')
def plain(bench, checkpoint):
    """What the test of the checkpoint gives without any option."""
    return miou(bench.tool('test.py', bench.config, checkpoint))


@pytest.fixture(scope='module')
def network(bench, toy_checkpoint):
    """OpenVINO's files of a network whose classes differ: six iterations leave ties."""
    pytest.importorskip('openvino')
    options = ('--format', 'openvino', '--images', '2')
    bench.tool('deployment/export.py', bench.config, toy_checkpoint, '--out', 'pan', *options)
    return bench.folder / 'pan.xml'


def test_train(bench, checkpoint):
    losses = bench.losses('run')
    assert set(losses) == set(range(1, 7))
    assert all(0 < loss < 100 for loss in losses.values())
    weights = torch.load(checkpoint, map_location='cpu', weights_only=True)
    assert all(value.isfinite().all() for value in weights['state_dict'].values())


def test_stop_and_resume(bench, checkpoint):
    cfg = bench.cfg.copy()
    fault = dict(type='SignalOneProcess', iteration=4, number=int(signal.SIGTERM), rank=0)
    cfg.custom_hooks = [*cfg.custom_hooks, fault]
    cfg.dump(bench.folder / 'stopped.py')
    line = [sys.executable, ROOT / 'tools/train.py', 'stopped.py', '--work-dir', 'stopped']
    assert 'continue with the same command' in bench.type(*line, code=75)
    output = bench.train('stopped', '--resume')
    assert 'iter_4.pth' in output
    straight, resumed = bench.losses('run'), bench.losses('stopped')
    assert set(resumed) == set(straight)
    # A GPU adds in any order; the images and the random numbers are the same.
    assert resumed == pytest.approx(straight, rel=0 if ON_CPU else 0.02)


@pytest.mark.parametrize('kind', ['float16', 'bfloat16'])
def test_train_in_half_precision(bench, checkpoint, kind):
    if kind == 'float16' and ON_CPU:
        pytest.skip('mmengine has float16 on GPUs alone')
    if kind == 'bfloat16' and not (ON_CPU or has_bfloat16()):
        pytest.skip('this card has no bfloat16')
    wrapper = 'BFloat16OptimWrapper' if kind == 'bfloat16' else 'AmpOptimWrapper'
    options = [f'optim_wrapper.type={wrapper}']
    if kind == 'float16':
        options.append('optim_wrapper.loss_scale=dynamic')
    bench.train(kind, '--cfg-options', *options)
    assert bench.losses(kind)[1] == pytest.approx(bench.losses('run')[1], rel=0.05)
    # A second run reads the state of the loss scale.
    assert 'iter_6.pth' in bench.train(
        kind, '--resume', '--cfg-options', *options, 'train_cfg.max_iters=8'
    )


@pytest.mark.skipif(ON_CPU, reason='on a CPU it depends on the processor')
def test_train_with_the_flags_that_choose_for_the_card(bench, checkpoint):
    bench.train('flags', '--amp', '--fast')
    assert bench.losses('flags')[1] == pytest.approx(bench.losses('run')[1], rel=0.05)


@pytest.mark.parametrize('options', [('--fast',), ('--fast', '--amp'), ('--tta',)], ids=' '.join)
def test_test(bench, checkpoint, plain, options):
    if '--amp' in options and not (ON_CPU or has_bfloat16()):
        pytest.skip('this card has no bfloat16')
    found = miou(bench.tool('test.py', bench.config, checkpoint, *options))
    if '--tta' not in options:
        assert found == pytest.approx(plain, abs=0.1 if '--amp' not in options else 2)


def test_test_writes_label_maps_and_a_report(bench, checkpoint, plain):
    output = bench.tool('test.py', bench.config, checkpoint, '--out', 'maps', '--report', 'report')
    assert miou(output) == pytest.approx(plain, abs=0.01)
    assert len(list((bench.folder / 'maps').rglob('*.png'))) == 4
    assert (bench.folder / 'report/index.html').is_file()


@pytest.mark.parametrize('device', ['default', 'last'])
def test_predict(bench, checkpoint, device):
    options = []
    if device == 'last':
        options = ['--device', 'cpu' if ON_CPU else f'cuda:{CARDS - 1}']
    images = bench.folder / 'toy/JPEGImages'
    command = [images, '--checkpoint', checkpoint, '--out', f'predicted-{device}']
    bench.tool('predict.py', *command, *options, '--window', '64', '--batch', '2')
    assert len(list((bench.folder / f'predicted-{device}').rglob('*.png'))) == 20


def test_a_device_that_is_not_there_is_an_error_message(bench, checkpoint):
    device = f'cuda:{CARDS}'
    images = bench.folder / 'toy/JPEGImages'
    command = [images, '--checkpoint', checkpoint, '--out', 'nowhere', '--device', device]
    bench.tool('predict.py', *command, code=2)
    assert not (bench.folder / 'nowhere').exists()


def test_attention(bench, checkpoint):
    image = bench.folder / 'toy/JPEGImages/val_00000.jpg'
    assert 'FPA: ' in bench.tool('analysis_tools/attention.py', bench.config, checkpoint, image)


def test_publish(bench, checkpoint):
    output = bench.tool('misc/publish_model.py', checkpoint, '--out', 'pan.safetensors')
    assert 'Written: pan-' in output


def test_export_and_parity(bench, toy_checkpoint, network):
    output = bench.tool('deployment/parity.py', bench.config, toy_checkpoint, network)
    rows = [line.split('|') for line in output.splitlines() if line.startswith('| ')]
    reference, exported = rows[-2:]
    assert float(exported[3].strip().rstrip('%')) > 99
    assert float(exported[4]) == pytest.approx(float(reference[4]), abs=0.5)
    plain = miou(bench.tool('test.py', bench.config, toy_checkpoint))
    assert float(reference[4]) == pytest.approx(plain, abs=0.1)


def test_quantize(bench, network):
    pytest.importorskip('nncf')
    options = ('--out', 'pan-int8', '--images', '4')
    bench.tool('deployment/quantize.py', bench.config, network, *options)
    assert (bench.folder / 'pan-int8.xml').is_file()


@pytest.mark.parametrize('options', [(), ('--train', '--bfloat16')], ids=['inference', 'training'])
def test_benchmark(bench, options):
    if options and not (ON_CPU or has_bfloat16()):
        pytest.skip('this card has no bfloat16')
    command = [ROOT / 'configs/pan/pan_r18-d16_toy.py', '--shape', '64', '64', '--rounds', '1']
    output = bench.tool('analysis_tools/benchmark.py', *command, *options, '--channels-last')
    name = 'CPU' if ON_CPU else torch.cuda.get_device_name()
    assert output.startswith(name)
    memory = [line.split('|')[7] for line in output.splitlines() if line.startswith('| pan_')]
    assert len(memory) == (4 if options else 2)
    assert all(float(megabytes) >= 0 for megabytes in memory)


@pytest.mark.skipif(not ON_CPU and CARDS < 2, reason='two processes need two GPUs')
def test_two_processes(bench):
    script = ROOT / 'tools/dist_train.sh'
    options = [f'auto_scale_lr.base_batch_size={2 * BATCH}']
    output = bench.type(
        'bash', script, bench.config, '2', '--work-dir', 'two', '--cfg-options', *options
    )
    assert re.search(rf'^  batch +{2 * BATCH} \(2 x {BATCH}\)', output, re.M)
    assert set(bench.losses('two')) == set(range(1, 7))
    script = ROOT / 'tools/dist_test.sh'
    assert miou(bench.type('bash', script, bench.config, 'two/iter_6.pth', '2')) >= 0


@pytest.mark.skipif(ON_CPU, reason='on a CPU processes share the cores')
def test_more_processes_than_cards_are_an_error_message(bench):
    bench.type('bash', ROOT / 'tools/dist_train.sh', bench.config, str(CARDS + 1), code=2)


def test_export_of_a_network_on_the_gpu(bench, checkpoint):
    """A caller's network stays where it is."""
    pytest.importorskip('onnxscript')
    device = 'cpu' if ON_CPU else 'cuda'
    model = load_segmentor(checkpoint, bench.config, device)
    file = export(model, bench.folder / 'from-gpu', shape=(64, 64))
    assert file.is_file()
    assert {p.device.type for p in model.parameters()} == {device}
