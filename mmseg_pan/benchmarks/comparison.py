"""The benchmark's table of models and options."""

import statistics
from collections.abc import Callable

import torch

from mmseg_pan.devices import default_device

from . import timing
from .complexity import Cost, count_parts
from .contenders import Contender

#: Options of the benchmark, and how tables put them.
OPTIONS = {
    'channels-last': 'in channels-last memory format',
    'bfloat16': 'under autocast to bfloat16',
    'compile': 'compiled by torch.compile',
}


def variants(options: list[str]) -> list[tuple[str, ...]]:
    """List no option, each alone, and all of them together."""
    alone = [(option,) for option in options]
    return [(), *alone, *([tuple(options)] if len(options) > 1 else [])]


def compare_contenders(
    models: list[Callable[[], Contender]],
    shape: tuple[int, int],
    batch: int,
    rounds: int,
    train: bool,
    options: list[tuple[str, ...]],
) -> tuple[list[dict], dict[str, float]]:
    """Measure models, with each set of options, in one interleaved run.

    Args:
        models: What builds each of them.
        shape: Image height and width in pixels.
        batch: Images at once.
        rounds: Measurements of each.
        train: A training step instead of inference.
        options: Sets of options, see :func:`variants`.

    Returns:
        The rows of the table, and what the machine reached: by kernel operations, or bytes of a
        'copy', a second. The share of the limit is that of the fastest kernel of its precision.
    """
    actions, costs = {}, {}
    images = torch.randn(batch, 3, *shape, device=default_device())
    for build in models:
        for chosen in options:
            contender = build()
            label = ' + '.join([contender.name, *chosen])
            costs[label] = part_costs(contender, *shape), 'bfloat16' in chosen
            contender.prepare('channels-last' in chosen, train)
            if 'compile' in chosen:
                contender.compile()
            inputs = images
            if 'channels-last' in chosen:
                inputs = images.contiguous(memory_format=torch.channels_last)
            labels = torch.randint(contender.classes, (batch, *shape), device=default_device())
            half = 'bfloat16' in chosen
            actions[label] = (
                timing.training_step(contender, inputs, labels, half)
                if train
                else timing.inference(contender, inputs, half)
            )
    limits = timing.limits(any('bfloat16' in chosen for chosen in options))
    measured = {name: limit.action for name, limit in limits.items()}
    times = timing.interleave({**measured, **actions}, rounds)
    reached = {name: limit.amount / min(times[name]['whole']) for name, limit in limits.items()}
    best = {
        unit: max(reached[name] for name, limit in limits.items() if limit.unit == unit)
        for unit in {limit.unit for limit in limits.values()}
    }
    rows = []
    first = None
    for label, action in actions.items():
        cost, half = costs[label]
        found = times[label]
        first = first or found['whole']
        # Backward needs the products twice more: for the maps and for the weights.
        operations = 2 * cost['total'].multiply_adds * batch * (3 if train else 1)
        limit = best['bfloat16' if half else 'float32']
        rows.append(
            dict(
                model=label,
                cost=cost,
                times=found,
                ratio=statistics.median(a / b for a, b in zip(found['whole'], first, strict=True)),
                share=operations / statistics.median(found['whole']) / limit,
                memory=timing.memory_of(action),
            )
        )
    return rows, reached


def part_costs(contender: Contender, height: int, width: int) -> dict[str, Cost]:
    """Count backbone, head and both of them for one image."""
    parts = dict(backbone=contender.backbone, head=contender.head)
    costs = count_parts(parts, height, width)
    return {**costs, 'total': Cost(*map(sum, zip(*costs.values(), strict=True)))}


def contender_table(rows: list[dict]) -> str:
    """Write rows as a Markdown table."""
    parts = 'head' in rows[0]['times']
    heads = [
        'model',
        'G multiply-adds',
        'M parameters',
        'ms',
        'to the first',
        'of the limit',
        'MB',
    ]
    if parts:
        heads += ['head G', 'head M', 'head ms', 'backbone ms', 'head / backbone']
    lines = [heads, ['---'] * len(heads)]
    for row in rows:
        total, head, times = row['cost']['total'], row['cost']['head'], row['times']
        memory = '' if row['memory'] is None else f'{row["memory"] / 1e6:.0f}'
        line = [
            row['model'],
            f'{total.multiply_adds / 1e9:.2f}',
            f'{total.parameters / 1e6:.2f}',
            timing.write_spread(times['whole']),
            f'{row["ratio"]:.2f}',
            f'{row["share"]:.0%}',
            memory,
        ]
        if parts:
            ratio = statistics.median(times['head']) / statistics.median(times['backbone'])
            line += [
                f'{head.multiply_adds / 1e9:.2f}',
                f'{head.parameters / 1e6:.2f}',
                timing.write_spread(times['head']),
                timing.write_spread(times['backbone']),
                f'{ratio:.2f}',
            ]
        lines.append(line)
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def describe_limits(reached: dict[str, float]) -> str:
    """Write what the machine reached as a sentence, the rates by kernel."""
    return ', '.join(
        f'{name} {rate / 1e9:.1f} {"GB/s" if name == "copy" else "GFLOP/s"}'
        for name, rate in reached.items()
    )
