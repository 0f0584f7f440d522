"""The worker's conversation with the driver about one attempt: a state machine without sockets, threads or clocks.

Theory
------
Three parties talk: the *trial* (the objective's code), the *worker* that runs it, and the *driver* that decides. The
trial asks the worker two kinds of questions. After a report it wants to know whether to go on (a verdict); for a
parameter that it defines as it runs, or about its study, it wants a value. The worker forwards both to the driver as
requests. A driver may be slow (it serves thousands of workers, and waits for its database) and messages may be lost, so
the two sides are kept apart by a state for each.

What the trial waits for (:class:`TrialState`)::

                 report                    answered: all its reports are judged, it must end,
    RUNNING ─────────────→ AWAITS_VERDICT  or PATIENCE is over         ─────────────────────→ RUNNING
            ─────────────→ AWAITS_VALUE ──────────────────────────────────────────────────────→ RUNNING
                 suggest                   answered: the value is here, or it must end

What the driver was asked (:class:`RequestState`); at most one request is open at a time::

            reports are sent                     verdict
    NONE ───────────────────→ REPORTS_OPEN ────────────────────→ NONE
         ───────────────────→ SUGGEST_OPEN ────────────────────→ NONE
            suggest is sent                      value, or a verdict that ends the trial

The rules that join them:

* **Carrying.** What earlier attempts of the trial reported and the driver did not hear is sent before anything else.
* **Batching.** Reports that the trial makes while a request is open are kept, and sent as one message of at most
  REPORTS_AT_ONCE when the driver has answered. A suggest is sent after the reports that came before it.
* **Patience.** A trial waits PATIENCE seconds for a verdict, and not at all while the driver has not answered an
  earlier request. It then goes on, and hears a later verdict at its next report. For a value it waits without limit.
* **Resending.** A request is sent again after RESEND seconds, then after twice as long each time, up to
  LONGEST_RESEND, while there is a connection; at once when the connection was made anew. The driver answers a request
  that it knows in the same way as before, so nothing is counted twice.
* **Stops.** The last verdict that is not "go on" stands: every later report is answered with it at once. A trial that
  waits for a value ends for a yield or a kill only, since a verdict to prune belongs to a report.
* **Attributes.** What the trial notes about itself is not answered, and repeated by the outcome. It is sent before the
  next request, or ATTRIBUTES_AFTER seconds later, so that it is not lost with the worker.
* **Refusals.** What the driver cannot handle it answers with an error. A trial that waits is told at once. Where the
  request was one of reports, the error stands: every later question is answered with it, too.
* **Interruptions.** A trial may ask again before it was answered: a signal handler raised an exception that the
  objective caught, or asked a question itself. The new question takes the place of the old one, which gets no answer.
* Answers to other attempts, to requests that are no longer open, or of a kind that does not fit, change nothing.

Who uses it
-----------
The supervisor of a process, the inline connection of ``isolate: false``, and the simulated pool, each in the same way::

    dialogue.report(step, value, now)          # the trial has a question
    attributes = dialogue.attributes.outgoing(now)  # what to send to the driver now, if anything; before the request
    request = dialogue.outgoing(now)           # the same
    dialogue.receive(message)                  # what has come from the driver
    answer = dialogue.take_answer(now)         # what to tell the waiting trial now, if anything
    wait_until(dialogue.deadline())            # nothing happens before, unless a message or a question comes
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..trial.link import Stopping
from ..trial.protocol import Message, Query, Report, Stop, StopHow, Suggest, Suggested, Verdict
from .attribute_feed import AttributeFeed

PATIENCE = 1.0
"""Seconds that a trial waits for the verdict on a report. A driver that is slower, or waits for its database, holds up
no trial: it goes on, hears the verdict at its next report, and what it reports meanwhile is sent in one message."""

REPORTS_AT_ONCE = 1_000
"""Most reports in one message, which keeps it far below the channel's MESSAGE_LIMIT."""

RESEND, LONGEST_RESEND = 5.0, 60.0
"""Seconds after which an unanswered request is sent again: doubled each time, from the first to the longest. A driver
that is behind, or waits for its database, is not buried under requests that it already has."""


class TrialState(enum.Enum):
    """What the trial is waiting for."""

    RUNNING = "running"
    AWAITS_VERDICT = "awaits a verdict"
    AWAITS_VALUE = "awaits a value"


class RequestState(enum.Enum):
    """Which request to the driver is open: sent, and not answered."""

    NONE = "none"
    REPORTS_OPEN = "reports open"
    SUGGEST_OPEN = "suggest open"


class Event(enum.Enum):
    """What changes a state."""

    REPORT = "the trial reports"
    SUGGEST = "the trial asks for a parameter's value, or about its study"
    ANSWERED = "the trial is answered"
    SEND_REPORTS = "reports are sent"
    SEND_SUGGEST = "a suggest or a query is sent"
    VERDICT = "the driver says go on"
    STOP_VERDICT = "the driver says prune, yield or kill"
    VALUE = "the driver gives the value"
    REFUSED = "the driver refuses, or could not handle the request"
    DRIVER_GONE = "the driver is dead"


T, R, E = TrialState, RequestState, Event

TRIAL_TRANSITIONS: Mapping[TrialState, Mapping[Event, TrialState]] = {
    T.RUNNING: {E.REPORT: T.AWAITS_VERDICT, E.SUGGEST: T.AWAITS_VALUE},
    T.AWAITS_VERDICT: {E.ANSWERED: T.RUNNING},
    T.AWAITS_VALUE: {E.ANSWERED: T.RUNNING},
}
"""A question that is not listed withdraws the one before it, since a trial asks one at a time (see the rules)."""

REQUEST_TRANSITIONS: Mapping[RequestState, Mapping[Event, RequestState]] = {
    R.NONE: {E.SEND_REPORTS: R.REPORTS_OPEN, E.SEND_SUGGEST: R.SUGGEST_OPEN, E.DRIVER_GONE: R.NONE},
    R.REPORTS_OPEN: {E.VERDICT: R.NONE, E.STOP_VERDICT: R.NONE, E.REFUSED: R.NONE, E.DRIVER_GONE: R.NONE},
    R.SUGGEST_OPEN: {E.VALUE: R.NONE, E.STOP_VERDICT: R.NONE, E.REFUSED: R.NONE, E.DRIVER_GONE: R.NONE},
}
"""What comes from the driver and is not listed is ignored, since anything may come late or twice over a network."""


@dataclass(frozen=True)
class VerdictAnswer(Message):
    """To a trial that reported: go on (empty), or how to end. Ends a wait for a value, too.

    ``error``: one sentence why the driver could not handle a report; it is raised in the objective.
    """

    stop: Stopping = ""
    error: str = ""


@dataclass(frozen=True)
class ValueAnswer(Message):
    """To a trial that asked for a parameter or about its study: the value, or one sentence why there is none."""

    value: Any = None
    error: str = ""


Answer = VerdictAnswer | ValueAnswer


class Dialogue:
    """One attempt's conversation with the driver (see the module's docstring for the rules).

    Time comes in as ``now``, in seconds of any clock that does not go backwards; the caller sends and receives.

    Args:
        token: The attempt's; messages with another token are ignored.
        carried: Reports ``[step, value]`` of earlier attempts that the driver did not hear; they are sent first.

    Attributes:
        reports: Every report that the trial made, ``[step, value]``, in order, the carried ones first. Never shortened:
            the outcome brings what was not sent.
        params: Values that the driver suggested, by parameter name.
        verdict: The last verdict other than "go on"; empty before there is one.
        error: One sentence why the driver could not handle reports; empty where it could.
        order: The strongest that the driver has ordered, by a verdict or unasked: ``yield``, then ``kill``. A verdict
            to prune is no order, since only the trial can tell at which report it ends.
        attributes: What the trial has noted about itself.
        questions: How many the trial has asked that wait for an answer; it only grows.
        trial: What the trial waits for.
        request: Which request is open.

    >>> dialogue = Dialogue("7.1.c")
    >>> dialogue.report(1, 0.5, now=0.0)
    >>> request = dialogue.outgoing(now=0.0)
    >>> dialogue.trial.value, dialogue.take_answer(now=0.2)
    ('awaits a verdict', None)
    >>> dialogue.receive(Verdict("7.1.c", request.request, "prune"))
    True
    >>> dialogue.take_answer(now=0.3)
    VerdictAnswer(stop='prune', error='')
    """

    def __init__(self, token: str, carried: Sequence[Sequence[float]] = ()) -> None:
        self.token = token
        self.reports: list[list[float]] = [list(report) for report in carried]
        self.params: dict[str, Any] = {}
        self.attributes = AttributeFeed(token)
        self.verdict: Stopping = ""
        self.error = ""
        self.order: StopHow | None = None
        self.trial, self.request = TrialState.RUNNING, RequestState.NONE
        self.questions = 0
        self._backlog: deque[list[float]] = deque(self.reports)  # reports that were not sent
        self._wanted: Suggest | Query | None = (
            None  # what a trial in AWAITS_VALUE asked for; its number is set when it is sent
        )
        self._answer: Answer | None = None  # for the waiting trial
        self._patience_ends = 0.0  # of a trial in AWAITS_VERDICT
        self._open: Report | Suggest | Query | None = None  # set unless the request's state is NONE
        self._number = 0  # of the last request
        self._send_at = 0.0  # when the open request is sent, or sent again
        self._pause = 0.0  # seconds before it is sent again; 0 before it is sent the first time
        self._connected, self._reconnections = True, 0

    # -- the trial ----------------------------------------------------------------------------------------------------

    def report(self, step: int, value: float, now: float, *, waits: bool = True) -> None:
        """The trial has reported. ``waits``: it wants to hear the verdict; a command does not, it gets signals."""
        self.reports.append([step, value])
        self._backlog.append([step, value])
        if waits:
            self.withdraw()
            self._trial_event(Event.REPORT)
            self.questions += 1
            self._patience_ends = now + (PATIENCE if self.request is RequestState.NONE else 0.0)

    def suggest(self, name: str, distribution: str) -> None:
        """The trial asks for the value of parameter ``name``; ``distribution`` is Optuna's JSON."""
        self._want(Suggest(self.token, 0, name, distribution))

    def ask(self, what: str, arguments: dict[str, Any]) -> None:
        """The trial asks about its study, or changes it (see :class:`..trial.protocol.Query`)."""
        self._want(Query(self.token, 0, what, arguments))

    def _want(self, question: Suggest | Query) -> None:
        self.withdraw()
        self._trial_event(Event.SUGGEST)
        self.questions += 1
        self._wanted = question

    def take_answer(self, now: float) -> Answer | None:
        """The answer that the trial gets now, once; None while it must wait, or does not wait."""
        answer = self._answer
        if answer is None and self.error and self.trial is not TrialState.RUNNING:
            answer = VerdictAnswer(error=self.error)
        if self.trial is TrialState.AWAITS_VERDICT and answer is None and (self.verdict or now >= self._patience_ends):
            answer = VerdictAnswer(self.verdict)
        if answer is not None:
            self._answer = self._wanted = None
            self._trial_event(Event.ANSWERED)
        return answer

    def withdraw(self) -> None:
        """The trial no longer waits for an answer: it was interrupted, or ends for a reason of its own."""
        if self.trial is not TrialState.RUNNING:
            self._answer = self._wanted = None
            self._trial_event(Event.ANSWERED)

    # -- the driver ---------------------------------------------------------------------------------------------------

    def outgoing(self, now: float) -> Report | Suggest | Query | None:
        """The request to send now: the next one where none is open, the open one where it is time to send it again."""
        if self._open is None:
            self._open_next(now)
        if self._open is None or now < self._send_at or (self._pause and not self._connected):
            return None
        self._pause = min(2 * self._pause, LONGEST_RESEND) or RESEND
        self._send_at = now + self._pause
        return self._open

    def receive(self, message: Message) -> bool:
        """A message has come; whether it was for this attempt, and changed anything."""
        if isinstance(message, Stop) and message.token == self.token:
            self._obey(message.how)
            return True
        opened = self._open
        if not isinstance(message, Verdict | Suggested) or opened is None:
            return False
        if (message.token, message.request) != (self.token, opened.request) or not self._request_event(_kind(message)):
            return False
        if message.error:
            self._on_refusal(message.error, opened)
        elif isinstance(message, Suggested):
            self._on_value(message, opened)
        else:
            self._on_verdict(message.stop, ends_wait=opened is self._wanted)
        return True

    def on_connection(self, connected: bool, reconnections: int, now: float) -> None:
        """What is known of the connection: whether it is up, and how often it was made anew.

        After each reconnection the driver may have lost what was sent, so the open request is sent again at once.
        """
        self._connected = connected
        if reconnections != self._reconnections:
            self._reconnections = reconnections
            self._send_at, self._pause = now, 0.0
            self.attributes.on_reconnection(now)

    def on_driver_gone(self) -> None:
        """There is no driver any more: nothing is open, and the trial is told to yield."""
        self._request_event(Event.DRIVER_GONE)
        self._backlog.clear()
        self.verdict = "yield"
        if self.trial is not TrialState.RUNNING:
            self._answer = VerdictAnswer("yield")

    def deadline(self) -> float | None:
        """When :meth:`outgoing` or :meth:`take_answer` has something next if nothing comes in; None for never."""
        noted = self.attributes.deadline()
        moments = [] if noted is None else [noted]
        if self.trial is TrialState.AWAITS_VERDICT:
            moments.append(self._patience_ends)
        if self._open is not None and self._connected:
            moments.append(self._send_at)
        return min(moments, default=None)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _open_next(self, now: float) -> None:
        if self._backlog:
            batch = [self._backlog.popleft() for _ in range(min(len(self._backlog), REPORTS_AT_ONCE))]
            self._request_event(Event.SEND_REPORTS)
            self._open = Report.of(self.token, self._number + 1, batch)
        elif self._wanted is not None and self._answer is None:
            self._request_event(Event.SEND_SUGGEST)
            self._open = self._wanted = replace(self._wanted, request=self._number + 1)
        else:
            return
        self._number += 1
        self._send_at, self._pause = now, 0.0

    def _on_verdict(self, stop: Stopping, *, ends_wait: bool) -> None:
        """``ends_wait``: the verdict answers the suggest that the trial waits for."""
        self.verdict = stop or self.verdict
        if stop == "yield" or stop == "kill":
            self._obey(stop)
        if self.trial is TrialState.AWAITS_VERDICT:
            if stop or not self._backlog:
                self._answer = VerdictAnswer(self.verdict)
        elif self.trial is TrialState.AWAITS_VALUE and (ends_wait or stop in ("yield", "kill")):
            self._answer = VerdictAnswer(stop)

    def _on_value(self, message: Suggested, asked: Report | Suggest | Query) -> None:
        if isinstance(asked, Suggest):
            self.params[asked.name] = message.value
        if asked is self._wanted:  # not one that the trial has given up
            self._answer = ValueAnswer(message.value)

    def _on_refusal(self, error: str, asked: Report | Suggest | Query) -> None:
        if isinstance(asked, Report):
            self.error = error
        elif asked is self._wanted:
            self._answer = ValueAnswer(error=error)

    def _obey(self, how: StopHow) -> None:
        if self.order != "kill":
            self.order = how

    def _trial_event(self, event: Event) -> None:
        self.trial = TRIAL_TRANSITIONS[self.trial][event]

    def _request_event(self, event: Event) -> bool:
        """Make the transition; False where there is none."""
        after = REQUEST_TRANSITIONS[self.request].get(event)
        if after is None:
            return False
        self.request = after
        if after is RequestState.NONE:
            self._open = None
        return True


def _kind(message: Verdict | Suggested) -> Event:
    if message.error:
        return Event.REFUSED
    if isinstance(message, Suggested):
        return Event.VALUE
    return Event.STOP_VERDICT if message.stop else Event.VERDICT
