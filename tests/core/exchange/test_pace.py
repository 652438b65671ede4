"""The pace against simulated servers: nothing is lost, little is wasted, and most of what there is is used.

The bars hold for a job of ten windows or more. What the start costs is counted apart: nobody knows the quota then.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable

import pytest

from kimi_vertex import Pace
from kimi_vertex._exchange.pace import Pacer, Turn

from .support_servers import START, Bucket, Fixed, Job, Pool, Queue, Server, Sliding, run

QUOTAS: list[type[Sliding | Fixed | Bucket]] = [Sliding, Fixed, Bucket]


def of_quota(job: Job, per_second: float, latency: float = 0.0) -> float:
    """The rows that were answered, as a part of what the quota admits in that time."""
    return len(job.answered) / ((job.answered[-1] - latency) * per_second)


@pytest.mark.parametrize("quota", QUOTAS)
@pytest.mark.parametrize("concurrency", [128, 32])
def test_a_quota_is_used_and_kept(quota: type[Sliding], concurrency: int) -> None:
    """Of 2,000 rows under a quota none is lost, 2 % of the requests are wasted at most, and 0.9 of the quota is used."""
    job = run(quota(200), 2000, concurrency=concurrency, seed=concurrency)
    assert len(job.answered) == 2000
    assert job.at_start <= 128
    assert job.wasted() <= 0.02
    assert of_quota(job, 40) >= 0.9


@pytest.mark.parametrize("quota", QUOTAS)
def test_two_processes_share_a_quota(quota: type[Sliding]) -> None:
    """Two processes that do not know of each other waste 3 % at most and use 0.85 of the quota."""
    job = run(quota(200), 2000, processes=2)
    assert job.wasted() <= 0.03
    assert of_quota(job, 40) >= 0.85


@pytest.mark.parametrize("quota", [Sliding, Fixed])
@pytest.mark.parametrize("apart", [1.0, 2.5])
def test_a_process_that_comes_late_finds_its_share(quota: type[Sliding], apart: float) -> None:
    """A process that begins when another one has just used up the quota is not held to the little that it gets first."""
    job = run(quota(200), 1500, processes=2, apart=apart)
    assert job.wasted() <= 0.03
    assert of_quota(job, 40) >= 0.7


@pytest.mark.parametrize("quota", QUOTAS)
@pytest.mark.parametrize("at_first", [0, 4])
def test_little_at_first_is_no_quota_for_long(quota: type[Sliding], at_first: int) -> None:
    """Where a target takes next to nothing for 15 seconds, the job lasts 2.5 times as long as it has to at most."""
    job = run(quota(at_first), 1000, changes=((15.0, 200),))
    assert job.wasted() <= 0.02
    assert job.answered[-1] <= 2.5 * (15 + 1000 / 40)


def test_a_quota_of_a_minute_is_learned() -> None:
    """600 requests in a minute, over ten minutes: less than 1 % wasted, and 0.9 used."""
    job = run(Sliding(600, 60), 6000)
    assert len(job.answered) == 6000
    assert job.wasted(60) <= 0.01
    assert of_quota(job, 10) >= 0.9


@pytest.mark.parametrize(("latency", "per_second", "rows"), [(5.0, 40, 2000), (20.0, 20, 1800)])
def test_long_answers_change_nothing(latency: float, per_second: int, rows: int) -> None:
    """The bars hold for answers of 5 and 20 seconds, if twice as many may run as the quota admits in that time."""
    concurrency = int(2 * per_second * latency)
    job = run(Sliding(5 * per_second), rows, seconds=latency, concurrency=concurrency)
    assert job.at_start <= 128
    assert job.wasted() <= 0.02
    assert of_quota(job, per_second, latency) >= 0.9


@pytest.mark.parametrize("work", [0.002, 0.004])
def test_a_busy_process_does_not_run_ahead_of_its_requests(work: float) -> None:
    """Where writing a request takes a while, no more are on their way than the start may cost, and as many are made."""
    job = run(Sliding(400), 800, seconds=5.0, concurrency=800, work=work)
    free = run(Queue(0), 1000, seconds=30.0, concurrency=1000, work=work)
    assert job.at_start <= 128
    assert free.answered[999] <= 36 + 1.5 * max(1.0, 1000 * work)


@pytest.mark.parametrize("quota", [Sliding, Fixed])
def test_a_busy_process_does_not_take_a_quota_for_a_pool(quota: type[Sliding]) -> None:
    """Where refusals are read when the answers beside them are over, these still count as what was admitted."""
    job = run(quota(400), 4000, work=0.004)
    assert job.wasted() <= 0.02
    assert of_quota(job, 80) >= 0.9


@pytest.mark.parametrize("latency", [0.2, 5.0])
def test_a_pool_is_filled(latency: float) -> None:
    """A pool of 16 places is kept full to 0.85, with 2 % of the requests wasted at most."""
    rows = 2000 if latency < 1 else 1000
    job = run(Pool(16), rows, seconds=latency)
    assert len(job.answered) == rows
    assert job.at_start <= 128
    assert job.wasted(5 + latency) <= 0.02
    assert rows * latency / 16 / job.answered[-1] >= 0.85


def test_a_queue_is_not_held_back() -> None:
    """An engine that lets requests wait refuses nothing, and gets all that the job has."""
    job = run(Queue(0), 1000, concurrency=500, seconds=1.0)
    assert (job.refused, job.peak) == ([], 500)


@pytest.mark.parametrize("first", [1.0, 0.2], ids=["whole", "streamed"])
@pytest.mark.parametrize(("seconds", "patience"), [(0.2, 5.0), (5.0, 20.0), (5.0, 600.0)])
def test_no_more_wait_in_an_engine_than_are_answered_in_time(
    seconds: float, patience: float, first: float
) -> None:
    """Of rows that are asked for all at once, some are given up, each once, and hardly any again; all are answered."""
    rows = int(1.2 * 4 * patience / seconds) + 200
    job = run(Queue(4), rows, concurrency=rows, seconds=seconds, patience=patience, first=first)
    assert (len(job.answered), job.lost) == (rows, 0)
    assert job.late
    assert sum(at > 1.5 * patience for at in job.late) <= 0.02 * rows
    assert rows * seconds / 4 / job.answered[-1] >= 0.85


def test_three_quarters_of_what_an_engine_answers_in_time_may_run() -> None:
    """Eight places of 0.2 s each answer 200 in five seconds; after a while 150 may run."""
    job = run(Queue(8), 440, concurrency=440, patience=5.0)
    limit = job.pacers[0].state(START + job.answered[-1]).limit
    assert limit is not None
    assert 0.65 * 200 <= limit <= 0.85 * 200


def test_a_short_queue_is_one() -> None:
    """Where only three wait for two that are answered, they are given up once, and not again."""
    job = run(Queue(16), 400, concurrency=40, seconds=5.0, patience=7.0)
    assert job.lost == 0
    assert len(job.late) <= 40


def test_a_slower_engine_is_given_less() -> None:
    """Where an engine loses three quarters of its places, rows are given up once more, and then no more."""
    job = run(Queue(16), 1500, concurrency=1000, seconds=0.5, patience=5.0, changes=((20.0, 4),))
    assert job.lost == 0
    assert job.answered[-1] > 60
    assert not [at for at in job.late if at > 40]


def test_a_faster_engine_is_given_more() -> None:
    """Where an engine has ten times the places, they are used to 0.85 after a while, and few rows are given up for it."""
    job = run(Queue(4), 1750, concurrency=500, seconds=1.0, patience=10.0, changes=((20.0, 40),))
    assert job.lost == 0
    assert job.between(40, 60) >= 0.85 * 20 * 40
    assert sum(at > 20 for at in job.late) <= 0.02 * 1750


@pytest.mark.parametrize(
    ("seconds", "patience"),
    [
        (lambda _: 20.0, 22.0),
        (lambda draw: draw.choice([0.5, 0.5, 0.5, 20.0]), 18.0),
        (lambda draw: 2 * draw.paretovariate(1.2), 10.0),
    ],
    ids=["long", "short and long", "of all lengths"],
)
def test_answers_that_take_long_by_themselves_bound_nothing(
    seconds: Callable[[random.Random], float], patience: float
) -> None:
    """Where requests run beside each other, those which are given up say nothing about the others."""
    job = run(Queue(0), 2400, concurrency=400, seconds=seconds, patience=patience)
    assert len(job.late) > 100
    assert job.pacers[0].state(START + job.answered[-1]).limit is None


def test_a_thousand_requests_run_within_a_second() -> None:
    """64 go at once; then the number doubles each quarter of a second, smoothly."""
    job = run(Queue(0), 1000, concurrency=1000, seconds=30.0)
    pacer, now = Pacer(threading.Lock(), random.random), itertools.count()
    at_once = [pacer.turn(0.001 * next(now), Pace(), 1) for _ in range(70)]
    assert sum(isinstance(turn, Turn) for turn in at_once) in range(64, 68)
    assert job.peak == 1000
    assert job.answered[999] <= 37.5


def test_a_quota_of_tokens_is_told_from_one_of_requests() -> None:
    """Prompts of very different sizes under a quota of tokens: 2 % wasted at most, and 0.85 of it used."""
    job = run(Sliding(40_000, sizes=True), 2500, size=lambda draw: min(3000.0, 33 * draw.paretovariate(1.5)))
    assert len(job.answered) == 2500
    assert job.wasted() <= 0.02
    mixed = run(Sliding(40_000, sizes=True), 2500, size=lambda draw: draw.choice([20, 50, 80, 250]))
    assert mixed.wasted() <= 0.02
    assert of_quota(mixed, 80) >= 0.85


@pytest.mark.parametrize("quota", QUOTAS)
def test_a_quota_that_falls_to_a_quarter_is_followed(quota: type[Sliding]) -> None:
    """Within three windows the pace is that of the smaller quota, and 3 % are wasted at most."""
    job = run(quota(400), 2200, changes=((15.0, 100),))
    assert len(job.answered) == 2200
    assert job.wasted() <= 0.03
    assert 0.65 * 400 <= job.between(30, 50) <= 1.1 * 400


@pytest.mark.parametrize("quota", QUOTAS)
def test_a_quota_that_grows_fourfold_is_followed(quota: type[Sliding]) -> None:
    """Within three windows the pace is that of the larger quota, and 3 % are wasted at most."""
    job = run(quota(100), 3600, changes=((15.0, 400),))
    assert job.wasted() <= 0.03
    assert job.between(30, 45) >= 0.75 * 3 * 400


def test_own_limits_are_kept() -> None:
    """Ten requests at a time, 600 in a minute: neither is exceeded."""
    job = run(Queue(0), 300, pace=Pace(max_concurrency=10, requests_per_minute=600), seconds=0.5)
    assert job.peak <= 10
    assert max(job.between(at, at + 10) for at in range(20)) <= 106


def test_own_tokens_are_kept() -> None:
    """6,000 tokens in a minute are one prompt of 100 tokens a second."""
    job = run(Queue(0), 30, pace=Pace(tokens_per_minute=6000))
    assert 28 <= job.answered[-1] <= 31


def drought(seconds: float) -> tuple[list[float], list[float]]:
    """When a waiting process asks a server that refuses everything for so long, and when it is answered."""

    class Dry(Pool):
        def admits(self, now: float, running: int, size: float) -> bool:
            return now - 1000.3 >= seconds

    job = run(Dry(0), 20, concurrency=20)
    return job.refused, job.answered


def test_a_drought_is_probed_one_at_a_time() -> None:
    """In 100 seconds without an answer, requests ask one by one, 15 seconds apart at most; then all are answered."""
    refused, answered = drought(100.0)
    probes = [at for at in refused if at > 0.1]  # the first ones were under way together
    pauses = [after - before for before, after in itertools.pairwise([*probes, answered[0]])]
    assert len(answered) == 20
    assert max(pauses) <= 15.3
    assert min(pauses) >= 0.05


class Clock:
    """One process on a clock of the test's."""

    def __init__(self) -> None:
        self.pacer = Pacer(threading.Lock(), lambda: 0.5)

    def turn(self, now: float, pace: Pace | None = None) -> Turn:
        turn = self.pacer.turn(now, pace or Pace(), 1.0)
        assert isinstance(turn, Turn)
        return turn


def test_a_refusal_holds_for_all() -> None:
    """After one refusal nobody else asks, and the wait that the service names is kept."""
    clock = Clock()
    first = clock.turn(0.0)
    clock.pacer.refused(first, 0.1, 7.0, 429, "Slow down.")
    assert clock.pacer.turn(3.0, Pace(), 1.0) == pytest.approx(4.1)
    assert clock.pacer.state(0.2).closed_for == pytest.approx(0.1)
    assert isinstance(clock.pacer.turn(7.2, Pace(), 1.0), Turn)
    assert not isinstance(clock.pacer.turn(7.2, Pace(), 1.0), Turn)


def test_a_wait_of_years_is_not_kept_by_all() -> None:
    """A service that wants to be left alone for years is asked again by others before they give up, after a minute."""
    clock = Clock()
    clock.pacer.refused(clock.turn(0.0), 0.0, 1e9, 429, "")
    assert not isinstance(clock.pacer.turn(59.0, Pace(), 1.0), Turn)
    assert isinstance(clock.pacer.turn(61.0, Pace(), 1.0), Turn)


def test_a_probe_that_is_lost_does_not_keep_the_gate_closed() -> None:
    """Where a probe's connection breaks, the next one asks."""
    clock = Clock()
    clock.pacer.refused(clock.turn(0.0), 0.1, None, 429, "")
    probe = clock.turn(1.0)
    clock.pacer.gone(probe, 1.1)
    assert isinstance(clock.pacer.turn(5.0, Pace(), 1.0), Turn)


def test_a_probe_that_is_not_refused_opens_the_gate() -> None:
    """An answer may take minutes; that it has not been refused for a moment says enough."""
    clock = Clock()
    clock.pacer.refused(clock.turn(0.0), 0.1, None, 429, "")
    clock.turn(1.0)
    clock.pacer.turn(3.0, Pace(), 1.0)
    assert clock.pacer.state(3.0).closed_for is None


def test_a_small_quota_is_tried_at_more_and_more_seldom() -> None:
    """Where 16 requests in five seconds are all that there is, hardly more are refused than one in 20."""
    jobs = [run(Sliding(16), 640, seed=seed) for seed in (1, 2)]
    assert max(job.wasted() for job in jobs) <= 0.055
    assert min(of_quota(job, 3.2) for job in jobs) >= 0.9


def test_what_was_learned_is_forgotten() -> None:
    """After an hour without a refusal the pace is as at the start."""
    clock = Clock()
    clock.pacer.refused(clock.turn(0.0), 0.1, None, 429, "")
    probe = clock.turn(1.0)
    clock.pacer.admitted(probe, 1.1)
    clock.pacer.gone(probe, 1.2)
    assert clock.pacer.state(1.2).per_second is not None
    clock.turn(3600.0)
    assert clock.pacer.state(3600.0).per_second is None


def test_a_queue_is_served_in_its_order() -> None:
    """Who came first is answered first, a few places aside, and newcomers do not go before those that wait."""
    waits: list[tuple[int, int]] = []
    pacer = Pacer(threading.Lock(), lambda: 0.5)
    pace = Pace(requests_per_minute=600)
    waiters = {number: pacer.join(0.0) for number in range(50)}
    assert not isinstance(pacer.turn(0.0, pace, 1.0), Turn)
    due = dict.fromkeys(waiters, 0.0)
    now = 0.0
    while waiters:
        number = min(due, key=lambda one: (due[one], -one))  # the worst order of those that wake together
        now = max(now, due[number])
        turn = pacer.turn(now, pace, 1.0, waiters[number])
        if isinstance(turn, Turn):
            waits.append((number, len(waits)))
            del waiters[number], due[number]
            pacer.gone(turn, now)
        else:
            due[number] = now + turn
    assert max(abs(number - place) for number, place in waits) <= 8


@pytest.mark.parametrize("server", [Pool(16), Queue(0)], ids=["a pool", "own limit"])
def test_places_go_to_who_came_first(server: Pool) -> None:
    """Where places are short, a request is not overtaken by more than a few, is asked for seldom, and no place stays empty."""
    pace = Pace(max_concurrency=16) if server.limit == 0 else None
    job = run(server, 1200, concurrency=400, pace=pace)
    assert max(job.overtook[64:]) <= 8
    assert 1200 * 0.2 / 16 / job.answered[-1] >= 0.93
    assert job.asked <= 30 * 1200


def test_waiters_that_give_up_leave_no_hole() -> None:
    """Of 10,000 waiters all but the last one give up: it is the first then."""
    clock = Clock()
    pacer, pace = clock.pacer, Pace(max_concurrency=1)
    running = clock.turn(0.0, pace)
    waiters = [pacer.join(0.0) for _ in range(10_000)]
    for waiter in waiters:
        assert not isinstance(pacer.turn(0.0, pace, 1.0, waiter), Turn)
    for waiter in waiters[:-1]:
        pacer.leave(waiter)
    woken: list[bool] = []
    waiters[-1].wake = lambda: woken.append(True)
    pacer.gone(running, 1.0)
    assert woken == [True]
    assert isinstance(pacer.turn(1.0, pace, 1.0, waiters[-1]), Turn)
    assert pacer.state(1.0).waiting == 0


def test_waiters_that_stand_still_hold_nobody_up() -> None:
    """Those whose event loop does not run lose their place after a moment, and have it again when they are back."""
    clock = Clock()
    pacer, pace = clock.pacer, Pace(max_concurrency=1)
    running = clock.turn(0.0, pace)
    still, last = [pacer.join(0.0) for _ in range(100)], pacer.join(0.0)
    for waiter in (*still, last):
        pacer.turn(0.0, pace, 1.0, waiter)
    pacer.gone(running, 1.0)
    assert not isinstance(pacer.turn(1.0, pace, 1.0, last), Turn)
    turn = pacer.turn(7.0, pace, 1.0, last)
    assert isinstance(turn, Turn)
    late = pacer.join(7.0)
    assert not isinstance(pacer.turn(7.0, pace, 1.0, still[0]), Turn)
    pacer.gone(turn, 7.1)
    assert isinstance(pacer.turn(7.1, pace, 1.0, still[0]), Turn)
    pacer.leave(late)


def test_a_finalizer_does_not_wait_for_its_own_thread() -> None:
    """A turn that the garbage collector gives back while its thread takes another one is given back."""
    pacer = Pacer(threading.Lock(), lambda: 0.5)
    turn = pacer.turn(0.0, Pace(), 1.0)
    assert isinstance(turn, Turn)
    waiter = pacer.join(0.0)

    def collect() -> None:
        with pacer._held:
            pacer.gone(turn, 1.0)
            pacer.leave(waiter)

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    state = pacer.state(1.0)
    assert (state.running, state.waiting) == (0, 0)


def ended(act: Callable[[Pacer, Turn], None]) -> int:
    clock = Clock()
    act(clock.pacer, clock.turn(0.0))
    return clock.pacer.state(1.0).running


@pytest.mark.parametrize(
    "act",
    [
        lambda pacer, turn: pacer.gone(turn, 1.0),
        lambda pacer, turn: pacer.refused(turn, 1.0, None, 503, ""),
        lambda pacer, turn: pacer.renew(threading.Lock()),
    ],
)
def test_nothing_runs_when_all_is_over(act: Callable[[Pacer, Turn], None]) -> None:
    """A request that has ended, was refused, or is its parent's in a forked child takes no place."""
    assert ended(act) == 0


def test_a_turn_of_the_parent_does_not_count_in_the_child() -> None:
    """What a parent's request comes to is nothing to a forked child."""
    clock = Clock()
    turn = clock.turn(0.0)
    clock.pacer.renew(threading.Lock())
    clock.pacer.gone(turn, 1.0)
    clock.pacer.refused(turn, 1.0, None, 429, "")
    assert (clock.pacer.state(1.0).running, clock.pacer.state(1.0).refused) == (0, 0)


def test_servers_refuse() -> None:
    """Without a pace these servers would refuse: the simulation can fail."""
    server: Server
    for server in (Sliding(2), Fixed(2), Bucket(2), Pool(2)):
        assert [server.admits(1000.3, running, 1) for running in range(3)] == [True, True, False]
