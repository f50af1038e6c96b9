// lib/core/version.ts: which version comes first.
import assert from "node:assert/strict";
import { isOlder } from "../../../lib/core/version.ts";

Deno.test("isOlder() compares number by number", () => {
  for (
    const [own, needed] of [["1.20.2", "1.32"], ["1.31.9", "1.32.0"], ["2024-12-31", "2025.01"]]
  ) {
    assert.ok(isOlder(own!, needed!));
  }
  for (const [own, needed] of [["1.32.4", "1.32.0"], ["1.100", "1.32"], ["1.26.8", "1.26"]]) {
    assert.ok(!isOlder(own!, needed!));
  }
  // A tag that says less stands for the newest.
  for (const own of ["3", "3.7"]) {
    assert.deepEqual([isOlder(own, "3.7.11"), isOlder(own, "3.7.11", Infinity)], [true, false]);
  }
});
