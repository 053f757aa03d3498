"""The tests of mmengine and MMSegmentation, with our classes instead of theirs.

    python -m tests.foreign.run_suites --mmengine FOLDER --mmseg FOLDER --out table.md

The folders hold ``tests/`` of the two projects: the source distribution of mmengine has them
("pip download --no-deps --no-binary :all: onedl-mmengine", and unpack it), and a checkout of
MMSegmentation's repository, with ``configs/``. Nothing of them is copied or changed. The tests
run against the installed packages, once with stock classes and once with ours: what fails with
the stock ones as well, because of versions or missing libraries, is counted apart.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

from tests.foreign.not_applicable import NOT_APPLICABLE
from tests.foreign.substitutes import CHOSEN, RESULTS, SUBSTITUTIONS
from tests.paths import ROOT

HOOKS = (
    'tests/test_hooks/test_checkpoint_hook.py',
    'tests/test_hooks/test_ema_hook.py',
    'tests/test_hooks/test_early_stopping_hook.py',
    'tests/test_runner/test_runner.py',
)
SEGMENTORS = tuple(
    f'tests/test_models/test_segmentors/test_{name}.py'
    for name in ('encoder_decoder', 'cascade_encoder_decoder', 'seg_tta_model')
)
HEADS = ('tests/test_models/test_heads/test_decode_head.py', *SEGMENTORS)


class Trial(NamedTuple):
    """A substitution under some of a project's test files."""

    project: str
    substitution: str
    ours: str
    files: tuple[str, ...]


TRIALS = (
    Trial(
        'mmengine',
        'checkpoint hooks',
        '`VerifiedCheckpointHook` and `SafeCheckpointHook`',
        HOOKS,
    ),
    Trial(
        'mmengine',
        'loop',
        '`ResumableTrainLoop`',
        (*HOOKS, 'tests/test_hooks/test_logger_hook.py', 'tests/test_runner/test_log_processor.py'),
    ),
    Trial(
        'mmseg',
        'transforms',
        'the four `Fast...` transforms',
        tuple(f'tests/test_datasets/test_{name}.py' for name in ('transform', 'tta', 'formatting')),
    ),
    Trial(
        'mmseg',
        'metric',
        '`FastIoUMetric`',
        ('tests/test_evaluation/test_metrics/test_iou_metric.py',),
    ),
    Trial('mmseg', 'tta', '`FastTTAModel`', (SEGMENTORS[2],)),
    Trial('mmseg', 'FPAHead', '`FPAHead` as base of the heads', HEADS),
    Trial('mmseg', 'PANHead', '`PANHead` as base of the heads', HEADS),
    Trial(
        'mmseg',
        'PANHead in configs',
        '`PANHead` in shipped configs',
        ('tests/test_models/test_forward.py',),
    ),
    Trial(
        'mmseg',
        'loss',
        "our heads' cross entropy",
        ('tests/test_models/test_losses/test_cross_entropy_loss.py',),
    ),
)


def run_files(root: Path, files: list[str], substitution: str) -> dict[str, tuple[str, str]]:
    """Run test files in one process; returns outcome and message by file and name of the test."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, 'results')
        results.touch()
        # The plugin by its name alone: there is a package "tests" there as well.
        paths = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
        environment = dict(os.environ, PYTHONPATH=paths, OMP_NUM_THREADS='1')
        environment |= {CHOSEN: substitution, RESULTS: str(results)}
        # Not "python -m pytest", which imports from the current folder: a source distribution has
        # the package as well, and the installed one is meant.
        command = [Path(sys.executable).with_name('pytest'), '-q', '-p', 'substitutes']
        command += ['-p', 'no:cacheprovider', '-p', 'no:xdist', '--timeout=600', '-c', os.devnull]
        command += ['--continue-on-collection-errors']
        command += ['--rootdir', str(root), *_importing(root), *files]
        subprocess.run(command, cwd=root, env=environment, stdout=subprocess.DEVNULL, check=False)
        lines = map(json.loads, results.read_text().splitlines())
        return {line['test']: (line['outcome'], line['why']) for line in lines}


def _importing(root: Path) -> list[str]:
    # MMSegmentation's tests import modules beside them; mmengine's would import its sources.
    return ['--import-mode=importlib'] if (root / 'mmengine').is_dir() else []


class Count(NamedTuple):
    """Outcomes of a trial."""

    passed: int
    failed: dict[str, str]
    not_applicable: dict[str, str]
    stock_too: int
    skipped: int


def compare(stock: dict, ours: dict, trial: Trial) -> Count:
    """Sort the tests of a trial's files."""
    reasons = NOT_APPLICABLE.get(trial.substitution, {})
    names = tuple(Path(file).name for file in trial.files)
    passed = stock_too = skipped = 0
    failed, not_applicable = {}, {}
    for test, (outcome, _) in stock.items():
        if not test.startswith(names):
            continue
        found, why = ours.get(test, ('failed', 'not run'))
        if outcome == 'skipped':
            skipped += 1
        elif outcome == 'failed':
            stock_too += 1
        elif found == 'passed':
            passed += 1
        elif test in reasons:
            not_applicable[test] = reasons[test]
        else:
            failed[test] = why
    return Count(passed, failed, not_applicable, stock_too, skipped)


def main() -> int:
    """Run the trials and write the table; returns 1 if a test of ours failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--mmengine', type=Path, metavar='FOLDER')
    parser.add_argument('--mmseg', type=Path, metavar='FOLDER')
    parser.add_argument('--only', choices=[name for name in SUBSTITUTIONS if name != 'stock'])
    parser.add_argument('--out', type=Path, metavar='FILE', help='for the table')
    args = parser.parse_args()
    roots = {key: path.resolve() for key, path in vars(args).items() if key in _PROJECTS and path}
    lines = [
        '| tests of | ours | passed | failed | not applicable | fail with stock classes too '
        '| skipped |',
        '| --- | --- | ---: | ---: | ---: | ---: | ---: |',
    ]
    notes, failures, stock = [], [], {}
    for trial in TRIALS:
        if trial.project not in roots or args.only not in (None, trial.substitution):
            continue
        root = roots[trial.project]
        if trial.project not in stock:
            files = {f for t in TRIALS if t.project == trial.project for f in t.files}
            stock[trial.project] = run_files(root, sorted(files), 'stock')
        ours = run_files(root, list(trial.files), trial.substitution)
        count = compare(stock[trial.project], ours, trial)
        lines.append(
            f'| {_PROJECTS[trial.project]} | {trial.ours} | {count.passed} | {len(count.failed)} '
            f'| {len(count.not_applicable)} | {count.stock_too} | {count.skipped} |'
        )
        print(lines[-1], flush=True)
        notes += [
            f'| {trial.ours} | `{test}` | {why} |' for test, why in count.not_applicable.items()
        ]
        failures += [f'{trial.ours}: {test}: {why}' for test, why in count.failed.items()]
    if notes:
        lines += ['', '| ours | test | why it does not apply |', '| --- | --- | --- |', *notes]
    text = '\n'.join([_versions(), '', *lines, ''])
    if args.out:
        args.out.write_text(text)
    print(text)
    print('\n'.join(failures))
    return bool(failures)


_PROJECTS = dict(mmengine='mmengine', mmseg='MMSegmentation')


def _versions() -> str:
    names = ('mmengine', 'mmcv', 'mmsegmentation', 'torch')
    found = {d.name: d.version for d in distributions() if d.name.split('onedl-')[-1] in names}
    return 'Installed: ' + ', '.join(f'{name} {version}' for name, version in sorted(found.items()))


if __name__ == '__main__':
    sys.exit(main())
