"""What several ranks of one attempt say, as the conversation of one trial: a state machine without processes or clocks.

Each rank runs the same objective, and each speaks to the worker as a trial does. To the rest of Pilotune the attempt is
one trial, and *rank 0* speaks for it: its reports, questions, attributes and value are the trial's. The other ranks
hear what rank 0 has heard. The rules:

* **Reports.** The j-th report of a rank must have the step of rank 0's j-th report, and gets the same verdict; its
  value does not count. A rank that never reports is none the worse.
* **Suggestions and questions.** The j-th parameter that a rank asks for must be rank 0's j-th, with the same
  distribution, and gets the same value. Likewise the j-th question about the study.
* **Waiting.** Rank 0 never waits for another rank. A rank that is ahead of rank 0 waits until rank 0 has come as far
  and was answered, at most ``timeout`` seconds for the first of the two.
* **Yielding.** A request to yield becomes the next verdict, so that every rank hears it at the same step.
* **After rank 0 has ended.** Where rank 0 was pruned or yields, a further report of another rank gets that as verdict.
  Otherwise a report or question that rank 0 never had is an error.
* **The end.** The attempt has ended when every rank has, and its result is rank 0's. The others have ``timeout``
  seconds after rank 0. Where rank 0 was pruned, or yields and none of them has heard of it, nothing of what they do
  matters any more: they have ``grace`` seconds, and may fail.
* **Failures.** A rank that raises, dies, breaks a rule or does not end in time ends all of them. One that died often
  makes others raise, since their connections to it break, and they may be heard first. So a rank that raised is
  believed only after SETTLE seconds in which no rank was found dead, and then the one that raised first. One whose
  program was ended with it, as launchers do when another rank has failed, may be a consequence as well: it is to blame
  where that came before all that was raised, and no rank was found dead.

Used like this::

    collective.receive(rank, message, now)     # what a rank has sent
    collective.on_exit(rank, ending, now)      # its process has ended
    collective.answer(answer)                  # what the supervisor answers, always to rank 0
    collective.tick(now)
    for message in collective.take_messages()  # to the supervisor
    for rank, answer in collective.take_answers()
    collective.over                            # what still runs is to be ended
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from ...trial.link import Stopping
from ...trial.protocol import Message
from ..dialogue import Answer, VerdictAnswer
from ..objective.ending import Ending
from ..process.messages import (
    Garbled,
    ObjectiveEnded,
    ParamRequested,
    Reported,
    StudyAsked,
    YieldWanted,
)
from .questions import Question, asked, difference, identity, rule

SETTLE = 1.0
"""Seconds in which the end of a dead rank's process is noticed, at the latest, after others have noticed it."""

GO_ON = VerdictAnswer()


class History:
    """What rank 0 has asked of one kind, and the answers. A report is known by its step.

    Attributes:
        asked: What identifies each question, in order.
        answers: The answer to each; None while there is none.
    """

    def __init__(self) -> None:
        self.asked: list[Hashable] = []
        self.answers: list[Answer | None] = []

    def drop_last(self) -> None:
        """Forget the last question."""
        self.asked.pop()
        self.answers.pop()


@dataclass
class Waiting:
    """A rank other than 0 that waits for an answer.

    Attributes:
        question: What it has asked.
        place: How many of that kind it had asked before.
        until: When it gives up waiting for rank 0 to ask the same.
    """

    question: Question
    place: int
    until: float


@dataclass(frozen=True)
class Failure:
    """How a rank has failed.

    Attributes:
        rank: Which.
        ending: How.
        at: When, in Unix seconds of its node.
        certain: It is not the consequence of another rank's failure.
    """

    rank: int
    ending: Ending
    at: float
    certain: bool


class Collective:
    """The ranks of one attempt (see the module's docstring for the rules).

    Time comes in as ``now``, in seconds of any clock that does not go backwards.

    Args:
        hosts: The node of each rank.
        timeout: Seconds that ranks may wait for rank 0, and that they have to end after it.
        grace: Seconds that they have to end where rank 0 was pruned.

    Attributes:
        result: How the attempt has ended, once that is known.
        over: Nothing that the ranks still do matters; those that run are to be ended.
        closing: The ranks are being ended from outside, so that no end of one is a failure.

    >>> ranks = Collective(["n1", "n1"], timeout=600.0, grace=10.0)
    >>> ranks.receive(1, Reported(1, 0.25), now=0.0)
    >>> ranks.take_messages(), ranks.take_answers()
    ([], [])
    >>> ranks.receive(0, Reported(1, 0.5), now=1.0)
    >>> ranks.take_messages()
    [Reported(step=1, value=0.5)]
    >>> ranks.answer(VerdictAnswer("prune"))
    >>> ranks.take_answers()
    [(0, VerdictAnswer(stop='prune', error='')), (1, VerdictAnswer(stop='prune', error=''))]
    """

    def __init__(self, hosts: Sequence[str], timeout: float, grace: float) -> None:
        self.hosts, self.timeout, self.grace = tuple(hosts), timeout, grace
        self.result: Ending | None = None
        self.over = False
        self.closing = False
        self._histories = {kind: History() for kind in (Reported, ParamRequested, StudyAsked)}
        self._counts: list[dict[type[Message], int]] = [dict.fromkeys(self._histories, 0) for _ in hosts]
        self._waiting: dict[int, Waiting] = {}  # ranks other than 0
        self._open: History | None = None  # whose last question rank 0 waits for
        self._stop: Stopping = ""  # the last verdict other than "go on"
        self._yield_wanted = False
        self._told: set[int] = set()  # ranks that were told to end
        self._ended: dict[int, Ending] = {}  # what each rank has said of its end
        self._exited: set[int] = set()
        self._failures: list[Failure] = []
        self._settled_at = 0.0
        self._others_until: float | None = None  # since rank 0 has ended
        self._messages: list[Message] = []
        self._answers: list[tuple[int, Answer]] = []

    # -- the ranks ----------------------------------------------------------------------------------------------------

    def receive(self, rank: int, message: Message, now: float) -> None:
        """A rank has sent a message."""
        if self.over or rank in self._ended:
            return
        if isinstance(message, YieldWanted):
            self.ask_to_yield()
        elif isinstance(message, ObjectiveEnded):
            self._on_end(rank, message, now)
        elif isinstance(message, Reported | ParamRequested | StudyAsked):
            self._ask_first(message) if rank == 0 else self._ask_other(rank, message, now)
        elif rank == 0:
            self._messages.append(message)
        elif isinstance(message, Garbled):
            error = f"the worker could not handle what the trial sent: {message.why}"
            self._answers.append((rank, VerdictAnswer(error=error)))
        # Anything else, such as an attribute, counts from rank 0 only.

    def on_exit(self, rank: int, ending: Ending, now: float, *, at: float = 0.0, by_itself: bool = True) -> None:
        """The process of a rank has ended, after all that it sent was received.

        Args:
            rank: Which.
            ending: How, where the rank has not said so itself.
            now: The time.
            at: When it ended, in Unix seconds of its node.
            by_itself: Not by what may have ended it because of another rank, such as its launcher.
        """
        self._exited.add(rank)
        self._waiting.pop(rank, None)
        if rank not in self._ended:
            self._ended[rank] = ending
            self._fail(rank, ending, now, certain=by_itself, at=at)

    def _ask_first(self, question: Question) -> None:
        """Rank 0 has a question, which is the trial's."""
        if self._open is not None:  # it was interrupted, and waits for that answer no more
            if self._open is self._histories[Reported]:
                self._open.answers[-1] = VerdictAnswer(self._stop)
            else:
                self._open.drop_last()
        history = self._histories[type(question)]
        history.asked.append(identity(question))
        history.answers.append(None)
        self._open = history
        self._messages.append(question)
        self._answer_waiting()

    def _ask_other(self, rank: int, question: Question, now: float) -> None:
        counts = self._counts[rank]
        place = counts[type(question)]
        counts[type(question)] += 1
        self._waiting[rank] = Waiting(question, place, now + self.timeout)  # in the place of one that it has given up
        self._answer_waiting()

    def _answer_waiting(self) -> None:
        """Answer every waiting rank whose question rank 0 has been answered, or can no longer ask."""
        for rank, waiting in tuple(self._waiting.items()):
            question, history = waiting.question, self._histories[type(waiting.question)]
            if waiting.place < len(history.asked):
                if history.asked[waiting.place] != identity(question):
                    self._refuse(rank, difference(question, history.asked[waiting.place]))
                    continue
                answer = history.answers[waiting.place]
            else:
                answer = self._answer_without(rank, question)
            if answer is not None:
                del self._waiting[rank]
                self._answer(rank, answer)

    def _answer(self, rank: int, answer: Answer) -> None:
        if isinstance(answer, VerdictAnswer) and answer.stop:
            self._told.add(rank)
        self._answers.append((rank, answer))

    def _answer_without(self, rank: int, question: Question) -> Answer | None:
        """The answer to what rank 0 has not asked: none yet, unless rank 0 has ended."""
        ending = self._ended.get(0)
        if ending is None:
            return None
        if ending.kind in ("pruned", "yielded"):
            return VerdictAnswer("prune" if ending.kind == "pruned" and self._stop != "yield" else "yield")
        if ending.kind == "complete":
            self._refuse(rank, f"{asked(question)}, but rank 0 has ended without that; {rule(question)}")
        return None

    def _refuse(self, rank: int, sentence: str) -> None:
        """A rank has broken a rule."""
        self._waiting.pop(rank, None)
        ending = Ending("failed", failure="exception", reason=sentence)
        self._conclude(of_rank(rank, self.hosts[rank], ending, joint=" "))

    # -- the supervisor -----------------------------------------------------------------------------------------------

    def answer(self, answer: Answer) -> None:
        """The supervisor answers rank 0."""
        if self.over:
            return
        history, self._open = self._open, None
        reports = self._histories[Reported]
        if history is reports and isinstance(answer, VerdictAnswer) and not answer.stop and not answer.error:
            answer = VerdictAnswer("yield") if self._yield_wanted else GO_ON
        if isinstance(answer, VerdictAnswer):
            self._stop = answer.stop or self._stop
        if history is not None:
            history.answers[-1] = answer
        self._answer(0, answer)
        self._answer_waiting()

    def ask_to_yield(self) -> None:
        """The attempt is to yield: the next verdict says so."""
        self._yield_wanted = True

    def take_messages(self) -> list[Message]:
        """What the supervisor gets since the last call, as from one process."""
        messages, self._messages = self._messages, []
        return messages

    def take_answers(self) -> list[tuple[int, Answer]]:
        """What ranks get since the last call: rank and answer."""
        answers, self._answers = self._answers, []
        return answers

    # -- the end ------------------------------------------------------------------------------------------------------

    @property
    def failing(self) -> bool:
        """Whether a rank has failed, so that one is to blame."""
        return bool(self._failures)

    def has_ended(self, rank: int) -> bool:
        """Whether the rank has only to exit, or has exited."""
        return rank in self._ended

    def tick(self, now: float) -> None:
        """Time has passed, and all that had arrived was received."""
        if self.over or self.closing:
            return
        if self._failures and (now >= self._settled_at or len(self._exited) == len(self.hosts)):
            self._conclude(self.blamed())
        elif self._others_until is not None and now >= self._others_until:
            self._on_late_ranks()
        else:
            self._check_waiting(now)

    def shift(self, seconds: float) -> None:
        """Move all deadlines, since the ranks were stopped for so long."""
        for waiting in self._waiting.values():
            waiting.until += seconds
        self._settled_at += seconds
        if self._others_until is not None:
            self._others_until += seconds

    def _check_waiting(self, now: float) -> None:
        for rank, waiting in tuple(self._waiting.items()):
            question = waiting.question
            if waiting.place < len(self._histories[type(question)].asked):
                continue  # rank 0 waits for the same answer
            if now >= waiting.until:
                late = f"and rank 0 did not within {self.timeout:g} s (trial.rank_timeout)"
                self._refuse(rank, f"{asked(question)}, {late}; {rule(question)}")
                return

    def _on_end(self, rank: int, message: ObjectiveEnded, now: float) -> None:
        ending = message.ending
        self._ended[rank] = ending
        self._waiting.pop(rank, None)
        if ending.kind == "stopped":  # a later attempt has begun
            self._conclude(ending)
        elif ending.kind == "failed":
            self._fail(rank, ending, now, certain=False, at=message.at)
        elif rank == 0:
            self._open = None
            self._failures = [failure for failure in self._failures if not self._is_forlorn(failure.rank)]
            others = range(1, len(self.hosts))
            self._others_until = now + (self.grace if all(map(self._is_forlorn, others)) else self.timeout)
            self._answer_waiting()
        self._check_complete()

    def _is_forlorn(self, rank: int) -> bool:
        """Whether nothing that a rank does matters any more, since rank 0 has left it."""
        first = self._ended.get(0)
        if rank == 0 or first is None:
            return False
        return first.kind == "pruned" or (first.kind == "yielded" and rank not in self._told)

    def _check_complete(self) -> None:
        """Conclude where every rank has ended, and none has failed."""
        first = self._ended.get(0)
        if self.over or first is None or self._failures or len(self._ended) < len(self.hosts):
            return
        for rank, ending in self._ended.items():
            if first.kind == "complete" and ending.kind in ("pruned", "yielded"):
                verb = "was pruned" if ending.kind == "pruned" else "yielded"
                self._refuse(rank, f"{verb}, but rank 0 has completed the trial; every rank ends in the same way")
                return
        self._conclude(first)

    def _fail(self, rank: int, ending: Ending, now: float, *, certain: bool, at: float = 0.0) -> None:
        if self.over or self.closing:
            return
        if self._is_forlorn(rank):
            self._check_complete()
            return
        if not self._failures:
            self._settled_at = now if certain else now + SETTLE
        elif certain:
            self._settled_at = now
        self._failures.append(Failure(rank, ending, at, certain))

    def _on_late_ranks(self) -> None:
        """Rank 0 has ended, and others have not in time."""
        late = [rank for rank in range(len(self.hosts)) if rank not in self._ended]
        if all(map(self._is_forlorn, late)):
            self._conclude(self._ended[0])
            return
        wanted = f"had not ended {self.timeout:g} s after rank 0 (trial.rank_timeout)"
        ending = Ending("failed", failure="timeout", reason=wanted)
        self._conclude(of_rank(late[0], self.hosts[late[0]], ending, joint=" "))

    def blamed(self) -> Ending:
        """How the attempt ends by the rank that is to blame, of those that have failed."""
        first = min(self._failures, key=lambda failure: (not failure.certain, failure.at))
        return of_rank(first.rank, self.hosts[first.rank], first.ending)

    def _conclude(self, ending: Ending) -> None:
        if self.over:
            return
        self.over, self.result = True, ending
        self._messages.append(ObjectiveEnded(ending))


def of_rank(rank: int, host: str, ending: Ending, joint: str = ": ") -> Ending:
    """The ending of an attempt whose rank ``rank`` has ended so; its reason names the rank and the node.

    >>> of_rank(3, "n2", Ending("failed", reason="ValueError: no data")).reason
    'rank 3 on node n2: ValueError: no data'
    """
    return replace(ending, reason=f"rank {rank} on node {host}{joint}{ending.reason}", values=None)
