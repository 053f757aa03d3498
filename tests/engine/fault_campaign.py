"""Kill a small training run again and again, and see whether anything is lost.

    python -m tests.engine.fault_campaign --kills 200 --log docs/fault_campaign.csv

Every run is killed with SIGKILL at random moments (while it starts, loads data, takes a step,
saves or validates), started again with --resume auto, and so on until it is finished. At some
of the kills the newest checkpoint is damaged as well, as a disk might do it. Then the next run
begins. A loss is: weights, averaged weights or optimizer state that differ from the undisturbed
run's, another best checkpoint, or a kill that takes away a checkpoint which was whole before.
"""

import argparse
import csv
import mmap
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope

from mmseg_pan.datasets.toy import make_toy_shapes
from mmseg_pan.engine.resume import checkpoints
from mmseg_pan.weights.trust import find_damage
from tests.engine.runs import differences, small_cfg, train, trained_state

PHASES = ('start', 'load', 'step', 'save', 'validate')
ITERATIONS, INTERVAL = 10, 2
DAMAGE = 0.1  # share of the kills


class Phase(Hook):
    """Tell the parent process what the run is at."""

    priority = 'VERY_HIGH'

    def __init__(self, memory: mmap.mmap):
        self.memory = memory

    def _at(self, phase: str) -> None:
        self.memory[0] = PHASES.index(phase)

    def before_train_epoch(self, runner):
        self._at('load')

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self._at('step')

    def before_save_checkpoint(self, runner, checkpoint):
        self._at('save')

    def before_val(self, runner):
        self._at('validate')

    def after_val(self, runner):
        self._at('load')


class BackToLoading(Hook):
    """Tell when everything after a step is done."""

    priority = 'LOWEST'

    def __init__(self, memory: mmap.mmap):
        self.memory = memory

    def after_train_iter(self, runner, *args, **kwargs):
        self.memory[0] = PHASES.index('load')


def start(cfg, memory: mmap.mmap) -> int:
    """Fork a process that trains on; returns its id."""
    memory[0] = 0
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        train(cfg, resume='auto', hooks=[Phase(memory), BackToLoading(memory)])
        code = 0
    finally:
        os._exit(code)


def kill_somewhere(child: int, memory: mmap.mmap, rng: random.Random) -> str | None:
    """Wait for a random phase to come by, and a little longer, and kill.

    Returns:
        The phase that was hit; None where the run was through before.
    """
    target, passes = rng.randrange(len(PHASES)), rng.randrange(1, 8)
    delay = rng.choice([0, 0.001, 0.01, 0.1]) * rng.random()
    last = -1
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert status == 0, f'the run failed by itself with status {status}'
            return None
        now = memory[0]
        if now == target and now != last:
            passes -= 1
            if passes <= 0 or target == 0:
                break
        last = now
        time.sleep(2e-4)
    time.sleep(delay + (rng.random() if target == 0 else 0))
    phase = PHASES[memory[0]]
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return phase if os.WIFSIGNALED(status) else None


def damage(path: Path, rng: random.Random) -> str:
    """Spoil a checkpoint as a disk might."""
    data = bytearray(path.read_bytes())
    kind = rng.choice(['cut off', 'bit flipped', 'empty'])
    if kind == 'cut off':
        data = data[: rng.randrange(1, len(data))]
    elif kind == 'empty':
        data = b''
    else:
        data[rng.randrange(len(data) // 4, len(data) // 2)] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return kind


def campaign(kills: int, folder: Path, seed: int = 0) -> tuple[list[dict], list[str]]:
    """Kill so many times.

    Returns:
        One record for each kill, and a message for each loss.
    """
    rng = random.Random(seed)
    memory = mmap.mmap(-1, 1)
    make_toy_shapes(folder / 'toy', train=16, val=4, size=64)

    def config(name):
        cfg = small_cfg(
            folder / name, folder / 'toy', ITERATIONS, workers=1, ema=True, val_interval=4,
            interval=INTERVAL, default_hooks__checkpoint__max_keep_ckpts=3,
        )  # fmt: skip
        cfg.log_level = 'ERROR'
        return cfg

    def result(name):
        # A best checkpoint later than where a run continued is renamed and kept.
        files = (folder / name).glob('best*')
        best = sorted(p.name for p in files if '.of-run-' not in p.name)
        return trained_state(folder / name / f'iter_{ITERATIONS}.pth'), best

    _, status = os.waitpid(start(config('undisturbed'), memory), 0)
    assert status == 0
    expected = result('undisturbed')
    records, losses, run = [], [], 0
    while True:
        name = f'run{run}'
        cfg = config(name)
        child = start(cfg, memory)
        before = newest_whole(folder / name)
        phase = kill_somewhere(child, memory, rng) if len(records) < kills else None
        if phase is None:
            if len(records) >= kills:
                os.waitpid(child, 0)
            state, best = result(name)
            if differences(state, expected[0]):
                losses.append(f'{name}: other weights')
            if best != expected[1]:
                losses.append(f'{name}: best checkpoint {best}, expected {expected[1]}')
            shutil.rmtree(folder / name)
            run += 1
            if len(records) >= kills:
                return records, losses
            continue
        newest = newest_whole(folder / name)
        if newest < before:
            losses.append(f'{name}: a kill in {phase} took checkpoint {before} away')
        spoilt = ''
        if newest > INTERVAL and rng.random() < DAMAGE:  # there is an older one
            spoilt = damage(folder / name / f'iter_{newest}.pth', rng)
        records.append(dict(kill=len(records) + 1, run=run, phase=phase, newest_checkpoint=newest,
                            damage=spoilt))  # fmt: skip


def newest_whole(folder: Path) -> int:
    """Return the iteration of the newest checkpoint that is whole; 0 without one."""
    for path in checkpoints(folder):
        if find_damage(path) is None:
            return int(path.stem.removeprefix('iter_'))
    return 0


def main() -> None:
    """Run the campaign and print what became of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--kills', type=int, default=200)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--log', type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    init_default_scope('mmseg')
    with tempfile.TemporaryDirectory() as folder:
        records, losses = campaign(args.kills, Path(folder), args.seed)
    if args.log:
        with open(args.log, 'w', newline='') as file:
            writer = csv.DictWriter(file, records[0], lineterminator='\n')
            writer.writeheader()
            writer.writerows(records)
    runs = records[-1]['run'] + 1
    print(f'{len(records)} kills in {runs} runs of {ITERATIONS} iterations:')
    for phase, count in Counter(r['phase'] for r in records).most_common():
        print(f'  {phase}: {count}')
    print(f'  checkpoints damaged as well: {sum(bool(r["damage"]) for r in records)}')
    print(f'losses: {len(losses)}', *losses, sep='\n')
    sys.exit(bool(losses))


if __name__ == '__main__':
    main()
