"""Answers attempts that report a value, ask for a parameter, or ask about their study."""

from __future__ import annotations

import logging

from ...errors import PilotuneError, words_of
from ..trial.protocol import Query, Report, Suggest, Suggested, Verdict, refused
from ..user_code.parts import FAILURES, said
from .campaign_study import CampaignStudy
from .events import Request
from .flight import Flight
from .report_keeper import ReportKeeper
from .study_queries import answer_query

log = logging.getLogger(__name__)


def answer(
    study: CampaignStudy, reports: ReportKeeper, flight: Flight | None, request: Request
) -> Verdict | Suggested | None:
    """The message that answers ``request``; None where it needs no answer.

    Args:
        study: The campaign's study; parameters are staged in it.
        reports: Keeps the reports.
        flight: Whose request it is; None where its token is fenced, which is answered with `kill`.
        request: What the worker sent. The newest request may come again, when its answer was lost: it gets the same
            answer, and nothing is kept twice. An older one gets none, since nobody waits for it.
    """
    if flight is None:
        return Verdict(request.token, request.request, stop="kill")
    last = flight.last_reply
    if last is None or request.request > last.request:
        try:
            if isinstance(request, Suggest):
                last = _suggested(study, flight, request)
            elif isinstance(request, Query):
                last = _answered(study, request)
            else:
                last = _verdict(reports, flight, request)
        except PilotuneError:
            raise
        except FAILURES as error:  # of a third-party pruner, for example: the failure of this trial only
            log.exception("trial %d: a request could not be handled", flight.number)
            last = refused(request, error)
            assert last is not None
        flight.last_reply = last
    return last if last.request == request.request else None


def _verdict(reports: ReportKeeper, flight: Flight, request: Report) -> Verdict:
    reports.keep(flight, request.reports)
    if flight.rung is not None and not flight.repeat:
        return Verdict(request.token, request.request, stop="prune")
    yields = flight.yield_asked or flight.moving or flight.pause is not None
    return Verdict(request.token, request.request, stop="yield" if yields else "")


def _suggested(study: CampaignStudy, flight: Flight, request: Suggest) -> Suggested:
    try:
        value = flight.params[request.name] = study.suggest(flight.trial, request.name, request.distribution)
    except PilotuneError:
        raise
    except FAILURES as error:  # of Optuna, which refuses the range, or of a sampler
        why = (words_of(error) if isinstance(error, ValueError) else "") or said(error)
        log.warning("trial %d: no value for %r: %s", flight.number, request.name, why)
        return Suggested(request.token, request.request, error=why)
    return Suggested(request.token, request.request, value)


def _answered(study: CampaignStudy, request: Query) -> Suggested:
    try:
        return Suggested(request.token, request.request, answer_query(study, request))
    except PilotuneError:
        raise
    except Exception as error:  # whatever Optuna raises is this trial's matter only
        return Suggested(request.token, request.request, error=words_of(error) or type(error).__name__)
