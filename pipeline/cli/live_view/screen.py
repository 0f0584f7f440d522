"""The main screen of the view: what is drawn where, and what the keys do."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from ....errors import PilotuneError
from ....grammar import count
from ...studies.block_table import HEAD, blocks_line
from ...studies.harmless import harmless_status
from ...studies.stop_request import ask_to_stop
from .dialogs import Help, Question
from .messages import MessageLog
from .observe import Observation
from .output import OutputScreen
from .render import SILENT, block_rows, blocks_title, header, trial_table, trials_title
from .tables import KeyedTable

if TYPE_CHECKING:
    from ...driver.status import Status
    from ...studies.campaign_status import ObservedCampaign

SHORT, TALL = 18, 32
"""Lines below which a terminal has no space for blocks and messages, and lines from which on it has space for more."""


class TrialTable(KeyedTable):
    """The running trials; Enter chooses one."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "choose", "Output", key_display="enter")]


class CampaignScreen(Screen[None]):
    """Shows a campaign as it was last observed.

    Args:
        folder: The folder of the study's campaigns.
        campaign: The campaign; None while the first job of its driver is queued.

    Attributes:
        last: The last observation.
        problem: A sentence about what keeps newer observations away; empty where nothing does.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "stop('finish')", "Stop"),
        Binding("y", "stop('yield')", "Yield"),
        Binding("n", "stop('now')", "Now"),
        Binding("b", "blocks", "Blocks"),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "app.quit", "Quit"),
        Binding("ctrl+c", "app.quit", show=False),
    ]

    def __init__(self, folder: Path, campaign: ObservedCampaign | None):
        super().__init__()
        self.last, self.problem = Observation(campaign), ""
        self._folder = folder
        self._messages = MessageLog()
        self._blocks_hidden = False
        self._lines, self._said = Static(), Static()
        self._blocks = KeyedTable(id="blocks", left=["block", "job", "state", "why"])
        self._trials = TrialTable(id="trials", left=["host", "reports"])
        self._history = VerticalScroll(self._said, id="messages", classes="hidden")

    def compose(self) -> ComposeResult:
        yield VerticalScroll(self._lines, id="header", can_focus=False)
        yield self._blocks
        yield self._trials
        yield self._history
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self._trials.focus()
        self.draw()

    def on_resize(self) -> None:
        self.set_class(self.size.height >= TALL, "tall")
        self.set_class(self.size.height < SHORT, "short")
        self.draw()

    def take(self, seen: Observation) -> None:
        """Show a new observation."""
        if seen == self.last:  # the driver writes its status less often than it is read
            return
        if seen.driver and seen.driver != self.last.driver:
            self._messages.add(seen.driver)
        self.last = seen
        if seen.campaign is not None:
            self._messages.update(seen.campaign.status)
        self.draw()

    def is_silent(self) -> bool:
        """Whether the driver of a campaign that runs has not been heard of for a while, so that the time is shown."""
        campaign = self.last.campaign
        return campaign is not None and campaign.alive and time.time() - campaign.status.updated > SILENT

    # -- what is drawn -------------------------------------------------------------------------------------------------

    def draw(self) -> None:
        """Draw the last observation, while there is something to draw it on."""
        if not self._trials.is_attached:  # the screen is not composed yet, or is being removed
            return
        campaign = self.last.campaign
        if self.last.driver or campaign is None:
            self._lines.update(self._waiting_text())
            self._draw_tables(None)
        else:
            status = harmless_status(campaign.status)
            self._lines.update(header(type(campaign)(status, campaign.folder, campaign.alive), time.time()))
            self._draw_tables(status)
        self._draw_messages()

    def _waiting_text(self) -> Text:
        campaign = self.last.campaign
        ended = f"campaign {campaign.status.campaign} {campaign.state_text}\n" if campaign else ""
        return Text.assemble((f"{self._folder.name}\n", "bold"), ended, (self.last.driver, "yellow"))

    def _draw_tables(self, status: Status | None) -> None:
        blocks, trials = self._blocks, self._trials
        shown = status is not None and bool(blocks_line(status)) and not self._blocks_hidden
        blocks.set_class(not shown, "hidden")
        if status is None:
            trials.border_title = "no trial runs"
            trials.show([], {})
            return
        if shown:
            blocks.border_title = blocks_title(status)
            blocks.show(HEAD, block_rows(status))
        trials.border_title = trials_title(status)
        trials.show(*trial_table(status, self.last.reports, self.size.width))

    def _draw_messages(self) -> None:
        messages = self._history
        lines = [*self._messages.lines, *([self.problem] if self.problem else [])]
        messages.set_class(not lines, "hidden")
        messages.border_title = count(self._messages.count, "message")
        at_end = messages.is_vertical_scroll_end
        self._said.update(Text("\n".join(lines)))
        if at_end:
            messages.scroll_end(animate=False)

    # -- what the keys do ----------------------------------------------------------------------------------------------

    def action_stop(self, how: str) -> None:
        """Ask whether to end the campaign, then ask the campaign."""

        def answered(yes: bool | None) -> None:
            if yes:
                threading.Thread(target=self._stop, args=(how,), name="stop", daemon=True).start()

        self.app.push_screen(Question(self._folder.name, how), answered)

    def _stop(self, how: str) -> None:
        """Called in a thread of its own, since a queued job of the driver is cancelled at the scheduler."""
        try:
            campaigns, chains = ask_to_stop(self._folder.parent, self._folder.name, how)
        except (OSError, PilotuneError) as error:
            sentence = f"the campaign cannot be asked to stop: {error}"
        else:
            asked = bool(campaigns or chains)
            sentence = f"asked to stop ({how})" if asked else "there is no campaign any more to stop"
        self.call_later(self._say, sentence)

    def _say(self, sentence: str) -> None:
        self._messages.add(sentence)
        self.draw()

    def on_keyed_table_chosen(self) -> None:
        """Show the output of the chosen trial."""
        from ...record import RunDirectory

        selected = self._trials.selected
        if selected is not None and self.last.campaign is not None:
            files = RunDirectory(self.last.campaign.folder).trial(int(selected))
            self.app.push_screen(OutputScreen(int(selected), files))

    def action_blocks(self) -> None:
        """Hide the blocks, or show them."""
        self._blocks_hidden = not self._blocks_hidden
        self.draw()

    def action_help(self) -> None:
        """Say what the keys do."""
        self.app.push_screen(Help())
