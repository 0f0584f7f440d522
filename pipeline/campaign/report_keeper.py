"""Keeps what attempts report, however it reaches the driver: as messages, in outcomes, or in report logs on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..attributes import HEARD, VERDICT
from .campaign_study import CampaignStudy
from .flight import Flight
from .promotion import PromotionController
from .services import CampaignServices


class ReportKeeper:
    """Stages the reports of a trial and judges each of them as if it had come alone, in its order and once.

    So rungs, verdicts and promotions do not depend on how a report came, and whether a driver died in between.

    The reports of a trial are those of its first repetition, and so are verdicts and rungs. Those of later repetitions
    only show that it makes progress.

    Args:
        study: Reports are staged in it.
        promotion: Decides who pauses at rungs; None where no trial pauses.
        services: Reads report logs.
    """

    def __init__(self, study: CampaignStudy, promotion: PromotionController | None, services: CampaignServices) -> None:
        self._study, self._promotion, self._services = study, promotion, services

    def keep(self, flight: Flight, reports: Sequence[Sequence[float]]) -> None:
        """Stage the reports ``[step, value]`` whose steps are new.

        One by one, because a pruner takes the first value at a rung as the rung's value. The first verdict to prune
        stands, for the trial's later attempts, too; reports after it are kept all the same.
        """
        if flight.repeat:
            self._pass_over(flight, reports)
            return
        if self._promotion is None and not self._study.can_prune:
            self._note(flight, self._study.keep(flight.trial, reports))
            return
        known = self._study.reported(flight.trial)
        for report in [each for each in reports if each[0] not in known]:
            new = self._study.keep(flight.trial, [report])
            self._note(flight, new)
            for step, value in new.items():
                if flight.rung is None and self._study.prunes(flight.trial):
                    flight.rung = step
                    self._study.attributes.annotate(flight.trial, {}, {VERDICT: step})
                if self._promotion:
                    self._promotion.on_report(flight, step, value)

    def _pass_over(self, flight: Flight, reports: Sequence[Sequence[float]]) -> None:
        new = {int(step): float(value) for step, value in reports if step > flight.furthest}
        self._note(flight, new)
        flight.furthest = max(new, default=flight.furthest)

    def _note(self, flight: Flight, new: Mapping[int, float]) -> None:
        """New steps of the trial are kept, step -> value in their order."""
        if new:
            flight.last_step, flight.last_value = list(new.items())[-1]
            flight.new_steps += len(new)

    def hear(self, flight: Flight) -> None:
        """Keep what is in the trial's report log. For where no next attempt, or none for long, will tell it."""
        log = self._services.report_log(flight)
        if log is not None:
            self.keep(flight, log.pairs)
            flight.notes[HEARD] = [log.attempt, log.size]
