"""What the driver answers to an attempt that reports, or asks for a parameter."""

from __future__ import annotations

from collections.abc import Sequence

from ..trial.protocol import Report, Suggest
from .campaign_study import CampaignStudy
from .events import Reply
from .flight import Flight
from .promotion import PromotionController


def answer(
    study: CampaignStudy, promoting: PromotionController | None, flight: Flight | None, request: Report | Suggest
) -> Reply | None:
    """The answer to a request of ``flight``, None where its token is nobody's any more: that attempt is to end.

    A request that came before gets the answer that it got, since that was lost; an older one gets none.
    """
    if flight is None:
        return Reply(request.token, request.request, stop="kill")
    last = flight.last_reply
    if last is None or request.request > last.request:
        if isinstance(request, Suggest):
            last = _suggested(study, flight, request)
        else:
            last = _verdict(study, promoting, flight, request)
        flight.last_reply = last
    return last if last.request == request.request else None


def _verdict(study: CampaignStudy, promoting: PromotionController | None, flight: Flight, request: Report) -> Reply:
    _keep(study, promoting, flight, request.reports)
    if flight.rung is not None:
        return Reply(request.token, request.request, stop="prune")
    yields = flight.stopping or flight.pause is not None
    return Reply(request.token, request.request, stop="yield" if yields else "")


def _keep(
    study: CampaignStudy, promoting: PromotionController | None, flight: Flight, reports: Sequence[Sequence[float]]
) -> None:
    """Each is judged by itself, as if it had come alone: a pruner takes the value of the first at a rung for the
    rung's. The first verdict stands; what was reported behind it is kept."""
    for report in reports:
        for step, value in study.keep(flight.trial, [report]).items():
            flight.last_step = step
            flight.new_steps += 1
            if flight.rung is None and study.prunes(flight.trial):
                flight.rung = step
            if promoting:
                promoting.reported(flight, step, value)


def _suggested(study: CampaignStudy, flight: Flight, request: Suggest) -> Reply:
    try:
        value = flight.params[request.name] = study.suggest(flight.trial, request.name, request.distribution)
    except Exception as error:  # whatever Optuna or a sampler raises at it is this trial's failure alone
        return Reply(request.token, request.request, suggested=True, error=str(error) or repr(error))
    return Reply(request.token, request.request, suggested=True, value=value)
