// The fault drills, on a site that `make e2e` has found well; `make e2e-faults` runs them.
for (const part of ["faults", "logfaults", "closing"]) await import(`./${part}_test.ts`);
