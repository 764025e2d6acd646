"""Pathfinder: from 20 runs of L-BFGS in one call, the best normal approximation that any of their iterates suggests.

Minimising U = -log p, the negative log density, every iterate x has a normal of its own: its covariance is H, the
inverse Hessian that the last J pairs (s, y) make, its mean x - H g. Which of them is nearest to p, the ELBO says, an
average over draws: the mean of log p - log q, 0 if the normal is p itself. `fastbfgs.Paths` keeps x, g, s and y of
every iterate; nothing is evaluated for that.

L. Zhang, B. Carpenter, A. Gelman and A. Vehtari, "Pathfinder: Parallel quasi-Newton variational inference", Journal of
Machine Learning Research 23 (2022) 1-49, Algorithms 1 to 4. We deviate in four places: H is formed, n by n, where they
keep it as a diagonal plus a low rank, the same matrix; every pair is taken, as s.y > 0 after a step that satisfies
Wolfe's conditions; the start has its normal too, with H = I; and the weights of the draws that are resampled in the end
are not smoothed.
"""

import numpy as np

import fastbfgs

J = 6  # pairs
DRAWS = 200  # for each estimate of the ELBO
rng = np.random.default_rng(2022)


def normals(paths):
    """Return mean (K + 1, B, n) and covariance (K + 1, B, n, n) at every iterate; NaN behind a path's end."""
    x, g, s, y = paths.x, paths.g, paths.s, paths.y
    n = x.shape[-1]
    mean, covariance = np.full(x.shape, np.nan), np.full((*x.shape, n), np.nan)
    diagonal = np.ones(x.shape[1:])
    for k in range(len(x)):
        if k > 0:
            diagonal = next_diagonal(diagonal, s[k], y[k])
        H = diagonal[:, :, None] * np.eye(n)
        for j in range(max(1, k - J + 1), k + 1):
            H = bfgs_update(H, s[j], y[j])
        mean[k] = x[k] - (H @ g[k][:, :, None])[:, :, 0]
        covariance[k] = H
    return mean, covariance


def next_diagonal(a, s, y):
    """Return what one more pair makes of the diagonal `a` (B, n): Algorithm 3, from Gilbert and Lemarechal (1989)."""
    sy, yay, sas = ((u * v).sum(axis=1, keepdims=True) for u, v in ((s, y), (y, a * y), (s, s / a)))
    return sy / (yay / a + y**2 - yay * (s / a) ** 2 / sas)


def bfgs_update(H, s, y):
    """Return V H V' + s s' / s.y, where V = I - s y' / s.y (Nocedal and Wright, 6.17), for each of H (B, n, n)."""
    sy = (s * y).sum(axis=1)[:, None, None]
    V = np.eye(s.shape[1]) - s[:, :, None] * y[:, None, :] / sy
    return V @ H @ V.transpose(0, 2, 1) + s[:, :, None] * s[:, None, :] / sy


def draws(mean, covariance, count):
    """Return draws from normals (P, n), (P, n, n), and the log densities there: (P, count, n), (P, count)."""
    L = np.linalg.cholesky(covariance)
    z = rng.standard_normal((len(mean), count, mean.shape[1]))
    log_det = np.log(np.diagonal(L, axis1=1, axis2=2)).sum(axis=1)
    log_q = -0.5 * (z**2 + np.log(2.0 * np.pi)).sum(axis=2) - log_det[:, None]
    return mean[:, None] + z @ L.transpose(0, 2, 1), log_q


def pathfinder(U, starts, count=4000):
    """Return the paths, the ELBO of every iterate (K + 1, B), each path's best normal, and `count` draws from p."""
    paths = fastbfgs.Paths(steps=200)
    fastbfgs.minimize(U, starts, jac=True, record=paths, options={"maxiter": 200, "maxcor": J})
    mean, covariance = normals(paths)

    there = np.arange(len(paths.x))[:, None] <= paths.nit  # not behind a path's end
    x, log_q = draws(mean[there], covariance[there], DRAWS)
    log_p = -U(x.reshape(-1, x.shape[2]))[0].reshape(log_q.shape)
    elbo = np.full(there.shape, -np.inf)
    elbo[there] = (log_p - log_q).mean(axis=1)

    best = elbo.argmax(axis=0), np.arange(len(starts))
    x, log_q = draws(mean[best], covariance[best], count)
    x = x.reshape(-1, x.shape[2])
    log_w = -U(x)[0] - log_q.ravel()
    w = np.exp(log_w - log_w.max())
    return paths, elbo, mean[best], covariance[best], x[rng.choice(len(x), count, p=w / w.sum())]


SD = np.array([0.1, 0.5, 1.0, 2.0, 10.0])
C = SD[:, None] * SD * 0.6 ** np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
C_INVERSE, CENTRE = np.linalg.inv(C), np.arange(1.0, 6.0)


def normal(x):
    """U of a correlated normal of mean CENTRE and covariance C, with its gradient."""
    g = (x - CENTRE) @ C_INVERSE
    return 0.5 * (((x - CENTRE) * g).sum(axis=1) + np.linalg.slogdet(2.0 * np.pi * C)[1]), g


def banana(x):
    """U of x_0 ~ N(0, 1) and x_1 ~ N(0.3 x_0^2, 0.5^2): mean (0, 0.3), standard deviations 1 and 0.66."""
    r = (x[:, 1] - 0.3 * x[:, 0] ** 2) / 0.5**2
    g = np.stack([x[:, 0] - 0.6 * x[:, 0] * r, r], axis=1)
    return 0.5 * (x[:, 0] ** 2 + 0.5**2 * r**2) + np.log(2.0 * np.pi * 0.5), g


if __name__ == "__main__":
    for U, n in ((normal, 5), (banana, 2)):
        paths, elbo, mean, covariance, sample = pathfinder(U, rng.uniform(-10.0, 10.0, (20, n)))
        best, ends = elbo.max(axis=0), elbo[paths.nit, np.arange(20)]
        b = best.argmax()
        print(f"{U.__name__}: 20 paths, {paths.nit.sum() + 20} iterates; median ELBO of each path's best "
              f"{np.median(best):.2f}, of its last {np.median(ends):.2f}")  # fmt: skip
        print("  the best normal: mean", mean[b].round(2), "deviations", (np.diag(covariance[b]) ** 0.5).round(2))
        print("  resampled draws: mean", sample.mean(axis=0).round(2), "deviations", sample.std(axis=0).round(2))
