"""`python -m benchmarks.distributed`: what W processes exchange and hold, and what they should gain, from sizes alone.

The table of docs/distributed.md. It is arithmetic, not a measurement: bytes follow from what is exchanged and held, and
times from bytes by the rates below.
"""

from __future__ import annotations

from dataclasses import dataclass

PROCESSES = (1, 2, 4, 8, 16, 32, 64)
MEMORY_RATE = 2.0e12  # bytes a second that kernels reach on an H100, of 3.35e12
SECTOR = 32  # bytes that a GPU's memory reads at least
LINKS = {"NVLink": (3.5e11, 2e-5), "200 Gbit/s": (2.0e10, 5e-5)}  # bytes a second each way, seconds a collective
COLLECTIVES = 3  # a step: rows, their gradients, dense gradients


@dataclass(frozen=True)
class Sizes:
    """Of a data set and of ANS over LightGCN: batches of `batch` clicks with `negatives` each, `layers` hops beyond the
    embedding, `dim` values a vector."""

    nodes: int
    clicks: int
    dim: int = 64
    layers: int = 3
    batch: int = 16384
    negatives: int = 2

    @property
    def rows(self) -> int:
        """Distinct nodes that a batch looks at, at most."""
        return min(self.nodes, self.batch * (2 + self.negatives))

    @property
    def row_bytes(self) -> int:
        """Of a node's hops."""
        return 4 * self.dim * (self.layers + 1)

    @property
    def dense_bytes(self) -> int:
        """Of both gates and the margin's layer."""
        return 4 * (2 * self.dim * (self.dim + 1) + self.dim + 1)


SIZES = {
    "1 M nodes, 50 M clicks": Sizes(10**6, 5 * 10**7),
    "100 M nodes, 1 G clicks": Sizes(10**8, 10**9),
    "100 M nodes, 10 G clicks": Sizes(10**8, 10**10),
}


def exchanged(s: Sizes, n: int) -> float:
    """Bytes that each of n processes sends in a step: rows for the others' shares and gradients of its own share's, and
    the dense gradients, once around a ring each way."""
    others = (n - 1) / n
    return 2 * others * (s.rows / n * s.row_bytes + s.dense_bytes)


def graph_bytes(s: Sizes) -> float:
    """Of what each process holds alike: the graph both ways, and train's rows in the file's and the epoch's order."""
    return (2 * 4 + 2 * 16) * s.clicks + 28 * s.nodes


def table_bytes(s: Sizes, n: int) -> float:
    """Of what is divided: weights, their best, gradients, two moments of Adam, and the hops."""
    return 4 * s.nodes * s.dim / n * (5 + s.layers + 1)


def seconds(s: Sizes, n: int, link: str) -> float:
    """A step. Propagation reads each neighbour's number, factor and columns, of which the last alone are divided, and
    no less than a sector."""
    columns = 4 * s.dim / n
    propagation = 2 * s.layers * 2 * s.clicks * (8 + max(SECTOR, columns))
    adam = 7 * s.nodes * columns
    loss = 6 * s.rows / n * s.row_bytes
    rate, latency = LINKS[link]
    exchange = exchanged(s, n) / rate + COLLECTIVES * latency if n > 1 else 0.0
    return (propagation + adam + loss) / MEMORY_RATE + exchange


def table(s: Sizes) -> list[str]:
    """Lines of Markdown."""
    lines = [
        "| processes | sent a step | graph and rows | tables | "
        + " | ".join(f"speed-up, {link}" for link in LINKS)
        + " |",
        "|---:" * (4 + len(LINKS)) + "|",
    ]
    for n in PROCESSES:
        gains = [f"{seconds(s, 1, link) / seconds(s, n, link):.1f}" for link in LINKS]
        memory = [f"{size / 2**30:,.1f} GiB" for size in (graph_bytes(s), table_bytes(s, n))]
        lines.append(f"| {n} | {exchanged(s, n) / 2**20:.1f} MiB | {' | '.join([*memory, *gains])} |")
    return lines


def report() -> str:
    """The tables of all SIZES."""
    parts = [
        [f"**{name}**, a step of one process {1e3 * seconds(s, 1, 'NVLink'):,.0f} ms", "", *table(s)]
        for name, s in SIZES.items()
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


if __name__ == "__main__":
    print(report(), end="")
