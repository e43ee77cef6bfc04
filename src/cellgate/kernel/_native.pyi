# Addresses are those of float32 (or, where said, int64) memory; 0 is none. The meaning of each: cpp/recurrence.hpp.

class Layout:
    """Rows of a batch and their lengths, copied; `lengths` is an int64 address, 0: every row has all steps."""

    tokens: int
    full: bool
    def __init__(self, rows: int, steps: int, lengths: int) -> None: ...

def address(array: object, /) -> int: ...
def widths() -> list[str]: ...

ROUNDING: int

def rounding_widths() -> list[str]: ...
def own_products() -> bool: ...
def forward(
    layout: Layout,
    cell: int,
    hidden: int,
    reverse: bool,
    threads: int,
    width: int,
    gates: int,
    index: int,
    w_h: int,
    b_h: int,
    p: int,
    h_0: int,
    c_0: int,
    y: int,
    h_n: int,
    c_n: int,
    kept: int,
    cells: int,
    before: int,
    before_stride: int,
    /,
) -> None: ...
def backward(
    layout: Layout,
    cell: int,
    hidden: int,
    reverse: bool,
    threads: int,
    width: int,
    kept: int,
    cells: int,
    before: int,
    before_stride: int,
    w_h: int,
    p: int,
    c_0: int,
    d_y: int,
    d_h_n: int,
    d_c_n: int,
    d_gates: int,
    d_h_0: int,
    d_c_0: int,
    d_p: int,
    /,
) -> None: ...
def project(
    width: int,
    threads: int,
    x: int,
    tokens: int,
    stride: int,
    w_x: int,
    b: int,
    depth: int,
    rows: int,
    out: int,
    /,
) -> None: ...
def multiply(
    width: int,
    threads: int,
    rows: int,
    depth: int,
    columns: int,
    left: int,
    left_row: int,
    left_depth: int,
    right: int,
    right_depth: int,
    right_column: int,
    bias: int,
    out: int,
    /,
) -> None: ...
def gather(
    layout: Layout,
    depth: int,
    row_stride: int,
    step_stride: int,
    stride: int,
    padded: int,
    tokens: int,
    threads: int,
    /,
) -> None: ...
def scatter(
    layout: Layout,
    depth: int,
    row_stride: int,
    step_stride: int,
    stride: int,
    tokens: int,
    padded: int,
    threads: int,
    /,
) -> None: ...
def sum_by_index(
    layout: Layout, index: int, tokens: int, stride: int, depth: int, sums: int, threads: int, /
) -> None: ...
