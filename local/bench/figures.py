"""What is measured: figures, in sections, as a terminal and BENCHMARKS.md show them."""

from dataclasses import dataclass

from rich.table import Table as Grid


@dataclass(frozen=True)
class Figure:
    """One number, as shown, and what it may be at most or must be."""

    name: str
    shown: str
    value: float = 0.0
    at_most: float | None = None

    @property
    def met(self) -> bool:
        return self.at_most is None or self.value <= self.at_most

    @property
    def target(self) -> str:
        return "" if self.at_most is None else f"≤ {self.at_most:g}"


@dataclass(frozen=True)
class Section:
    """Figures that belong together."""

    title: str
    figures: tuple[Figure, ...]

    def __rich__(self) -> Grid:
        grid = Grid(title=self.title, title_justify="left", min_width=80)
        grid.add_column("", ratio=5)
        grid.add_column("measured", justify="right", ratio=3)
        grid.add_column("target", justify="right", ratio=1)
        for figure in self.figures:
            style = None if figure.met else "red"
            grid.add_row(figure.name, figure.shown, figure.target, style=style)
        return grid

    def markdown(self) -> str:
        rows = [("", "measured", "target"), ("---", "---:", "---:")]
        rows += [(figure.name, figure.shown, figure.target) for figure in self.figures]
        return f"### {self.title}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)
