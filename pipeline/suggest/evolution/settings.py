"""What an evolutionary algorithm is told: sizes, probabilities, and who survives."""

from __future__ import annotations

from dataclasses import dataclass

ONE = "one"
"""The value of ``mutate`` for children that differ from their parent in exactly one parameter."""


@dataclass(frozen=True)
class Settings:
    """The settings of one algorithm. What each means is said of :class:`EvolutionSampler`.

    Raises:
        ValueError: They contradict each other.

    Example:
        >>> Settings(population=20, sample=5).generation_size(0)
        20
    """

    population: int
    sample: int
    offspring: int | None = None
    mutate: float | str = ONE
    mutate_child: float = 1.0
    step: float | None = None
    ordered: bool = False
    crossover: float = 0.0
    elitist: bool = False
    barrier: bool = False
    repeats: bool = True

    def __post_init__(self) -> None:
        for name, least in (("population", 2), ("sample", 1), ("offspring", 1)):
            size = getattr(self, name)
            if size is not None and size < least:
                raise ValueError(f"{name} must be at least {least}, but is {size}")
        for name in ("mutate", "mutate_child", "crossover"):
            chance = getattr(self, name)
            if not isinstance(chance, str) and not 0 <= chance <= 1:
                raise ValueError(f"{name} must be from 0 to 1, but is {chance}")
        if self.step is not None and not self.step > 0:
            raise ValueError(f"step must be above 0, but is {self.step}")
        if isinstance(self.mutate, str) and self.mutate != ONE:
            raise ValueError(f"mutate must be a probability from 0 to 1, or the word {ONE}, but is {self.mutate!r}")
        if self.sample > self.population:
            raise ValueError(f"sample must be at most the population, which is {self.population}, but is {self.sample}")
        if self.offspring is not None and not self.barrier:
            raise ValueError("offspring counts the children of a generation, so it needs barrier: true")
        if self.offspring is not None and not self.elitist and self.offspring < self.population:
            raise ValueError(
                f"offspring must be at least the population, which is {self.population}, but is {self.offspring}: "
                "they replace it, unless elitist is true"
            )
        if self.mutate == 0 and not self.crossover:
            raise ValueError("mutate and crossover are both 0, so that no child would differ from its parent")

    def generation_size(self, generation: int) -> int:
        """The number of individuals of a generation; generation 0 is the one at random."""
        return self.population if generation == 0 or self.offspring is None else self.offspring
