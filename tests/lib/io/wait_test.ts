import assert from "node:assert/strict";
import { whenNew } from "../../../lib/io/wait.ts";

Deno.test("whenNew() tells what is another than before, and the same again after half a minute", () => {
  const real = Date.now, said: string[] = [];
  const tell = whenNew((text) => said.push(text));
  try {
    for (const [second, text] of [[0, "a"], [10, "a"], [20, "b"], [49, "b"], [51, "b"]] as const) {
      Date.now = () => 1e12 + second * 1000;
      tell(text);
    }
  } finally {
    Date.now = real;
  }
  assert.deepEqual(said, ["a", "b", "b"]);
});
