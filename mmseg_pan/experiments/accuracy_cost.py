"""Accuracy over cost: recorded results with multiply-adds and time."""

from functools import partial

from mmseg_pan.benchmarks.comparison import compare_contenders
from mmseg_pan.benchmarks.contenders import from_config
from mmseg_pan.benchmarks.timing import quartiles
from mmseg_pan.errors import UserError

from .recipes import newest_by_name
from .results import read_results
from .spec import Spec


def accuracy_over_cost(spec: Spec, mean: str, shape: tuple[int, int], rounds: int) -> list[dict]:
    """Take the networks of an experiment file that have results, and time them in turns.

    Where a name has runs of several recipes on record, those of the newest count.

    Args:
        spec: The experiments.
        mean: Which mean of the results, such as 'mIoU' or 'mIoU_nine'.
        shape: Height and width of the image that time and arithmetic are of, in pixels.
        rounds: Measurements of each.

    Returns:
        For each network its 'name' and 'head' (type), 'accuracy' (one number a seed, per
        cent), 'multiply_adds' and 'parameters' of the whole network, and 'ms': lower
        quartile, median and upper quartile of one image.

    Raises:
        UserError: If there are no results with this mean.
    """
    lines = [line for line in read_results(spec.results.path) if line['kind'] == 'run']
    experiments = {experiment.name: experiment for experiment in spec.experiments}
    accuracy = {
        name: [line[mean] for line in runs if mean in line]
        for name, runs in newest_by_name(lines).items()
        if name in experiments and any(mean in line for line in runs)
    }
    if not accuracy:
        known = sorted({key for line in lines for key in line if key.startswith('mIoU')})
        raise UserError(
            f'{spec.results.path} has no run with "{mean}" (it has: {", ".join(known) or "none"}); '
            'type "python tools/run_experiments.py SPEC" first.'
        )
    configs = {name: experiments[name].load(spec.root) for name in accuracy}
    builders = [partial(from_config, name, cfg.model) for name, cfg in configs.items()]
    rows, _ = compare_contenders(builders, shape, 1, rounds, train=False, options=[()])
    return [
        dict(
            name=row['model'],
            head=configs[row['model']].model.decode_head.type,
            accuracy=accuracy[row['model']],
            multiply_adds=row['cost']['total'].multiply_adds,
            parameters=row['cost']['total'].parameters,
            ms=[round(1e3 * s, 1) for s in quartiles(row['times']['whole'])],
        )
        for row in rows
    ]
