"""The line search: paper against oracle, oracle against kernel bit for bit, and what it promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from fastbfgs.kernels.probe import LineSearch
from tests import oracle

Ray = Callable[[float], tuple[float, float]]
"""phi and dphi at a step length."""

EPS = 2.0**-52
SETTINGS = {
    "loose": {"c1": 1e-3, "c2": 0.95, "maxls": 20, "eps": EPS},
    "float32": {"c1": 1e-3, "c2": 0.95, "maxls": 20, "eps": 2.0**-23},
    "scipy": {"c1": 1e-3, "c2": 0.9, "maxls": 20, "eps": EPS},
    "tight": {"c1": 1e-3, "c2": 1e-2, "maxls": 40, "eps": EPS},
    "armijo": {"c1": 0.45, "c2": 0.5, "maxls": 10, "eps": EPS},
    "hurried": {"c1": 0.1, "c2": 0.4, "maxls": 3, "eps": EPS},
}
each_setting = pytest.mark.parametrize("setting", SETTINGS)


class Search(NamedTuple):
    """What a search did: each trial as (alpha, phi, dphi), its verdict, and the step it ended at."""

    trials: list[tuple[float, float, float]]
    verdict: str
    step: float


def kernel(ray: Ray, alpha: float, setting: dict) -> Search:
    search = LineSearch(*ray(0.0), alpha, **setting)
    trials, verdict = [], "TRIAL"
    while verdict == "TRIAL":
        trials.append((search.alpha, *ray(search.alpha)))
        verdict = search.step(*trials[-1][1:])
        assert len(trials) <= setting["maxls"]
    return Search(trials, verdict, {"ACCEPT": trials[-1][0], "TAKE_LO": search.lo, "GIVE_UP": 0.0}[verdict])


def slow(ray: Ray, alpha: float, setting: dict, choices: oracle.Choices = oracle.OURS) -> Search:
    search = oracle.line_search(*ray(0.0), alpha, **setting, choices=choices)
    alpha = next(search)
    trials = []
    while True:
        trials.append((alpha, *ray(alpha)))
        try:
            alpha = search.send(trials[-1][1:])
        except StopIteration as end:
            return Search(trials, end.value.verdict, end.value.alpha)


def same(a: Search, b: Search) -> bool:
    """Compare bit for bit; as text, because NaN has to equal NaN."""
    return repr(a) == repr(b)


# ----------------------------------------------------------------------------------------------
# The functions of Moré and Thuente, section 5


def mt_1(a: float, beta: float = 2.0) -> tuple[float, float]:
    return -a / (a * a + beta), (a * a - beta) / (a * a + beta) ** 2


def mt_2(a: float, beta: float = 0.004) -> tuple[float, float]:
    t = a + beta
    return t**5 - 2.0 * t**4, 5.0 * t**4 - 8.0 * t**3


def mt_3(a: float, beta: float = 0.01, waves: float = 39.0) -> tuple[float, float]:
    if a <= 1.0 - beta:
        phi, dphi = 1.0 - a, -1.0
    elif a >= 1.0 + beta:
        phi, dphi = a - 1.0, 1.0
    else:
        phi, dphi = (a - 1.0) ** 2 / (2.0 * beta) + beta / 2.0, (a - 1.0) / beta
    angle = waves * math.pi / 2.0
    return phi + (1.0 - beta) / angle * math.sin(angle * a), dphi + (1.0 - beta) * math.cos(angle * a)


def yanai(beta_1: float, beta_2: float) -> Ray:
    def gamma(beta: float) -> float:
        return math.sqrt(1.0 + beta * beta) - beta

    def ray(a: float) -> tuple[float, float]:
        left, right = math.hypot(1.0 - a, beta_2), math.hypot(a, beta_1)
        return (
            gamma(beta_1) * left + gamma(beta_2) * right,
            gamma(beta_1) * (a - 1.0) / left + gamma(beta_2) * a / right,
        )

    return ray


# Function, c1, c2 of tables I to VI; then for the first steps 1e-3, 1e-1, 1e1, 1e3 the evaluations and alpha printed.
TABLES = {
    "I": (mt_1, 1e-3, 0.1, [(6, 1.4), (3, 1.4), (1, 10.0), (4, 37.0)]),
    "II": (mt_2, 0.1, 0.1, [(12, 1.6), (8, 1.6), (8, 1.6), (11, 1.6)]),
    "III": (mt_3, 0.1, 0.1, [(12, 1.0), (12, 1.0), (10, 1.0), (13, 1.0)]),
    "IV": (yanai(0.001, 0.001), 1e-3, 1e-3, [(4, 0.085), (1, 0.10), (3, 0.35), (4, 0.83)]),
    "V": (yanai(0.01, 0.001), 1e-3, 1e-3, [(6, 0.075), (3, 0.078), (7, 0.073), (8, 0.076)]),
    "VI": (yanai(0.001, 0.01), 1e-3, 1e-3, [(13, 0.93), (11, 0.93), (8, 0.92), (11, 0.92)]),
}
FIRST = (1e-3, 1e-1, 1e1, 1e3)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("row", range(4), ids=lambda row: f"{FIRST[row]:g}")
def test_oracle_repeats_the_tables_of_the_paper(table, row):
    ray, c1, c2, printed = TABLES[table]
    found = slow(ray, FIRST[row], {"c1": c1, "c2": c2, "maxls": 50, "eps": EPS}, oracle.PAPER)
    assert found.verdict == "ACCEPT"
    assert (len(found.trials), float(f"{found.step:.2g}")) == printed[row]


def minpack(ray: Ray, alpha: float, setting: dict) -> list[float]:
    """Return the trials of MINPACK-2's dcsrch, in SciPy's translation."""
    dcsrch = pytest.importorskip("scipy.optimize._dcsrch").DCSRCH
    trials: list[float] = []

    def phi(a: float) -> float:
        trials.append(a)
        return ray(a)[0]

    search = dcsrch(phi, lambda a: ray(a)[1], setting["c1"], setting["c2"], 0.1, 0.0, 1e30)
    search(alpha, *ray(0.0), maxiter=setting["maxls"])
    return trials


@pytest.mark.parametrize("kind", ["cubic", "quartic", "soft"])
def test_oracle_follows_minpack(kind):
    """With MINPACK's choices both try the same steps, but for MINPACK's last look at its best one."""
    setting = {"c1": 1e-3, "c2": 0.1, "maxls": 30, "eps": EPS}
    for seed in range(200):
        ray, alpha = RAYS[kind](np.random.default_rng([seed, 1]))
        found = slow(ray, alpha, setting, oracle.MINPACK)
        ours, theirs = [trial[0] for trial in found.trials], minpack(ray, alpha, setting)
        if found.verdict == "TAKE_LO" and len(theirs) == len(ours) + 1:
            theirs.pop()
        # Their cubic in case 3 is the same in another order of additions, and rounding grows from trial to trial.
        assert len(ours) == len(theirs) and np.allclose(ours, theirs, rtol=1e-6, atol=0.0), seed


# ----------------------------------------------------------------------------------------------
# Many more functions: name -> rng -> (ray, first step); dphi(0) < 0 for all of them


def polynomial(*c: float) -> Ray:
    """c[0] + c[1] alpha + c[2] alpha**2 + ..."""

    def ray(a: float) -> tuple[float, float]:
        phi = dphi = 0.0
        for k in reversed(range(len(c))):
            dphi = dphi * a + phi
            phi = phi * a + c[k]
        return phi, dphi

    return ray


def size(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a positive number whose order of magnitude is uniform."""
    return float(10.0 ** rng.uniform(low, high))


def a_cubic(rng):
    return polynomial(rng.normal(), -size(rng, -3, 3), *(rng.normal() * size(rng, -2, 2) for _ in range(2))), 1.0


def a_quartic(rng):
    c = rng.normal(), -size(rng, -3, 3), *(rng.normal() * size(rng, -2, 2) for _ in range(2))
    return polynomial(*c, rng.normal() ** 2), size(rng, -2, 2)


def a_parabola(rng):
    """Mostly accepted at once."""
    return polynomial(rng.normal(), -1.0, size(rng, -1, 1)), 1.0


def waves(rng):
    k, h, tilt, shift = rng.uniform(1, 30), rng.normal(), rng.uniform(0, 1), rng.uniform(0, 6)
    slope = h * k * math.cos(shift) - tilt
    sign = -1.0 if slope > 0.0 else 1.0
    return (
        lambda a: (sign * (h * math.sin(k * a + shift) - tilt * a), sign * (h * k * math.cos(k * a + shift) - tilt))
    ), size(rng, -3, 1)


def soft(rng):
    """sqrt(1 + (a - c)**2): steep on both sides, and never steeper than 1."""
    c, width = size(rng, -2, 3), size(rng, -2, 1)
    return lambda a: (math.hypot(width, a - c), (a - c) / math.hypot(width, a - c)), size(rng, -3, 3)


def log_domain(rng, outside=math.nan, slope_outside=math.nan):
    """p alpha - log(edge - alpha) - q log(alpha + r): not defined from `edge` on."""
    edge, r, q = size(rng, -4, 2), size(rng, -3, 1), size(rng, -1, 2)
    p = q / r - 1.0 / edge - size(rng, -3, 1)  # dphi(0) = p + 1 / edge - q / r

    def ray(a: float) -> tuple[float, float]:
        if a >= edge:
            return outside, slope_outside
        return p * a - math.log(edge - a) - q * math.log(a + r), p + 1.0 / (edge - a) - q / (a + r)

    return ray, size(rng, -1, 3)


def falls_to_the_edge(rng):
    """The lower the nearer to the last defined point: no minimiser at all."""
    edge, c = size(rng, -3, 1), size(rng, -2, 2)
    return lambda a: (-a * c, -c) if a < edge else (math.inf, 1.0), 1.0


def hole(rng):
    """A quartic that is not defined in an interval in the middle."""
    ray, alpha = a_quartic(rng)
    left = size(rng, -2, 1)
    right = left * (1.0 + size(rng, -2, 1))
    bad = [(math.nan, 0.0), (1.0, math.nan), (-math.inf, -math.inf), (0.0, -math.inf), (0.0, math.inf)]
    there = bad[rng.integers(len(bad))]
    return lambda a: there if left < a < right else ray(a), alpha


def nowhere(rng):
    """Defined at 0 only."""
    return lambda a: (1.0, -1.0) if a == 0.0 else (math.nan, math.nan), 1.0


def noise(rng):
    """A parabola whose depth is a few rounding units of its value."""
    top, depth, at = 1.0 + rng.uniform(), size(rng, -17, -13), size(rng, -1, 1)
    return lambda a: (top + depth * (a / at) * (a / at - 2.0), 2.0 * depth / at * (a / at - 1.0)), 1.0


def flat(rng):
    """A constant that claims to fall."""
    value, slope = float(rng.integers(-1, 2)), size(rng, -20, 0)
    return lambda a: (value, -slope), 1.0


def flat_with_turning_slope(rng):
    value, slope, at = rng.normal(), size(rng, -20, 0), size(rng, -2, 2)
    return lambda a: (value, slope * (a / at - 1.0)), 1.0


def wrong_sign(rng):
    """The slope belongs to -phi."""
    c = size(rng, -3, 3)
    return lambda a: (c * a, -c), size(rng, -3, 3)


def jump(rng):
    """Falls, but for a step up."""
    at, up = size(rng, -6, 1), size(rng, -3, 3)
    return lambda a: (-a + (up if a > at else 0.0), -1.0), 1.0


def explodes(rng):
    """exp(k alpha) - slope alpha, up to overflow."""
    k = size(rng, 0, 4)

    def ray(a: float) -> tuple[float, float]:
        e = math.exp(k * a) if k * a < 709.0 else math.inf
        return e - 2.0 * k * a, k * e - 2.0 * k

    return ray, size(rng, -2, 1)


def huge(rng):
    """Scales at the ends of float64's range."""
    c = float(10.0 ** rng.integers(-150, 150))
    ray, alpha = a_quartic(rng)
    return lambda a: tuple(c * z for z in ray(a)), alpha


RAYS = {
    "cubic": a_cubic,
    "quartic": a_quartic,
    "parabola": a_parabola,
    "waves": waves,
    "soft": soft,
    "log_domain_nan": log_domain,
    "log_domain_inf": lambda rng: log_domain(rng, math.inf, 0.0),
    "log_domain_minus_inf_slope": lambda rng: log_domain(rng, 0.0, -math.inf),
    "falls_to_the_edge": falls_to_the_edge,
    "hole": hole,
    "nowhere": nowhere,
    "noise": noise,
    "flat": flat,
    "flat_with_turning_slope": flat_with_turning_slope,
    "wrong_sign": wrong_sign,
    "jump": jump,
    "explodes": explodes,
    "huge": huge,
}
each_kind = pytest.mark.parametrize("kind", RAYS)
SEEDS = 120


def rays(kind: str, setting: str):
    for seed in range(SEEDS):
        yield seed, *RAYS[kind](np.random.default_rng([seed, list(SETTINGS).index(setting)]))


@each_setting
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("alpha", FIRST)
def test_kernel_is_the_oracle_on_the_functions_of_the_paper(table, alpha, setting):
    ray = TABLES[table][0]
    assert same(kernel(ray, alpha, SETTINGS[setting]), slow(ray, alpha, SETTINGS[setting]))


@each_setting
@each_kind
def test_kernel_is_the_oracle(kind, setting):
    for seed, ray, alpha in rays(kind, setting):
        ours, theirs = kernel(ray, alpha, SETTINGS[setting]), slow(ray, alpha, SETTINGS[setting])
        assert same(ours, theirs), (seed, ours, theirs)


# ----------------------------------------------------------------------------------------------
# What it promises


@each_setting
@each_kind
def test_promises(kind, setting):
    o = SETTINGS[setting]
    for seed, ray, first in rays(kind, setting):
        (phi0, dphi0), (trials, verdict, step) = ray(0.0), kernel(ray, first, o)
        alphas = [trial[0] for trial in trials]
        assert alphas[0] == first and len(set(alphas)) == len(alphas) <= o["maxls"], seed
        assert all(0.0 < a < math.inf for a in alphas), seed
        falls = [
            (a, phi)
            for a, phi, dphi in trials
            if math.isfinite(phi) and math.isfinite(dphi) and phi <= phi0 + o["c1"] * a * dphi0
        ]
        if verdict == "GIVE_UP":
            # Nothing it saw has sufficient decrease.
            assert all(phi >= phi0 for _, phi in falls), seed
        elif verdict == "TAKE_LO":
            # The best it saw, which has.
            assert step in [a for a, _ in falls], seed
            assert ray(step)[0] < phi0, seed
        else:
            assert step == alphas[-1], seed
            assert is_wolfe(phi0, dphi0, *trials[-1], o) or is_approximate_wolfe(phi0, dphi0, *trials[-1], o), seed


def is_wolfe(phi0: float, dphi0: float, alpha: float, phi: float, dphi: float, o: dict) -> bool:
    """N&W (3.7)."""
    return phi <= phi0 + o["c1"] * alpha * dphi0 and abs(dphi) <= o["c2"] * abs(dphi0)


def is_approximate_wolfe(phi0: float, dphi0: float, alpha: float, phi: float, dphi: float, o: dict) -> bool:
    """HZ (4.1), where phi is within ten rounding units of phi0."""
    return phi <= phi0 + 10.0 * o["eps"] * abs(phi0) and (2.0 * o["c1"] - 1.0) * dphi0 >= dphi >= o["c2"] * dphi0


@each_setting
@pytest.mark.parametrize("kind", [k for k in RAYS if k.startswith(("log_domain", "falls", "nowhere", "explodes"))])
def test_never_back_to_where_nothing_is_defined(kind, setting):
    """A trial lies short of every step without finite phi and dphi, and at most half way from the last finite one."""
    met = 0
    for seed, ray, first in rays(kind, setting):
        shortest, last = math.inf, 0.0
        for alpha, phi, dphi in kernel(ray, first, SETTINGS[setting]).trials:
            assert alpha < shortest, seed
            assert last == 0.0 or shortest == math.inf or alpha <= last + 0.5 * (shortest - last) * (1 + EPS), seed
            if math.isfinite(phi) and math.isfinite(dphi):
                last = max(last, alpha)
            else:
                shortest = alpha
                met += 1
    assert met > 0


def test_a_tenth_until_something_is_defined():
    setting = SETTINGS["loose"]
    found = kernel(lambda a: (1.0, -1.0) if a == 0.0 else (math.nan, math.nan), 1.0, setting)
    assert found.verdict == "GIVE_UP"
    np.testing.assert_allclose([a for a, _, _ in found.trials], 10.0 ** -np.arange(20.0), rtol=1e-14)


@pytest.mark.parametrize("maxls", [1, 2, 5])
def test_evaluations_run_out(maxls):
    """A slope that never flattens: each move is nine times the last one, and the farthest point is taken."""
    found = kernel(lambda a: (-a, -1.0), 1.0, SETTINGS["loose"] | {"maxls": maxls})
    assert [a for a, _, _ in found.trials] == [1.0, 10.0, 91.0, 820.0, 7381.0][:maxls]
    assert (found.verdict, found.step) == ("TAKE_LO", found.trials[-1][0])


# ----------------------------------------------------------------------------------------------
# A largest step: where bounds end the ray


def ends(kind: str, setting: str):
    """Every ray with a largest step: the first trial itself, a little more, or up to a thousand times as much."""
    for seed, ray, first in rays(kind, setting):
        rng = np.random.default_rng([seed, list(SETTINGS).index(setting), 2])
        yield seed, ray, first, first * [1.0, 1.0 + rng.uniform(), size(rng, 0, 1), size(rng, 0, 3)][seed % 4]


@each_setting
@each_kind
def test_kernel_is_the_oracle_with_a_largest_step(kind, setting):
    for seed, ray, first, largest in ends(kind, setting):
        o = SETTINGS[setting] | {"largest": largest}
        ours, theirs = kernel(ray, first, o), slow(ray, first, o)
        assert same(ours, theirs), (seed, largest, ours, theirs)


@each_setting
@each_kind
def test_promises_of_a_largest_step(kind, setting):
    """No trial is above it. A search that is still descending there, and far enough below, ends there."""
    o = SETTINGS[setting]
    for seed, ray, first, largest in ends(kind, setting):
        (phi0, dphi0), (trials, verdict, step) = ray(0.0), kernel(ray, first, o | {"largest": largest})
        assert max(alpha for alpha, _, _ in trials) <= largest, seed
        for k, (alpha, phi, dphi) in enumerate(trials):
            falls = math.isfinite(phi) and phi <= phi0 + o["c1"] * alpha * dphi0
            if alpha == largest and falls and -math.inf < dphi < 0.0:
                assert (verdict, step, k) == ("ACCEPT", largest, len(trials) - 1), seed
        if verdict == "ACCEPT" and step < largest:
            assert is_wolfe(phi0, dphi0, *trials[-1], o) or is_approximate_wolfe(phi0, dphi0, *trials[-1], o), seed


@each_setting
@each_kind
def test_a_largest_step_that_is_not_reached_changes_nothing(kind, setting):
    """Up to the trial that would have reached it, the search is that without one."""
    reached = 0
    for seed, ray, first, largest in ends(kind, setting):
        free = kernel(ray, first, SETTINGS[setting])
        assert same(free, kernel(ray, first, SETTINGS[setting] | {"largest": math.inf})), seed
        held = kernel(ray, first, SETTINGS[setting] | {"largest": largest})
        before = next((k for k, trial in enumerate(free.trials) if trial[0] >= largest), None)
        assert repr(held.trials[:before]) == repr(free.trials[:before]), seed
        assert before is not None or same(held, free), seed
        reached += before is not None
    assert 0 < reached < SEEDS


def test_a_slope_that_never_flattens_ends_at_the_largest_step():
    for largest, alphas in ((1.0, [1.0]), (1.5, [1.0, 1.5]), (10.0, [1.0, 10.0]), (50.0, [1.0, 10.0, 50.0])):
        found = kernel(lambda a: (-a, -1.0), 1.0, SETTINGS["loose"] | {"largest": largest})
        assert [a for a, _, _ in found.trials] == alphas
        assert (found.verdict, found.step) == ("ACCEPT", largest)


# ----------------------------------------------------------------------------------------------
# Recorded searches: those that once went wrong, and one of each kind that easily could


class Record(NamedTuple):
    """A search as it must go: where it starts, then its trials (alpha, phi, dphi), its verdict and its step."""

    setting: str
    start: tuple[float, float]
    search: Search


RECORDS = {
    # psi shifted to phi and back left phi(lo) an ulp below phi(0): a step that lowers nothing seemed to lower it.
    "constant": Record(
        "hurried",
        (1.0, -3.1452969379285e-16),
        Search(
            [
                (1.0, 1.0, -3.1452969379285e-16),
                (10.0, 1.0, -3.1452969379285e-16),
                (2.7013806373669804, 1.0, -3.1452969379285e-16),
            ],
            "GIVE_UP",
            0.0,
        ),
    ),
    # The cubic of case 3 falls for ever; the least steep point of it was taken for its minimiser.
    "cubic_without_minimiser": Record(
        "hurried",
        (1.0169296389247509, -95.71653519718258),
        Search(
            [
                (1.0, -80.84067128175914, -75.93752468270918),
                (10.0, -6715.227229354607, -2041.418100453921),
                (91.0, -5810694.86056115, -193353.5685849141),
            ],
            "TAKE_LO",
            91.0,
        ),
    ),
    "log_domain": Record(
        "loose",
        (-0.7829299291251288, -0.3029869810598065),
        Search(
            [
                (28.00046462960474, math.nan, math.nan),
                (2.800046462960474, math.nan, math.nan),
                (0.28000464629604743, -0.6951461114764146, 0.9181267204520251),
                (0.06797379000076918, -0.7930105027947949, 0.003895103995111615),
            ],
            "ACCEPT",
            0.06797379000076918,
        ),
    ),
    "bracket_too_narrow": Record(
        "tight",
        (1.5701097775327557, -0.24864918881095052),
        Search(
            [
                (1.3091419961979773, -194.83390631490113, -298.483373663317),
                (13.091419961979774, -10918.704093512084, -324.6195771657834),
                (119.13192165401594, 58771736.469266705, 2000944.7617743395),
                (39.87396792814825, 574664.3620469285, 66838.01281975655),
                (15.185217756498863, -10602.635447664168, 700.8389822593114),
                (13.859985398775644, -11046.986154477996, 0.34020545496969135),
            ],
            "TAKE_LO",
            13.859985398775644,
        ),
    ),
    "exponential": Record(
        "loose",
        (1.0, -37.3325513113498),
        Search(
            [
                (0.0947338112552796, 27.27850573851743, 1207.7758113377633),
                (0.035920460213426424, 1.1408688777469052, 68.05252690392072),
                (0.01856623566371354, 0.6137056393745004, -0.0016601590357367968),
            ],
            "ACCEPT",
            0.01856623566371354,
        ),
    ),
}


@pytest.mark.parametrize("search", [kernel, slow], ids=["kernel", "oracle"])
@pytest.mark.parametrize("record", RECORDS)
def test_recorded(record, search):
    setting, start, expected = RECORDS[record]
    told = {0.0: start} | {alpha: (phi, dphi) for alpha, phi, dphi in expected.trials}
    found = search(lambda a: told[a], expected.trials[0][0], SETTINGS[setting])
    assert same(found, expected)


def test_values_whose_cubic_overflows():
    # theta of the cubic is beyond float64, though every value is within: half way then.
    search = LineSearch(1e307, -1e308, 1.0, c1=1e-3, c2=0.9, maxls=20, eps=EPS)
    assert search.step(1.7e308, 1e308) == "TRIAL"
    assert search.alpha == 0.5
