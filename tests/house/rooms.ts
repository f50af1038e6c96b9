// The rooms of the house as a table, for `make check`: files, lines, the longest module and the floor of each.
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { projectPath } from "../../lib/core/cluster.ts";
import { print, table } from "../../lib/io/report.ts";

const texts = new Map<string, string>();
for (const top of ["lib", "scripts"]) {
  for (const name of await readdir(projectPath(top), { recursive: true })) {
    if (name.endsWith(".ts")) {
      texts.set(`${top}/${name}`, await readFile(projectPath(join(top, name)), "utf8"));
    }
  }
}

const roomOf = (file: string) => dirname(file).split("/").slice(0, 2).join("/");
const rooms = Map.groupBy(texts.keys(), roomOf);
const below = new Map([...rooms].map(([room, files]) => [
  room,
  new Set(files.flatMap((file) =>
    [...texts.get(file)!.matchAll(/from "(\.[^"]+)"/g)]
      .map(([, path]) => join(dirname(file), path!)).filter((target) => texts.has(target)).map(
        roomOf,
      )
  )),
]));

/** 1 is the ground: nothing below it. Rooms of scripts/ that lead to each other share a floor. */
function floorOf(room: string, above: string[] = []): number {
  const under = [...below.get(room)!].filter((other) => other !== room && !above.includes(other));
  return 1 + Math.max(0, ...under.map((other) => floorOf(other, [...above, room])));
}

const rows = [...rooms].map(([room, files]) => {
  const lines = files.map((file) => texts.get(file)!.split("\n").length - 1);
  const all = lines.reduce((sum, count) => sum + count, 0);
  return { room, files: files.length, all, longest: Math.max(...lines), floor: floorOf(room) };
}).sort((a, b) => a.floor - b.floor || a.room.localeCompare(b.room));
const total = (what: "files" | "all") => rows.reduce((sum, row) => sum + row[what], 0);

print(table([
  ["floor", "room", "files", "lines", "longest"],
  ...rows.map(({ room, files, all, longest, floor }) =>
    [floor, room, files, all, longest].map(String)
  ),
  ["", "", String(total("files")), String(total("all")), ""],
]));
