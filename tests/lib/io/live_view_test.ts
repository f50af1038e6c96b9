// lib/io/live_view.ts, on a terminal that understands what it writes.
import assert from "node:assert/strict";
import { liveView } from "../../../lib/io/live_view.ts";

/** A terminal of so many columns: what it shows, line by line, and how often it was written to. */
function terminal(columns: number, rows = 24) {
  const lines = [""];
  let writes = 0;
  const put = (char: string) => {
    if (char === "\n") return void lines.push("");
    if (lines.at(-1)!.length === columns) lines.push("");
    lines.push(lines.pop()! + char);
  };
  return {
    screen: {
      columns,
      rows,
      write(text: string) {
        writes += 1;
        const [plain, ...rest] = text.split("\x1b[");
        for (const char of plain!) put(char);
        for (const part of rest) {
          const [code, count, letter] = /^(\d*)([a-zA-Z])/.exec(part)!;
          if (letter === "A") lines.splice(lines.length - 1 - Number(count), Number(count) + 1, "");
          for (const char of part.slice(code.length)) put(char);
        }
      },
    },
    // Without the seconds at the end of a row.
    shown: () => lines.map((line) => line.replace(/ {2}\d+s$/, "")).filter(Boolean),
    writes: () => writes,
  };
}

Deno.test("liveView() keeps a row for each cluster below the lines that stay", () => {
  const { screen, shown } = terminal(60);
  const view = liveView(screen);
  view.show("196 | ", "20-prometheus  Apply");
  view.above("196 | 20-prometheus\n");
  view.show("197 | ", "10-longhorn  Ready");
  view.above("196 |   Apply done\n197 |   warning\n");
  view.show("196 | ", "20-prometheus  Ready");
  const lines = ["196 | 20-prometheus", "196 |   Apply done", "197 |   warning"];
  const rows = ["196 | 20-prometheus  Ready", "197 | 10-longhorn  Ready"];
  assert.deepEqual(shown(), [...lines, ...rows]);
  view.end();
  assert.deepEqual(shown(), lines);
});

Deno.test("liveView() cuts a row that is longer than the terminal is wide", () => {
  const { screen, shown } = terminal(20);
  const view = liveView(screen);
  view.show("196 | ", "waiting for a lot of things that take their time");
  view.above("a line\n");
  assert.deepEqual(shown(), ["a line", "196 | waiting for a"]);
  view.end();
  assert.deepEqual(shown(), ["a line"]);
});

Deno.test("E23: liveView() is never higher than the terminal: the latest rows, and how many more there are", () => {
  const { screen, shown } = terminal(60, 6);
  const view = liveView(screen);
  for (let id = 1; id <= 30; id++) view.show(`${id} | `, "Apply");
  view.above("a line\n");
  view.above("another\n");
  const rows = shown();
  assert.deepEqual(rows.slice(0, 2), ["a line", "another"]);
  assert.deepEqual(rows.slice(2).length, 4);
  assert.equal(rows.at(-1), "and 27 more");
  view.end();
  assert.deepEqual(shown(), ["a line", "another"]);
});

Deno.test("E23: liveView() counts, among many, those at which nothing goes on", () => {
  const { screen, shown } = terminal(60, 6);
  const view = liveView(screen);
  for (let id = 1; id <= 30; id++) view.show(`${id} | `, "not begun", true);
  assert.deepEqual(shown(), ["and 30 not begun"]);
  for (let id = 1; id <= 4; id++) view.show(`${id} | `, "done", true);
  view.show("5 | ", "failed", true);
  view.show("6 | ", "Apply");
  view.show("7 | ", "Ready");
  const counts = "4 done, 1 failed, 23 not begun";
  assert.deepEqual(shown(), ["6 | Apply", "7 | Ready", `and ${counts}`]);
  // One that has its turn again has its row again; those that do not fit are counted as well.
  for (const id of [1, 8]) view.show(`${id} | `, "verify");
  assert.deepEqual(shown().slice(3), ["and 1 more, 3 done, 1 failed, 22 not begun"]);
  view.end();
  for (let id = 1; id <= 3; id++) view.show(`${id} | `, "done", true);
  assert.deepEqual(shown(), ["1 | done", "2 | done", "3 | done"]);
  view.end();
});

Deno.test("liveView() writes nothing when nothing has changed", () => {
  const { screen, writes } = terminal(80);
  const view = liveView(screen);
  view.show("", "Apply");
  view.show("", "Apply");
  assert.equal(writes(), 1);
  view.end();
});
