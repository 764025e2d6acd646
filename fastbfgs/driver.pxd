# The C types of driver.py, which is compiled as it stands.

from fastbfgs.objective cimport Objective
from fastbfgs.solver cimport Solver

cpdef run(Solver solver, Objective objective, watchers, report)
