"""What mmengine does by itself, measured on the installed stack.

    python -m tests.engine.stock_behaviour

Its own loop, hooks and loader train the same small runs as our tests; docs/training.md has
the answers beside ours.
"""

import os
import pickle
import resource
import shutil
import signal
import tempfile
from importlib.metadata import distributions
from pathlib import Path
from unittest import mock

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, find_latest_checkpoint
from PIL import Image

import tests.engine.test_resume as counting
from mmseg_pan.datasets.toy import make_toy_shapes
from tests.engine.faults import Attack
from tests.engine.runs import (
    InterruptHook,
    InterruptionError,
    differences,
    in_a_fork,
    small_cfg,
    trained_state,
)
from tests.engine.test_loop import SpoiltLoss
from tests.engine.test_stop_signal import Send


class Bench:
    """A folder with data, and stock runs in it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.toy = folder / 'toy'
        make_toy_shapes(self.toy, train=16, val=4, size=64)
        self.results = folder / 'results'
        self.results.mkdir()

    def cfg(self, name: str, **options) -> Config:
        """Return the small run's config with mmengine's own parts."""
        cfg = small_cfg(self.folder / name, self.toy, **options)
        cfg.custom_hooks = []
        cfg.train_cfg.type = 'IterBasedTrainLoop'
        cfg.train_cfg.pop('max_nonfinite_steps', None)
        cfg.default_hooks.checkpoint.type = 'CheckpointHook'
        cfg.train_dataloader.dataset.type = 'BaseSegDataset'
        cfg.train_dataloader.dataset.metainfo = dict(classes=tuple('abcdefg'))
        cfg.log_level = 'ERROR'
        return cfg

    def train(self, cfg: Config, resume: bool = False, stop_after: int | None = None, hooks=()):
        """Train, as mmseg's own tools/train.py does."""
        cfg = cfg.copy()
        cfg.resume = resume
        cfg.experiment_name = f'run{os.urandom(8).hex()}'
        with mock.patch.object(Config, 'pretty_text', ''):
            runner = Runner.from_cfg(cfg)
            for hook in hooks:
                runner.register_hook(hook)
            if stop_after:
                runner.register_hook(InterruptHook(stop_after))
            try:
                runner.train()
            except InterruptionError:
                pass
        return runner

    def ask(self, name: str, question) -> None:
        """Answer a question in a fork, so that what it breaks stays there, and print it."""
        answer = self.results / 'answer'
        answer.unlink(missing_ok=True)

        def fork():
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            try:
                text = str(question())
            except Exception as error:
                first = next(iter(str(error).strip().splitlines()), '')
                text = f'{type(error).__name__}: {first[:110]}'
            answer.write_bytes(pickle.dumps(text))

        ended = in_a_fork(fork)
        text = pickle.loads(answer.read_bytes()) if answer.is_file() else ''
        if ended:
            text += f'(ended by {signal.Signals(ended).name})'
        print(f'{name}: {text}', flush=True)

    def files(self, name: str) -> list[str]:
        """List checkpoints with their sizes."""
        return sorted(f'{p.name} {p.stat().st_size}' for p in (self.folder / name).glob('*.pth'))


def questions(bench: Bench) -> None:
    """Ask them all."""

    def killed_while_saving():
        cfg = bench.cfg('killed', default_hooks__checkpoint__max_keep_ckpts=1)
        bench.train(cfg, stop_after=3)
        size = (bench.folder / 'killed/iter_2.pth').stat().st_size // 2

        def rest():
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            bench.train(cfg, resume=True)

        in_a_fork(rest)
        return f'{bench.files("killed")} of {2 * size} bytes when whole'

    def damaged():
        cfg = bench.cfg('damaged')
        bench.train(cfg, stop_after=4)
        path = bench.folder / 'damaged/iter_4.pth'
        path.write_bytes(path.read_bytes()[:-1000])
        return f'resumed at {bench.train(cfg, resume=True).iter}'

    def flipped():
        cfg = bench.cfg('flipped')
        bench.train(cfg, stop_after=4)
        path = bench.folder / 'flipped/iter_4.pth'
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 64
        path.write_bytes(data)
        return f'trained on to {bench.train(cfg, resume=True).iter}'

    def moved():
        bench.train(bench.cfg('old'), stop_after=2)
        (bench.folder / 'old').rename(bench.folder / 'new')
        named = find_latest_checkpoint(str(bench.folder / 'new'))
        return f'file of last_checkpoint is there: {Path(named).is_file()}'

    def nothing_to_resume():
        return f'trained from 0 to {bench.train(bench.cfg("empty"), resume=True).iter}'

    def resumed(workers):
        name = f'exact{workers}'
        cfg = bench.cfg(name, workers=workers, ema=True)
        cfg.custom_hooks = [dict(type='EMAHook', momentum=0.1)]
        bench.train(cfg)
        whole = trained_state_unsafe(bench.folder / name / 'iter_6.pth')
        cfg.work_dir += 'b'
        bench.train(cfg, stop_after=4)
        bench.train(cfg, resume=True)
        found = differences(trained_state_unsafe(Path(cfg.work_dir, 'iter_6.pth')), whole)
        weights = [v for k, v in found.items() if 'state_dict' in k]
        return f'{len(weights)} weights and buffers differ, by {max(weights, default=0):.2g}'

    def loaded():
        cfg = bench.cfg('count')
        cfg.train_dataloader.dataset.pipeline.insert(0, dict(type='CountLoads'))
        bench.train(cfg, stop_after=2)
        counts = []
        for iteration in (100, 1000):
            path = bench.folder / 'count/iter_2.pth'
            checkpoint = torch.load(path, weights_only=False)
            checkpoint['meta']['iter'] = iteration
            folder = bench.folder / f'count{iteration}'
            folder.mkdir()
            torch.save(checkpoint, folder / 'x.pth')
            (folder / 'last_checkpoint').write_text(str(folder / 'x.pth'))
            cfg.work_dir, cfg.train_cfg.max_iters = str(folder), iteration + 1
            counting.LOADED.value = 0
            bench.train(cfg, resume=True)
            counts.append(counting.LOADED.value)
        return f'{counts[0]} samples at 100, {counts[1]} at 1000, of which 2 were needed'

    def terminated():
        def run():
            bench.train(bench.cfg('term'), hooks=[Send('step', 4)])

        ended = in_a_fork(run)
        return f'{signal.Signals(ended).name if ended else "ran on"}; {bench.files("term")}'

    def not_finite():
        SpoiltLoss.spoilt, SpoiltLoss.calls = (3,), 0
        loss = dict(_delete_=True, type='SpoiltLoss')
        runner = bench.train(bench.cfg('nan', model__decode_head__loss_decode=loss))
        state = torch.load(bench.folder / 'nan/iter_6.pth', weights_only=False)['state_dict']
        bad = sum(not v.isfinite().all() for v in state.values() if v.is_floating_point())
        return f'trained on to {runner.iter}; {bad} of {len(state)} tensors saved are not finite'

    def torn_image():
        root = Path(shutil.copytree(bench.toy, bench.folder / 'torn'))
        path = root / 'JPEGImages/train_00005.jpg'
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        cfg = bench.cfg('image', iterations=20)
        cfg.train_dataloader.dataset.data_root = str(root)
        return f'trained on to {bench.train(cfg).iter}'

    def illegal_mask():
        root = Path(shutil.copytree(bench.toy, bench.folder / 'illegal'))
        Image.new('L', (64, 64), 99).save(root / 'SegmentationClass/train_00005.png')
        cfg = bench.cfg('mask', iterations=20)
        cfg.train_dataloader.dataset.data_root = str(root)
        return f'trained on to {bench.train(cfg).iter}'

    def own_checkpoint():
        bench.train(bench.cfg('own'), stop_after=2)
        torch.load(bench.folder / 'own/iter_2.pth', weights_only=True)
        return 'loads with weights_only=True'

    def own_resume():
        os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)
        cfg = bench.cfg('own2')
        bench.train(cfg, stop_after=2)
        return f'resumed to {bench.train(cfg, resume=True).iter}'

    def malicious():
        os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)
        mark = bench.folder / 'mark'
        path = bench.folder / 'bad.pth'
        torch.save(dict(state_dict={}, meta={}, x=Attack(mark)), path)
        cfg = bench.cfg('bad')
        cfg.load_from = str(path)
        try:
            bench.train(cfg, stop_after=1)
        finally:
            (bench.results / 'ran').write_text(str(mark.exists()))
        return 'trained'

    def twice():
        losses = []
        for name in 'xy':
            runner = bench.train(bench.cfg(f'twice{name}', iterations=4))
            losses.append(runner.message_hub.get_scalar('train/loss').data[0].tolist())
        return f'equal losses: {losses[0] == losses[1]}'

    # Without this OpenMMLab's release cannot resume its own checkpoints on this torch.
    os.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] = '1'
    bench.ask('1, 2 killed while saving, one to keep', killed_while_saving)
    bench.ask('3 work dir moved', moved)
    bench.ask('4 nothing to resume', nothing_to_resume)
    bench.ask('5 newest cut off', damaged)
    bench.ask('5 newest with one bit flipped', flipped)
    for workers in (0, 1):
        bench.ask(f'6 stop and resume, {workers} workers', lambda workers=workers: resumed(workers))
    bench.ask('6 samples loaded to resume', loaded)
    bench.ask('7 SIGTERM in step 4', terminated)
    bench.ask('8 loss of NaN at step 3', not_finite)
    bench.ask('9 image cut in half', torn_image)
    bench.ask('9 mask with an illegal id', illegal_mask)
    bench.ask('10 own checkpoint', own_checkpoint)
    bench.ask('10 own checkpoint resumed, torch as it is', own_resume)
    bench.ask('10 malicious pickle', malicious)
    print('   its code ran:', (bench.results / 'ran').read_text())
    bench.ask('11 the same run twice', twice)


def trained_state_unsafe(path: Path) -> dict:
    """Read a checkpoint of stock mmengine, which is more than tensors."""
    load = torch.load
    with mock.patch.object(torch, 'load', lambda p, **_: load(p, weights_only=False)):
        return trained_state(path)


def main() -> None:
    """Ask everything of the stack that is installed."""
    torch.set_num_threads(1)
    init_default_scope('mmseg')
    names = {d.metadata['Name']: d.version for d in distributions()}
    print({k: v for k, v in names.items() if 'mmengine' in k or k == 'torch'})
    with tempfile.TemporaryDirectory() as folder:
        questions(Bench(Path(folder)))


if __name__ == '__main__':
    main()
