from enum import IntEnum

import numpy as np

RECORD: np.dtype

class Status(IntEnum):
    RUNNING = -1
    CONVERGED_GRADIENT = 0
    CONVERGED_DECREASE = 1
    CONVERGED_STEP = 2
    MAXITER = 10
    MAXFUN = 11
    STOPPED = 12
    STALLED = 20
    ABNORMAL = 21
    NONFINITE_START = 22
    UNBOUNDED = 23
