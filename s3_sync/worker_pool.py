"""The main process' side of the workers: starts them, feeds them, hears from them, replaces the dead."""
from __future__ import annotations

import contextlib
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from container_crawler.rows import Row
from container_crawler.shares import process_share
from s3_sync.channel import (
    Answer,
    Channel,
    Configure,
    Counted,
    Errand,
    Learned,
    Logged,
    Outcomes,
    Rows,
    SegmentsDecided,
    Swept,
)
from s3_sync.clock import Clock
from s3_sync.concurrency import GreenThread, Semaphore, sleep, spawn
from s3_sync.engine.outcomes import Outcome
from s3_sync.metric_defs import ALL
from s3_sync.metrics import Metrics, replay
from s3_sync.wire.tombstones import real_name

Finished = Callable[[list[tuple[Row, Outcome]]], None]
Answered = Callable[[Answer | None], None]

TRIES_AFTER_CRASH = 3
"""A row that was in a worker's hands this often when it died is set aside as failed; an errand has no answer."""

_DEFS = {d.name: d for d in ALL}


@dataclass
class Job:
    """One row in a worker's hands."""

    row: Row
    message: Rows
    finished: Finished
    crashes: int = 0


@dataclass
class Question:
    """An errand that a worker is on."""

    message: Errand
    answered: Answered
    crashes: int = 0


@dataclass
class Process:
    index: int
    popen: subprocess.Popen[bytes]
    channel: Channel
    listener: GreenThread = field(init=False)
    jobs: dict[int, Job] = field(default_factory=dict)
    questions: dict[int, Question] = field(default_factory=dict)
    lock: Semaphore = field(default_factory=lambda: Semaphore(1))


class WorkerPool:
    """``processes`` workers. Rows of one name always go to the same one, so that they keep their order."""

    def __init__(self, processes: int, configure: Callable[[], Configure], *, metrics: Metrics, clock: Clock,
                 logger: logging.Logger) -> None:
        self._configure = configure
        self._metrics = metrics
        self._clock = clock
        self._logger = logger
        self._next_token = 0
        self._next_verifier = 0
        self._stopping = False
        self._workers = [self._start(index) for index in range(processes)]

    # -- work ----------------------------------------------------------------------------

    def submit(self, message: Rows, rows: Sequence[Row], finished: Finished) -> None:
        """Have ``rows`` worked on. ``message`` says whose they are; its tasks are filled in here.

        ``finished`` is called with batches of rows and outcomes until each row was told once.
        """
        shares: dict[int, list[Row]] = {}
        if message.mode == 'verify':
            # One listing answers for neighbouring names: the whole chunk goes to one worker.
            self._next_verifier = (self._next_verifier + 1) % len(self._workers)
            shares[self._next_verifier] = list(rows)
        else:
            for row in rows:
                # A deletion's marker goes where its object's own rows go.
                name = real_name(row.name) or row.name
                shares.setdefault(process_share(name, len(self._workers)), []).append(row)
        for index, part in shares.items():
            self._hand_out(index, [Job(row, message, finished) for row in part])

    def _hand_out(self, index: int, jobs: list[Job]) -> None:
        worker = self._workers[index]
        tasks = []
        for job in jobs:
            self._next_token += 1
            worker.jobs[self._next_token] = job
            tasks.append((self._next_token, job.row))
        self._send(worker, jobs[0].message._replace(tasks=tasks))

    def ask(self, errand: Errand, share: str, answered: Answered) -> None:
        """Have a worker do this; those of one ``share`` go to the same one. None: it died of it again and again."""
        self._ask(process_share(share, len(self._workers)), Question(errand, answered))

    def _ask(self, index: int, question: Question) -> None:
        self._next_token += 1
        self._workers[index].questions[self._next_token] = question
        self._send(self._workers[index], question.message._replace(token=self._next_token))

    def _send(self, worker: Process, message: object) -> None:
        with worker.lock, contextlib.suppress(OSError):  # a dead worker is noticed, and replaced, by its listener
            worker.channel.send(message)

    def tell(self, message: Learned) -> None:
        """Every worker that lives now; those that start later are configured with it."""
        for worker in self._workers:
            self._send(worker, message)

    # -- life ----------------------------------------------------------------------------

    def stop(self, grace_seconds: float = 5.0) -> None:
        """End all workers; work in their hands is abandoned, which loses nothing.

        ``grace_seconds``: after that those that do not listen are killed, however many they are.
        """
        self._stopping = True
        for worker in self._workers:
            worker.channel.end()
        until = self._clock.monotonic() + grace_seconds
        for worker in self._workers:
            try:
                worker.popen.wait(max(0.0, until - self._clock.monotonic()))
            except subprocess.TimeoutExpired:
                worker.popen.kill()
                worker.popen.wait()
        for worker in self._workers:
            worker.listener.wait()  # ends with the process at the other end
            worker.channel.close()

    @property
    def pids(self) -> list[int]:
        return [w.popen.pid for w in self._workers]

    def _start(self, index: int) -> Process:
        ours, theirs = socket.socketpair()
        message = self._configure()
        with theirs:
            popen = subprocess.Popen(
                [sys.executable, '-m', 's3_sync.worker', str(theirs.fileno())], stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *message.limiters.values()], start_new_session=True)
        worker = Process(index, popen, Channel(ours))
        self._send(worker, message)
        worker.listener = spawn(self._listen, worker)
        return worker

    def _listen(self, worker: Process) -> None:
        try:
            while True:
                self._hear(worker, worker.channel.receive())
        except EOFError:
            pass
        if not self._stopping:
            self._replace(worker)

    def _hear(self, worker: Process, message: object) -> None:
        match message:
            case Outcomes(results):
                batches: dict[Finished, list[tuple[Row, Outcome]]] = {}
                for token, outcome in results:
                    job = worker.jobs.pop(token)
                    batches.setdefault(job.finished, []).append((job.row, outcome))
                for finished, batch in batches.items():
                    finished(batch)
            case Swept() | SegmentsDecided():
                worker.questions.pop(message.token).answered(message)
            case Counted(samples):
                replay(samples, self._metrics, _DEFS)
            case Logged(level, logger, text):
                logging.getLogger(logger).log(level, '%s', text)

    def _replace(self, dead: Process) -> None:
        status = dead.popen.wait()
        dead.channel.close()
        how = signal.Signals(-status).name if status < 0 else f'exit {status}'
        self._logger.error('worker %d (pid %d) died: %s; %d rows in its hands start again', dead.index,
                           dead.popen.pid, how, len(dead.jobs))
        # A worker that cannot live must not be restarted in a tight loop.
        sleep(1.0 if dead.jobs or dead.questions else 5.0)
        if self._stopping:
            return
        self._workers[dead.index] = self._start(dead.index)
        again: dict[int, list[Job]] = {}
        for job in dead.jobs.values():
            job.crashes += 1
            if job.crashes >= TRIES_AFTER_CRASH:
                job.finished([(job.row, Outcome('failed', 'worker-died', f'the worker died {job.crashes} times '
                                                                         'with this row in its hands'))])
            else:
                again.setdefault(id(job.message), []).append(job)
        for jobs in again.values():
            self._hand_out(dead.index, jobs)
        for question in dead.questions.values():
            question.crashes += 1
            if question.crashes >= TRIES_AFTER_CRASH:
                question.answered(None)
            else:
                self._ask(dead.index, question)
