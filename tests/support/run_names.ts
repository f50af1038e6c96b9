// What is random in the names of short Jobs, counted instead: a fake kubectl has to know them.

/** From now on the first run of this test file is called `<check>-00000001`. */
export function countRuns(): void {
  let runs = 0;
  crypto.randomUUID = () => `${String(++runs).padStart(8, "0")}-0000-4000-8000-000000000000`;
}
