// The fault drills, on a site that `make e2e` has found well; `make e2e-faults` runs them. The first hour is
// one of them: it begins with new clusters, and leaves a site that is well.
for (const part of ["verdicts", "first_hour", "images", "faults", "logfaults", "closing"]) {
  await import(`./${part}_test.ts`);
}
