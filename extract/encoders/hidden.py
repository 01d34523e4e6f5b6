"""Every layer's hidden states of a transformers model, under names that no version changes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .presets.families import Family

Reduce = Callable[[Tensor], Tensor]


def has_final(config: Any, family: Family) -> bool:
    """Whether a norm follows the last block.

    Speech models own one either way; it comes last only in the "stable" pre-norm variant, and
    before the first block otherwise.
    """
    return family.final is not None and getattr(config, "do_stable_layer_norm", True)


def blocks_of(model: nn.Module, family: Family) -> nn.ModuleList:
    """The model's list of blocks, wherever this version of the library keeps it."""
    for path in family.blocks:
        try:
            blocks = model.get_submodule(path)
        except AttributeError:
            continue
        if isinstance(blocks, nn.ModuleList):
            return blocks
    raise LookupError(f"{type(model).__name__} has no list of blocks at {family.blocks}")


def layer_names(blocks: int, has_final: bool) -> tuple[str, ...]:
    """Names of all entries of an encoder.

    >>> layer_names(2, True)
    ('0', '1', '2', 'final')
    """
    return (*(str(n) for n in range(blocks + 1)), *(("final",) if has_final else ()))


def highest_block(names: Sequence[str], blocks: int) -> int:
    """Number of the highest block that the entries `names` need.

    >>> highest_block(["3", "2"], 12), highest_block(["final"], 12)
    (3, 12)
    """
    return blocks if "final" in names else max(1, *(int(name) for name in names))


@contextmanager
def capture_hidden_states(
    model: nn.Module, family: Family, names: Sequence[str], reduce: Reduce
) -> Iterator[Mapping[str, Tensor]]:
    """Collect the entries `names` while a forward pass runs inside the block.

    "0" is what enters block 1, "n" what leaves block n, "final" the last block's output after the
    encoder's own norm; the library's `hidden_states` differ between its versions in just that. Each
    entry is passed through `reduce` (batch, frames, width) at once, so that what is not kept is
    freed while the pass goes on.
    """
    blocks = blocks_of(model, family)
    norm = model.get_submodule(str(family.final)) if has_final(model.config, family) else None
    states: dict[str, Tensor] = {}

    def enters(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states["0"] = reduce(args[0] if args else kwargs["hidden_states"])

    def leaves(number: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            if str(number) in names:
                states[str(number)] = reduce(hidden)
            if number == len(blocks) and norm is not None and "final" in names:
                states["final"] = reduce(norm(hidden))

        return hook

    handles = [blk.register_forward_hook(leaves(n)) for n, blk in enumerate(blocks, start=1)]
    if "0" in names:
        handles.append(blocks[0].register_forward_pre_hook(enters, with_kwargs=True))
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


def stacked(states: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """The entries in the order of `names`: (layers, batch, frames, width)."""
    return torch.stack([states[name] for name in names])
