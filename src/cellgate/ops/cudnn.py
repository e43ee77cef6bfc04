"""Backend `cudnn`: torch's recurrences over packed rows, on a GPU. Legend of axes: see `cellgate.ops`.

`run` holds nothing of CUDA's, so it is tested on CPU tensors too.
"""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from cellgate.ops.lengths import kept, past_end, turned
from cellgate.ops.torch_rnn import FUNCTIONS, over_packed, over_padded, parameters
from cellgate.ops.values import Cell, Inputs, State, Weights, dense

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def refuses(cell: Cell, x: Inputs, weights: Weights) -> str | None:  # noqa: ARG001
    """Refuse what is not on a GPU with cuDNN."""
    if cell not in FUNCTIONS:
        return "torch has no LSTM with peepholes"
    if x.device.type != "cuda":
        return f"it runs on a GPU, x is on {x.device}"
    if not torch.backends.cudnn.is_available():  # type: ignore[no-untyped-call]
        return "this torch comes without cuDNN"
    if x.dtype not in DTYPES:
        return f"cuDNN knows no {str(x.dtype).removeprefix('torch.')}"
    if 0 in x.shape:
        return f"cuDNN needs a token, x is empty: {list(x.shape)}"
    return None


def run(
    cell: Cell, x: Inputs, weights: Weights, state: State, lengths: Tensor | None, reverse: bool
) -> tuple[Tensor, State]:
    """Run `cell` over x [B, T, I] -> y [B, T, H] and the last state."""
    x = dense(x)
    flat = _in_one_piece(parameters(weights))
    if lengths is None:
        y, after = over_padded(cell, turned(x, None) if reverse else x, flat, state)
        return (turned(y, None) if reverse else y), after
    past = past_end(lengths, x.shape[1])[:, :, None]
    x = x.masked_fill(past, 0)
    if reverse:
        x = turned(x, lengths)
    # Packing knows no empty row: such a row runs one token of zeros, and the answer is thrown away below.
    tokens = lengths.clamp(min=1).cpu()
    packed = pack_padded_sequence(x, tokens, batch_first=True, enforce_sorted=False)
    order, back = packed.sorted_indices, packed.unsorted_indices
    data, after = over_packed(cell, packed.data, packed.batch_sizes, flat, _rows(state, order))
    y, _ = pad_packed_sequence(packed._replace(data=data), batch_first=True, total_length=x.shape[1])
    y = y.masked_fill(past, 0)
    after = kept((lengths == 0)[:, None], state, _rows(after, back))
    return (turned(y, lengths) if reverse else y), after


def _rows(state: State, index: Tensor | None) -> State:
    """Take the state's rows in the order of index [B]; None leaves them."""
    if index is None:
        return state
    h, c = state
    return State(h.index_select(0, index), None if c is None else c.index_select(0, index))


def _in_one_piece(tensors: list[Tensor]) -> list[Tensor]:
    """Copy the weights into one buffer: cuDNN warns of scattered ones, and copies them itself."""
    buffer = torch.cat([tensor.reshape(-1) for tensor in tensors])
    pieces = buffer.split_with_sizes([tensor.numel() for tensor in tensors])
    return [piece.view_as(tensor) for piece, tensor in zip(pieces, tensors, strict=True)]
