"""The report log: every report is in it before it is sent, whatever happens to the disk and to its readers."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from pilotune.filesystems import Mount
from pilotune.pipeline.trial import report_log
from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.report_log import ReportWriter, as_ranges, carry, newest_log, read_log, unheard


@pytest.fixture
def files(tmp_path: Path) -> TrialFiles:
    return TrialFiles(tmp_path)


def write(files: TrialFiles, attempt: int, *reports: tuple[int, float]) -> ReportWriter:
    writer = ReportWriter(files, attempt)
    for step, value in reports:
        writer.append(step, value)
    return writer


def pairs(files: TrialFiles, attempt: int) -> list[list[float]]:
    log = read_log(files, attempt)
    assert log is not None
    return log.pairs


def test_a_report_is_on_disk_when_append_returns_and_only_its_owner_may_read_it(files: TrialFiles) -> None:
    writer = ReportWriter(files, 1)
    assert not files.report_log(1).exists(), "opened at the first report only"
    writer.append(3, 0.5)
    step, value, at = json.loads(files.report_log(1).read_text())
    assert (step, value) == (3, 0.5)
    assert at > 1e9
    assert stat.S_IMODE(files.report_log(1).stat().st_mode) == 0o600


def test_values_that_json_does_not_have_are_kept(files: TrialFiles) -> None:
    write(files, 1, (1, float("nan")), (2, float("-inf")))
    assert str(pairs(files, 1)) == "[[1, nan], [2, -inf]]"


def test_the_next_attempt_begins_its_log_with_what_it_carries(files: TrialFiles) -> None:
    write(files, 1, (1, 0.5), (2, 0.4))
    assert [report[:2] for report in carry(files, 2)] == [(1, 0.5), (2, 0.4)]
    write(files, 2, (2, 0.1), (3, 0.3))
    log = read_log(files, 2)
    assert log is not None
    assert log.pairs == [[1, 0.5], [2, 0.4], [3, 0.3]], "the first value of a step counts"
    assert (log.carried, log.source, log.read) == (2, 1, files.report_log(1).stat().st_size)
    assert [report[:2] for report in carry(files, 3)] == [(1, 0.5), (2, 0.4), (3, 0.3)]


def test_a_repetition_carries_nothing_of_the_earlier_one(files: TrialFiles) -> None:
    write(files, 1, (1, 0.5))
    assert carry(files, 2, since=2) == []
    write(files, 2, (1, 0.7))
    assert [report[:2] for report in carry(files, 3, since=2)] == [(1, 0.7)]


def test_an_attempt_that_began_and_died_before_it_wrote_a_log_is_passed_over(files: TrialFiles) -> None:
    write(files, 1, (1, 0.5))
    assert [report[:2] for report in carry(files, 3)] == [(1, 0.5)]


def test_what_an_old_attempt_writes_after_the_next_one_has_begun_is_not_carried(files: TrialFiles) -> None:
    old = write(files, 1, (1, 0.5))
    carry(files, 2)
    old.append(2, 0.9)
    write(files, 2, (2, 0.4))
    assert [report[:2] for report in carry(files, 3)] == [(1, 0.5), (2, 0.4)]
    log = read_log(files, 2)
    assert log is not None
    assert [report.end <= log.read for report in read_log(files, 1).reports] == [True, False]  # type: ignore[union-attr]


def test_a_torn_last_line_and_rubbish_are_no_reports(files: TrialFiles) -> None:
    write(files, 1, (1, 0.5), (2, 0.4))
    path = files.report_log(1)
    rubbish = b'["x", 1, 2]\n[3]\n{"from": 7}\n[-1, 0.0, 1.0]\n[1e400, 0, 1]\n\xff\n'
    path.write_bytes(path.read_bytes() + rubbish + b"[7, 0.3, 1")
    assert pairs(files, 1) == [[1, 0.5], [2, 0.4]]


@pytest.mark.parametrize("plant", ["pipe", "link", "folder"])
def test_what_is_no_file_is_neither_waited_for_nor_followed(files: TrialFiles, plant: str) -> None:
    write(files, 1, (1, 0.5))
    path, elsewhere = files.report_log(2), files.directory / "elsewhere"
    if plant == "pipe":
        os.mkfifo(path)
    elif plant == "link":
        elsewhere.write_text("[9, 0.9, 1.0]\n")
        path.symlink_to(elsewhere)
    else:
        path.mkdir()
    log = newest_log(files, 2)
    assert log is not None
    assert log.attempt == 1
    if plant == "link":
        write(files, 2, (1, 0.1))
        assert elsewhere.read_text() == "[9, 0.9, 1.0]\n"


def test_what_a_full_disk_did_not_take_is_written_with_the_next_report(
    files: TrialFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = write(files, 1, (1, 0.5))
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(report_log.os, "write", full)
    writer.append(2, 0.4)
    monkeypatch.setattr(report_log.os, "write", lambda descriptor, data: real(descriptor, data[:5]))
    writer.append(3, 0.3)
    monkeypatch.setattr(report_log.os, "write", real)
    assert pairs(files, 1) == [[1, 0.5]]
    writer.append(4, 0.2)
    assert pairs(files, 1) == [[1, 0.5], [2, 0.4], [3, 0.3], [4, 0.2]]


def test_an_attempt_whose_log_could_not_be_begun_writes_none_and_the_older_one_counts(
    files: TrialFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(files, 1, (1, 0.5))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(report_log, "write_atomically", full)
        assert len(carry(files, 2)) == 1
    write(files, 2, (2, 0.4))
    assert not files.report_log(2).exists()
    assert [report[:2] for report in carry(files, 3)] == [(1, 0.5)]


def test_a_file_of_the_objective_is_never_written_to(files: TrialFiles) -> None:
    """An objective that closes all descriptors gets the log's number for a file of its own."""
    writer = write(files, 1, (1, 0.5))
    descriptor = writer._descriptor
    assert descriptor is not None
    own = os.open(files.directory / "own", os.O_WRONLY | os.O_CREAT)
    os.dup2(own, descriptor)
    writer.append(2, 0.4)
    writer.close()
    assert (files.directory / "own").read_bytes() == b""
    os.write(descriptor, b"still open")


@pytest.mark.parametrize(("kind", "syncs"), [("nfs4", 2), ("ext4", 0), ("lustre", 0)])
def test_reports_are_synced_where_other_hosts_would_not_see_them(
    files: TrialFiles, monkeypatch: pytest.MonkeyPatch, kind: str, syncs: int
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(report_log, "filesystem_of", lambda path: Mount(kind))
    monkeypatch.setattr(report_log.os, "fdatasync", synced.append)
    write(files, 1, (1, 0.5), (2, 0.4))
    assert len(synced) == syncs


def test_an_objective_that_deletes_its_folder_goes_on(files: TrialFiles) -> None:
    nowhere = TrialFiles(files.directory / "deleted")
    write(nowhere, 1, (1, 0.5), (2, 0.4))
    assert newest_log(nowhere, 1) is None


def test_only_what_the_study_lacks_is_told(files: TrialFiles) -> None:
    write(files, 1, (4, 0.4), (1, 0.1), (2, 0.2), (9, 0.9))
    reports = carry(files, 2)
    assert as_ranges([2, 1, 9]) == [[1, 2], [9, 9]]
    assert unheard(reports, [[1, 2], [9, 9]]) == [[4, 0.4]]
    assert unheard(reports, []) == [[4, 0.4], [1, 0.1], [2, 0.2], [9, 0.9]]
