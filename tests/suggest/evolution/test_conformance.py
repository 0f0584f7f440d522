"""Optuna's conformance suite for samplers of one direction."""

import pytest
from optuna.testing.pytest_samplers import BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase

from pilotune.pipeline.suggest.evolution import AgeingSampler, DHPOSampler, EvolutionSampler, GeneticSampler

MADE = {
    "evolution": lambda: EvolutionSampler(population=2),
    "generations": lambda: EvolutionSampler(population=2, offspring=3, crossover=0.5, repeats=False, barrier=True),
    "ageing": lambda: AgeingSampler(population=2),
    "genetic": lambda: GeneticSampler(population=4, barrier=True),
    "dhpo": lambda: DHPOSampler(population=2),
}
PRESETS = ("ageing", "genetic", "dhpo")


@pytest.mark.slow
class TestConformance(RelativeSamplerTestCase, BasicSamplerTestCase, SingleOnlySamplerTestCase):
    # The presets are settings of one engine.
    @pytest.fixture(
        params=[pytest.param(name, marks=pytest.mark.exhaustive if name in PRESETS else ()) for name in MADE]
    )
    def sampler(self, request):
        return MADE[request.param]
