import assert from "node:assert/strict";
import { faultTests, testsIn, untested } from "./faults.ts";
import { FAULTS } from "./rows.ts";

const ids = FAULTS.map(({ id }) => id);

Deno.test("the table of faults has A1 to A72 and those found later, once each, with an exit", () => {
  const first = Array.from({ length: 72 }, (_, n) => `A${n + 1}`);
  assert.deepEqual(ids.filter((id) => id.startsWith("A")), first);
  assert.equal(new Set(ids).size, ids.length);
  assert.deepEqual(FAULTS.filter(({ fault, exit }) => !fault || !exit), []);
});

Deno.test("untested() is empty: every fault has a test", async () => {
  const tests = await faultTests();
  assert.deepEqual(untested(tests), []);
  assert.deepEqual(untested(tests.filter(({ id }) => id !== "A24")), ["A24"]);
});

Deno.test("faultTests() takes no text of the table for a test", async () => {
  assert.deepEqual((await faultTests()).filter(({ file }) => file.startsWith("tests/faults/")), []);
});

Deno.test("faultTests(): no test is about a fault that is not in the table", async () => {
  const unknown = (await faultTests()).filter(({ id }) => !ids.includes(id));
  assert.deepEqual(unknown, []);
});

Deno.test("testsIn() reads one id, several, and several sentences in one name", () => {
  // Put together here, or this file would itself be about these faults.
  const name = (ids: string, rest: string) => `Deno.test("${ids}: ${rest}", () => {});\n`;
  const text = name("A24", "it's refused") + name("B27, A63", "a clock") +
    name("A39", "strict; A72: by stdin") + name("E15", "as typed") + `assert.equal(x, "A5");\n`;
  assert.deepEqual(testsIn("t.ts", text).map(({ id, name }) => [id, name]), [
    ["A24", "it's refused"],
    ["A63", "a clock"],
    ["A39", "strict"],
    ["A72", "by stdin"],
    ["E15", "as typed"],
  ]);
});
