"""Vectors of clips against PyTorch's own LSTMs, read clip by clip."""

import torch
from torch import Tensor, nn

from sedimental.train.layers.lstm import LSTM
from sedimental.train.models.shared.interface import InputShape
from sedimental.train.models.shared.utterance import EndState, EndStates, Tokens

WIDTH = 7


def clips(layers: int | None = None) -> tuple[Tensor, Tensor]:
    """Loud padding, a gap within a clip, a clip of one frame, and one without any."""
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(6) < torch.tensor([6, 4, 1, 0]).unsqueeze(1)
    mask[0, 2] = False
    mask[1, 0] = False
    shape = (4, 6, WIDTH) if layers is None else (4, layers, 6, WIDTH)
    x = torch.randn(shape, generator=generator)
    real = mask.unsqueeze(-1) if layers is None else mask[:, None, :, None]
    return torch.where(real, x, 1e4), mask


def test_first_and_mean_token() -> None:
    x, mask = clips()
    first, mean = (Tokens(InputShape(WIDTH), pick)(x, mask) for pick in ("first", "mean"))
    for k in range(3):
        real = x[k, mask[k]]
        torch.testing.assert_close(first[k], real[0])
        torch.testing.assert_close(mean[k], real.mean(dim=0))
    assert not first[3].any()
    assert not mean[3].any()


def test_layers_of_tokens_are_mixed() -> None:
    x, mask = clips(layers=3)
    tokens = Tokens(InputShape(WIDTH, 3), "mean")
    assert tokens.mix is not None
    nn.init.normal_(tokens.mix.logits, generator=torch.Generator().manual_seed(2))
    mixed = torch.einsum("l,blfw->bfw", tokens.mix.weights, x)
    wanted = Tokens(InputShape(WIDTH), "mean")(mixed, mask)
    torch.testing.assert_close(tokens(x, mask), wanted, rtol=1e-5, atol=1e-6)


def test_end_state_is_that_of_the_last_real_frame() -> None:
    x, mask = clips()
    end = EndState(InputShape(WIDTH), 5)
    plain = nn.LSTM(WIDTH, 5, batch_first=True)
    plain.load_state_dict(end.lstm.state_dict())
    found = end(x, mask)
    for k in range(3):
        _, (state, _) = plain(x[k : k + 1, mask[k]])
        torch.testing.assert_close(found[k : k + 1], state[0], rtol=1e-5, atol=1e-6)
    assert not found[3].any()


def two_way(pair: nn.ModuleList, inputs: int, hidden: int) -> nn.LSTM:
    """PyTorch's own with the weights of a pair."""
    made = nn.LSTM(inputs, hidden, batch_first=True, bidirectional=True)
    ahead, back = pair
    assert isinstance(ahead, LSTM)
    assert isinstance(back, LSTM)
    turned = {f"{name}_reverse": value for name, value in back.state_dict().items()}
    made.load_state_dict({**ahead.state_dict(), **turned})
    return made


def test_end_states_are_those_of_two_way_lstms() -> None:
    x, mask = clips()
    ends = EndStates(InputShape(WIDTH), 5)
    nn.init.normal_(ends.norm.weight, generator=torch.Generator().manual_seed(3))
    first, second = two_way(ends.first, WIDTH, 5), two_way(ends.second, 10, 5)
    found = ends(x, mask)
    assert found.shape == (4, ends.out)
    for k in range(3):
        states, (one, _) = first(x[k : k + 1, mask[k]])
        _, (other, _) = second(ends.norm(states))
        wanted = torch.cat([one[0, 0], one[1, 0], other[0, 0], other[1, 0]])
        torch.testing.assert_close(found[k], wanted, rtol=1e-5, atol=1e-6)
    assert not found[3].any()
