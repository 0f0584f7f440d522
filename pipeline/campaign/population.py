"""Population-based training: members pause, and go on in their turn, themselves or as copies of better ones."""

from __future__ import annotations

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from ..attributes import LEARNED, OWNER, PARENT, SNAPSHOT, STEP
from ..fidelity import Origin, Population, PopulationPlan, Promotions, RungSchedule
from .campaign_study import CampaignStudy
from .flight import Flight
from .promotion import PromotionController
from .services import CampaignServices


def pausing_controller(
    study: CampaignStudy, pausing: RungSchedule | PopulationPlan, services: CampaignServices
) -> PromotionController:
    """What decides which trials pause, and which go on."""
    name, maximize = study.study.study_name, study.study.directions[0] == StudyDirection.MAXIMIZE
    if isinstance(pausing, PopulationPlan):
        return PopulationController(study, Population(pausing, name, maximize=maximize), services)
    return PromotionController(study, Promotions(pausing, name, maximize=maximize))


class PopulationController(PromotionController):
    """Pauses this campaign's members, and says for each that is to go on whether another is copied in its place.

    Values, and which checkpoints may be copied, are those of all trials of the study, whoever runs them. Each campaign
    replaces only the members that are paused in its own hands.

    Args:
        study: The campaign's study, with one objective.
        members: The members.
        services: Copies checkpoints.
    """

    new_first = True

    def __init__(self, study: CampaignStudy, members: Population, services: CampaignServices):
        self._members, self._services = members, services
        super().__init__(study, members)

    def _learn(self, trial: FrozenTrial) -> None:
        if LEARNED in trial.user_attrs:
            return
        attrs = trial.system_attrs
        if STEP in attrs:
            self._members.start(trial.number, attrs[STEP])
        super()._learn(trial)
        if SNAPSHOT not in attrs:
            return
        step, folder = attrs[SNAPSHOT]
        if not trial.state.is_finished():
            self._members.keep(trial.number, Origin(trial.number, step, folder))
        elif self._members.drop(trial.number) and attrs.get(OWNER) == self._study.campaign:
            self._services.forget_snapshot(folder)

    def adopt(self, flight: Flight) -> None:
        """Learn the reports of a trial that was taken over from a dead campaign, and what it started from."""
        attrs = self._study.storage.get_trial(flight.trial_id).system_attrs
        if STEP in attrs:
            self._members.start(flight.number, attrs[STEP])
            flight.origin = self._origin_of(attrs[PARENT], attrs[STEP])
        super().adopt(flight)

    def _origin_of(self, parent: int, step: int) -> Origin:
        """The checkpoint that a trial started from. Its folder is empty where the parent has none any more."""
        trial = self._study.storage.get_trial(self._study.trial_id(parent))
        _, folder = trial.system_attrs.get(SNAPSHOT, (0, ""))
        return Origin(parent, step, folder)

    def on_report(self, flight: Flight, step: int, value: float) -> None:
        """A member has reported: it pauses whenever it has trained for another interval."""
        if flight.origin is not None:
            self._members.start(flight.number, flight.origin.step)
        super().on_report(flight, step, value)

    def park(self, flight: Flight) -> bool:
        """Keep a member whose attempt has ended at a pause, and a copy of its checkpoint; returns whether it is one."""
        if not super().park(flight):
            return False
        step = max(self._reports(flight))
        folder = self._services.snapshot(flight, step)
        if folder:
            self._members.keep(flight.number, Origin(flight.number, step, folder))
            self._study.attributes.annotate(flight.trial, {}, {SNAPSHOT: [step, folder]})
        else:
            self.refusal = (
                f"trial {flight.number} paused at step {flight.pause} without a checkpoint, and population-based "
                "training goes on from checkpoints: save into trial.checkpoint_dir before trial.report"
            )
        return True

    def origin_for(self, flight: Flight) -> Origin | None:
        """The checkpoint from which another trial goes on in the member's place; None: it goes on itself."""
        return self._members.origin_for(flight.number)

    def origin_for_new(self) -> Origin | None:
        """The checkpoint from which a new member starts; None for one of the first, which start from nothing."""
        return self._members.origin_for_new() if self._study.asked >= self._members.plan.size else None
