import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { sideBySide } from "../../../lib/io/side_by_side.ts";

Deno.test("sideBySide() works on so many at a time, and gives the results in the order of the items", async () => {
  let now = 0, most = 0;
  const results = await sideBySide([5, 1, 4, 2, 3], 2, async (item) => {
    most = Math.max(most, ++now);
    await sleep(item * 10);
    now -= 1;
    return item * 10;
  });
  assert.deepEqual([results, most], [[50, 10, 40, 20, 30], 2]);
});

Deno.test("sideBySide() fails when what the others have begun has ended", async () => {
  const ended: number[] = [];
  const failing = sideBySide([1, 2, 3, 4], 2, async (item) => {
    await sleep(item * 10);
    if (item === 1) throw new Error("first");
    ended.push(item);
  });
  await assert.rejects(failing, { message: "first" });
  assert.deepEqual(ended, [2, 3, 4]);
});
