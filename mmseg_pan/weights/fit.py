"""Check that a checkpoint fits a network: tests and exports need every key."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from mmseg_pan.errors import UserError

#: What only training uses: auxiliary heads, buffers of losses, and batch norms' counters.
_TRAINING_ONLY = re.compile(r'(^|\.)(auxiliary_head|loss_decode)\.|\.num_batches_tracked$')

#: Longest error message, in characters.
_MOST = 300


def load_fitting(model: nn.Module, state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Load all weights of a network for inference.

    Auxiliary heads may be missing or left over: they are for training alone. Prefixes of
    DataParallel, ``torch.compile`` and other wrappers are taken off.

    Args:
        model: The network; its weights are replaced.
        state: Weights by name.
        source: What to call the checkpoint in an error.

    Returns:
        The weights under the names of the network, all of them.

    Raises:
        UserError: If keys are missing, unexpected or of another shape.
    """
    own = model.state_dict()
    state = without_prefixes(state, own)
    for key in [key for key in {**own, **state} if _TRAINING_ONLY.search(key)]:
        if key not in own:
            del state[key]
        elif key not in state or _shape(state[key]) != _shape(own[key]):
            state[key] = own[key]
    other_shape = [
        f'{key}: {_shape(state[key])}, expected {_shape(own[key])}'
        for key in own
        if key in state and _shape(state[key]) != _shape(own[key])
    ]
    # Modules that changed the names of their weights know the old ones when they load.
    fitting = {k: v for k, v in state.items() if k not in own or _shape(v) == _shape(own[k])}
    missing, unexpected = model.load_state_dict(fitting, strict=False)
    missing = [key for key in missing if key not in state]
    if other_shape or missing or unexpected:
        raise UserError(_misfit(source, other_shape, missing, unexpected))
    return state


def without_prefixes(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take off what wrappers put before, or into, the names of a network's weights.

    Args:
        state: Weights by name.
        own: The network's own weights by name.

    Returns:
        The weights of the network. If all its names stand behind one prefix, such as
        'module.' or Lightning's 'model.', what has another one is not the network's.
    """
    state = {key.replace('_orig_mod.', ''): value for key, value in state.items()}
    wanted = [key for key in own if not _TRAINING_ONLY.search(key)]
    if not wanted or wanted[0] in state:
        return state
    ends = [key.removesuffix(wanted[0]) for key in state if key.endswith(f'.{wanted[0]}')]
    prefixes = [prefix for prefix in ends if all(prefix + key in state for key in wanted)]
    if len(prefixes) != 1:
        return {key.removeprefix('module.'): value for key, value in state.items()}
    start = prefixes[0]
    return {key.removeprefix(start): state[key] for key in state if key.startswith(start)}


def _shape(value) -> list[int] | None:
    return list(value.shape) if isinstance(value, Tensor) else None


def _misfit(source: str, other_shape: list, missing: list, unexpected: list) -> str:
    """An error message with as many of the first keys as fit, three at most."""
    kinds = {'of another shape': other_shape, 'missing': missing, 'unexpected': unexpected}
    kinds = {kind: keys for kind, keys in kinds.items() if keys}
    # Fewer and fewer keys of each kind, and at last one of the first kind alone.
    for numbers in ((3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 0, 0)):
        parts = []
        for (kind, keys), most in zip(kinds.items(), numbers, strict=False):
            more = ', ...' if len(keys) > most else ''
            shown = f' ({", ".join(keys[:most])}{more})' if most else ''
            parts.append(f'{len(keys)} keys {kind}{shown}')
        text = (
            f'The checkpoint {source} does not fit the config: {"; ".join(parts)}; give the config '
            'that it was trained with.'
        )
        if len(text) <= _MOST:
            break
    return text


def check_class_names(found, expected, source: str) -> None:
    """Refuse a network whose classes are not those of the data set.

    Other names for the same number of classes are allowed, another order of the same names
    is not.

    Args:
        found: Class names of the network; None: not known.
        expected: Those of the data set.
        source: What to call the network in an error.

    Raises:
        UserError: If their number or their order differs.
    """
    if not found:
        return
    found, expected = list(found), list(expected)
    advice = 'give the config that it was trained with.'
    if len(found) != len(expected):
        raise UserError(
            f'{source} has {len(found)} classes, and the data set {len(expected)}; {advice}'
        )
    if found != expected and sorted(found) == sorted(expected):
        index = next(i for i, name in enumerate(found) if name != expected[i])
        raise UserError(
            f'{source} has the classes of the data set in another order ({found[index]!r} has the '
            f'id {index}, where the data set has {expected[index]!r}); {advice}'
        )
